//! What else could be chosen for a launch: the schedules of tunings that differ in one number from that of the GPU at hand.

use serde_json::{Value, json};
use tilewright_dsl::schedule::{Machine, Tuning, Work};
use tilewright_runtime::{Device, Launched};

use crate::case::Spread;

/// A launch as its schedule was chosen, and as it would be with the tunings next to that of the GPU: each by the number that differs.
pub fn candidates(device: &Device, launched: &Launched) -> Option<Value> {
    let properties = device.as_cuda()?.properties();
    let architecture = properties.architecture.number();
    let machine = Machine::new(architecture, properties.multiprocessors);
    let (work, programs) = (Work::of(launched.variant()?.kernel()), launched.programs());
    let schedule = |tuning| Spread::from(work.schedule(&Machine { tuning, ..machine }, programs));
    let others = machine.tuning.neighbours().into_iter();
    let others: Vec<_> = others
        .map(|(axis, value, tuning)| json!({ "axis": axis, "value": value, "schedule": schedule(tuning) }))
        .collect();
    Some(json!({
        "architecture": architecture,
        "tuning": numbers(&machine.tuning),
        "chosen": schedule(machine.tuning),
        "candidates": others,
    }))
}

fn numbers(tuning: &Tuning) -> Value {
    let Tuning {
        brief,
        long,
        in_flight,
        share,
        short_row,
        shortest_row,
        alone,
        at_once,
        paired,
        shared_block,
        block,
        kept_from,
        kept_until,
        written_until,
        fetched_from,
        fetched_long,
        load,
        store,
    } = tuning;
    json!({
        "brief": brief,
        "long": long,
        "in_flight": in_flight,
        "share": share,
        "short_row": short_row,
        "shortest_row": shortest_row,
        "alone": alone,
        "at_once": at_once,
        "paired": paired,
        "shared_block": shared_block,
        "block": block,
        "kept_from": kept_from,
        "kept_until": kept_until,
        "written_until": written_until,
        "fetched_from": fetched_from,
        "fetched_long": fetched_long,
        "load": load.name(),
        "store": store.name(),
    })
}
