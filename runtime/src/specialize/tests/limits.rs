//! Room for variants and classes.

use std::sync::atomic::AtomicU64;

use tilewright_dsl::call::{Exact, Runtime, Specialize};

use super::super::classes::MAX_CLASSES;
use super::super::evict::FIRST_PAUSE;
use super::*;
use crate::{CodeLimits, Counters};

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

/// What was built in `launches` launches of `classes` classes by turns, of which the limits hold the resident variants and
/// `room` others.
fn built_by_turns(device: &Device, classes: u64, room: u64, launches: u64) -> (u64, Counters) {
    let built = Arc::new(AtomicU64::new(0));
    let counted = built.clone();
    device.specializer().inject(Arc::new(move |_, _| {
        counted.fetch_add(1, SeqCst);
        Ok(())
    }));
    device.set_code_limits(CodeLimits {
        variants: classes + room,
        bytes: u64::MAX,
    });
    let tensors = || -> Vec<_> {
        (1..=classes as usize)
            .map(|columns| device.zeros::<i32, 2>([2, columns]).expect("memory"))
            .collect()
    };
    let (sources, mut outs) = (tensors(), tensors());
    for launch in 0..launches {
        let at = (launch % classes) as usize;
        place(&mut outs[at], &sources[at], Runtime(0), Runtime(2))
            .launch(device)
            .expect("a launch");
        settle();
    }
    (built.load(SeqCst), device.counters())
}

#[test]
fn more_than_the_limits_hold_by_turns_is_not_built_again_and_again() {
    const CLASSES: u64 = 12;
    const LAUNCHES: u64 = 6_000;
    let device = tiered();
    let (built, counters) = built_by_turns(&device, CLASSES, 4, LAUNCHES);
    // The resident ones, and the others after pauses that are doubled each time.
    let times = 1 + (LAUNCHES / FIRST_PAUSE + 1).ilog2() as u64;
    assert!(built <= CLASSES * (1 + times), "{built} built: {counters:?}");
    assert!(
        counters.held_back > LAUNCHES / 4 && counters.evictions >= CLASSES - 4,
        "{counters:?}"
    );
    assert!(counters.variants <= CLASSES + 4, "{counters:?}");
    assert!(
        counters.served_proved > LAUNCHES / 4,
        "those that are there serve: {counters:?}"
    );
    // With room, all come back at once.
    device.set_code_limits(CodeLimits::default());
    let (built, _) = built_by_turns(&device, CLASSES, CLASSES, 3 * CLASSES);
    assert!(built <= CLASSES);
    assert_eq!(device.counters().variants, 2 * CLASSES);
}

#[test]
fn what_is_waited_for_by_turns_leaves_what_the_limits_hold_where_it_is() {
    const STARTS: u64 = 12;
    const TURNS: u64 = 100;
    let device = tiered();
    let rows = Rows::on(&device);
    device.set_code_limits(CodeLimits {
        variants: 8,
        bytes: u64::MAX,
    });
    for _ in 0..TURNS {
        for start in 1..=STARTS {
            rows.place(&device, start, 1, Exact, exact);
            settle();
        }
    }
    let counters = device.counters();
    // If what was used least went, each launch would build what it wants.
    let missing = STARTS - (8 - 2);
    assert!(counters.compiles <= STARTS + TURNS * missing, "{counters:?}");
    assert_eq!(counters.held_back, 0, "nothing was asked for behind");
}

#[test]
fn what_is_used_no_more_makes_room_for_what_is_new() {
    let device = tiered();
    let rows = Rows::on(&device);
    device.set_code_limits(CodeLimits {
        variants: 4,
        bytes: u64::MAX,
    });
    for starts in [1..=8, 11..=14u64] {
        for _ in 0..50 {
            for start in starts.clone() {
                rows.place(&device, start, 1, Exact, exact);
                settle();
            }
        }
    }
    let before = device.counters().compiles;
    for start in 11..=14 {
        rows.place(&device, start, 1, Exact, exact);
    }
    assert_eq!(device.counters().compiles, before, "all of what is used now is there");
}
