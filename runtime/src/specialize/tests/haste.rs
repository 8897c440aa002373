//! What is made in haste for a launch that waits, and what takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tilewright_dsl::call::{Runtime, Specialize};

use super::*;
use crate::{Event, Tier};

fn hasty() -> Device {
    let device = tiered();
    device.specializer().hasten();
    device
}

fn resident(call: Call<'_>) -> Call<'_> {
    call.specialize(Specialize::Resident)
}

fn exact(call: Call<'_>) -> Call<'_> {
    call.specialize(Specialize::Exact)
}

fn is_provisional(launched: &Launched) -> bool {
    launched.variant().expect("a variant").is_provisional()
}

fn provisional(device: &Device) -> usize {
    let all = device.variants();
    all.iter().filter(|variant| variant.is_provisional()).count()
}

#[test]
fn a_launch_that_waits_is_served_by_what_is_ready_first_until_the_rest_takes_its_place() {
    let device = hasty();
    let gate = Gate::before(&device);
    let promoted = Arc::new(Mutex::new(Vec::new()));
    let told = promoted.clone();
    device.on_event(move |event| {
        if let Event::Promoted { variant, tier } = event {
            told.lock().push((variant.id(), *tier));
        }
    });
    let rows = Rows::on(&device);
    let first = rows.place(&device, 2, 5, Runtime, resident);
    assert!(first.compiled() && is_provisional(&first));
    for rows_now in 1..20 {
        let launched = rows.place(&device, 2, rows_now, Runtime, resident);
        assert!(!launched.compiled() && is_provisional(&launched));
    }
    let id = first.variant_id().expect("a variant");
    drop(first);
    gate.open();
    settle();
    let after = rows.place(&device, 2, 5, Runtime, resident);
    assert_eq!((after.variant_id(), after.tier()), (Some(id), Some(Tier::Resident)));
    assert!(!after.compiled() && !is_provisional(&after));
    assert_eq!(*promoted.lock(), [(id, Tier::Resident)]);
    assert_eq!((gate.waited.load(SeqCst), gate.behind.load(SeqCst)), (1, 1));
    let counters = device.counters();
    assert_eq!((counters.waits, counters.promotions, counters.variants), (1, 1, 1));
    assert_eq!(device.variants().len(), 1, "the provisional one is gone");
}

#[test]
fn better_variants_for_the_same_launches_take_over_too() {
    let device = hasty();
    let rows = Rows::on(&device);
    assert!(is_provisional(&rows.place(&device, 2, 5, Runtime, as_it_is)));
    for _ in 0..3 {
        settle();
        rows.place(&device, 2, 5, Runtime, as_it_is);
    }
    let launched = rows.place(&device, 2, 5, Runtime, as_it_is);
    assert_eq!(
        (launched.tier(), is_provisional(&launched)),
        (Some(Tier::Proved), false)
    );
    assert_eq!((provisional(&device), device.counters().variants), (0, 2));
}

#[test]
fn what_is_waited_for_in_haste_is_made_once_for_two_hundred_threads() {
    let device = hasty();
    let gate = Gate::before(&device);
    let rows = Rows::on(&device);
    rows.place_from_two_hundred_threads(&device, Runtime);
    assert_eq!(gate.waited.load(SeqCst), 1);
    gate.open();
    settle();
    assert_eq!(
        gate.behind.load(SeqCst),
        2,
        "the resident one, and that for counts which fit"
    );
    assert_eq!(provisional(&device), 0);
}

#[test]
fn a_launch_that_is_to_be_exact_waits_for_the_rest() {
    let device = hasty();
    let rows = Rows::on(&device);
    assert!(is_provisional(&rows.place(&device, 2, 5, Runtime, as_it_is)));
    assert!(!is_provisional(&rows.place(&device, 2, 5, Runtime, exact)));
}

#[test]
fn a_provisional_variant_stays_for_good_where_nothing_can_take_its_place() {
    let device = hasty();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    device
        .specializer()
        .inject(Arc::new(move |_, is_behind| match is_behind {
            false => Ok(()),
            true => {
                counted.fetch_add(1, SeqCst);
                let reason = "a failure that the test wants".to_owned();
                let kernel = "place";
                Err(LaunchError::WrongArguments { kernel, reason })
            }
        }));
    let rows = Rows::on(&device);
    for _ in 0..10 {
        rows.place(&device, 0, 5, Runtime, resident);
        settle();
    }
    assert_eq!(attempts.load(SeqCst), 2);
    assert!(!is_provisional(&rows.place(&device, 0, 5, Runtime, resident)));
    assert_eq!((device.counters().waits, device.counters().variants), (1, 1));
}

#[test]
fn classes_of_the_same_code_share_what_is_made_in_haste_and_what_takes_its_place() {
    #[kernel(grid = [rows])]
    fn labelled(out: &mut Tensor<i32, 2>, rows: Count, #[comptime] _label: usize) {
        out.store([program_id(0), arange(out.extent(1))], 1);
    }
    let device = hasty();
    let gate = Gate::before(&device);
    let mut out = Rows::out(&device);
    let mut launch = |label| {
        let call = labelled(&mut out, Runtime(4), label).specialize(Specialize::Resident);
        call.launch(&device).expect("a launch")
    };
    let launched = [launch(1), launch(2)];
    assert!(launched.iter().all(is_provisional));
    drop(launched);
    gate.open();
    settle();
    assert!([launch(1), launch(2)].iter().all(|launched| !is_provisional(launched)));
    settle();
    assert_eq!((gate.waited.load(SeqCst), gate.behind.load(SeqCst)), (1, 1));
    assert_eq!(device.variants().len(), 1);
}

#[test]
fn a_warm_up_leaves_nothing_provisional() {
    let device = hasty();
    let gate = Gate::before(&device);
    let rows = Rows::on(&device);
    assert!(is_provisional(&rows.place(&device, 2, 5, Runtime, as_it_is)));
    gate.open();
    let mut out = Rows::out(&device);
    device
        .specializer()
        .warm_up(&place(&mut out, &rows.src, Runtime(2), Runtime(5)), false)
        .expect("a warm-up");
    assert!(!is_provisional(&rows.place(&device, 2, 5, Runtime, as_it_is)));
    settle();
    assert_eq!(provisional(&device), 0);
}

#[test]
fn what_a_graph_holds_is_not_dropped_when_its_place_is_taken() {
    let device = hasty();
    let rows = Rows::on(&device);
    let launched = rows.place(&device, 2, 5, Runtime, resident);
    let variant = launched.variant().expect("a variant");
    variant.keep_for_graphs(|| Ok(true)).expect("no driver is asked");
    drop(launched);
    settle();
    assert!(!is_provisional(&rows.place(&device, 2, 5, Runtime, resident)));
    assert_eq!((provisional(&device), device.variants().len()), (1, 2));
}

#[test]
fn a_sealed_device_serves_what_was_made_in_haste_rather_than_refuse() {
    let device = hasty();
    let gate = Gate::before(&device);
    let rows = Rows::on(&device);
    rows.place(&device, 2, 5, Runtime, as_it_is);
    device.seal();
    assert!(is_provisional(&rows.place(&device, 2, 9, Runtime, resident)));
    gate.open();
    settle();
    assert!(!is_provisional(&rows.place(&device, 2, 9, Runtime, resident)));
    assert_eq!(device.counters().waits, 1);
}
