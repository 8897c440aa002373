//! Room for variants and classes.

use tilewright_dsl::call::{Exact, Specialize};

use super::super::classes::MAX_CLASSES;
use super::*;
use crate::CodeLimits;

fn exact(call: Call<'_>) -> Call<'_> {
    call.specialize(Specialize::Exact)
}

#[test]
fn variants_stay_within_their_number_and_those_used_last_stay() {
    let device = tiered();
    device.set_code_limits(CodeLimits {
        variants: 5,
        bytes: u64::MAX,
    });
    let rows = Rows::on(&device);
    // The class's resident one, which is never used again, stays.
    let resident = rows.place(&device, 0, 5, Exact, |call| call.specialize(Specialize::Resident));
    for start in 1..ROWS as u64 {
        rows.place(&device, start, 1, Exact, exact);
        settle();
        assert!(device.counters().variants <= 5);
    }
    let ids: Vec<_> = device.variants().iter().map(|variant| variant.id()).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(Some(ids[0]), resident.variant_id());
    let counters = device.counters();
    assert_eq!((counters.variants, counters.evictions), (5, ROWS as u64 - 1 - 4));
    // The last four are there, and what is not is built again.
    for start in ROWS as u64 - 4..ROWS as u64 {
        assert!(!rows.place(&device, start, 1, Exact, exact).compiled(), "{start}");
    }
    assert!(rows.place(&device, 1, 1, Exact, exact).compiled());
}

#[test]
fn a_variant_that_somebody_holds_is_not_dropped() {
    let device = tiered();
    let rows = Rows::on(&device);
    let held: Vec<_> = (1..8)
        .map(|start| rows.place(&device, start, 1, Exact, exact))
        .collect();
    device.set_code_limits(CodeLimits {
        variants: 1,
        bytes: u64::MAX,
    });
    rows.place(&device, 9, 1, Exact, exact);
    settle();
    let there = device.variants();
    for launched in &held {
        let id = launched.variant_id().expect("a variant");
        assert!(there.iter().any(|variant| variant.id() == id));
    }
    drop((held, there));
    rows.place(&device, 10, 1, Exact, exact);
    settle();
    assert!(device.counters().variants <= 1, "{:?}", device.variants());
}

#[test]
fn a_variant_in_a_graph_is_not_dropped() {
    let device = tiered();
    let rows = Rows::on(&device);
    let launched = rows.place(&device, 1, 1, Exact, exact);
    let variant = launched.variant().expect("a variant");
    variant.keep_for_graphs(|| Ok(true)).expect("no driver is asked");
    let id = variant.id();
    drop(launched);
    device.set_code_limits(CodeLimits {
        variants: 1,
        bytes: u64::MAX,
    });
    for start in 2..9 {
        rows.place(&device, start, 1, Exact, exact);
        settle();
    }
    assert!(device.variants().iter().any(|variant| variant.id() == id));
}

#[test]
fn classes_stay_within_their_number() {
    let device = tiered();
    let mut out = Rows::out(&device);
    for count in 0..MAX_CLASSES as u64 + 100 {
        let call = fill(&mut out, Exact(count), Exact(1), 3);
        call.specialize(Specialize::Exact).launch(&device).expect("a launch");
    }
    let classes = device.specializer().classes();
    assert!((MAX_CLASSES / 2..=MAX_CLASSES).contains(&classes), "{classes}");
}
