//! What is computed before threads first meet.

use super::super::early;
use super::*;

/// What comes before threads first meet, once what may is done ahead.
fn ahead(fill: impl Fn(&mut Example)) -> Kernel {
    let kernel = changed(fill, early::run);
    let before = kernel.body.iter().take_while(|(statement, _)| !statement.meets());
    let body = before.cloned().collect();
    Kernel { body, ..kernel }
}

/// How many loads come before the first barrier, once those that may do.
fn loads_ahead(fill: impl Fn(&mut Example)) -> usize {
    loads(&ahead(|e| {
        e.b.push(Statement::Barrier { group: 64 });
        fill(e);
    }))
}

/// How many loads come before threads first hand one another something, which `fill` gets.
fn loads_ahead_of_handing(fill: impl Fn(&mut Example, Use)) -> usize {
    loads(&ahead(|e| {
        let found = handed(e);
        fill(e, found);
    }))
}

#[test]
fn what_waits_for_nothing_is_loaded_before_threads_meet() {
    let alone = |e: &mut Example| {
        let load = e.load(U32);
        let value = e.b.load(load);
        stored(e, value);
    };
    assert_eq!(loads_ahead(alone), 1);
    // With what its place is made of.
    let by_another = |e: &mut Example| {
        let load = e.load(U32);
        let place = e.b.load(load);
        let place = e.b.binary(BinaryOp::And, place, Literal::new(127u32).into());
        let place = e.b.index(place);
        let offset = e.b.indices().scale(place, 4);
        let value = e.b.load(Load {
            place: Place { offset, ..load.place },
            ..load
        });
        stored(e, value);
    };
    assert_eq!(loads_ahead(by_another), 2);
    // But not what cannot come along.
    let by_what_stays = |e: &mut Example| {
        let store = e.store(Literal::new(1u32).into());
        let place = e.b.atomic(one_more(store.place), true).expect("its result is wanted");
        let place = e.b.index(place);
        let load = e.load(U32);
        let offset = e.b.indices().scale(place, 4);
        let offset = e.b.indices().low(offset, 9);
        let value = e.b.load(Load {
            place: Place { offset, ..load.place },
            ..load
        });
        stored(e, value);
    };
    assert_eq!(loads_ahead(by_what_stays), 0);
    // Little of it.
    let much = |e: &mut Example| {
        for step in 0..30 {
            let load = e.load(U32);
            let offset = e.b.indices().offset(load.place.offset, 4 * step);
            let value = e.b.load(Load {
                place: Place { offset, ..load.place },
                ..load
            });
            stored(e, value);
        }
    };
    assert_eq!(loads_ahead(much), 16);
}

#[test]
fn what_may_be_another_value_or_no_memory_is_loaded_where_it_stands() {
    let again = |store: Store, load: Load| Load {
        place: store.place,
        read_only: false,
        ..load
    };
    // Memory that is written.
    let written = |e: &mut Example| {
        let load = e.load(U32);
        let store = e.store(Literal::new(7u32).into());
        e.b.store(store);
        let value = e.b.load(again(store, load));
        stored(e, value);
    };
    assert_eq!(loads_ahead(written), 0);
    // Behind what may end the thread.
    let ended = |e: &mut Example| {
        let first = e.first_warp();
        e.b.when(first, |b| b.push(Statement::Exit));
        let load = e.load(U32);
        let value = e.b.load(load);
        stored(e, value);
    };
    assert_eq!(loads_ahead(ended), 0);
    // Behind what others are asked about.
    let acquire = |e: &mut Example| {
        let load = e.load(U32);
        let store = e.store(Literal::new(7u32).into());
        let order = Order::Strong(MemoryOrder::Acquire, MemoryScope::Device);
        let seen = e.b.load(Load {
            order,
            ..again(store, load)
        });
        (load, seen)
    };
    let acquired = |e: &mut Example| {
        let (load, seen) = acquire(e);
        let value = e.b.load(load);
        let value = e.b.binary(BinaryOp::Add, value, seen);
        stored(e, value);
    };
    assert_eq!(loads_ahead(acquired), 0);
    // Behind what one thread was told of before.
    let kernel = changed(
        |e| {
            let (load, seen) = acquire(e);
            e.b.push(Statement::Barrier { group: 64 });
            let value = e.b.load(load);
            let value = e.b.binary(BinaryOp::Add, value, seen);
            stored(e, value);
        },
        early::run,
    );
    let order: Vec<bool> = kernel
        .body
        .iter()
        .map(|(statement, _)| matches!(statement, Statement::Barrier { .. }))
        .collect();
    assert_eq!(order.iter().position(|is_barrier| *is_barrier), Some(1), "{kernel}");
}

#[test]
fn what_waits_for_nothing_is_loaded_before_threads_hand_one_another_something() {
    let alone = |e: &mut Example, found: Use| {
        let load = e.load(U32);
        let value = e.b.load(load);
        let value = e.b.binary(BinaryOp::Add, value, found);
        stored(e, value);
    };
    assert_eq!(loads_ahead_of_handing(alone), 1);
    let voted = ahead(|e| {
        let condition = e.first_warp().into();
        let (kind, group) = (Vote::Ballot, 32);
        let found = e.b.emit(Operation::Vote { kind, condition, group });
        alone(e, found);
    });
    assert_eq!(loads(&voted), 1);
    // Where a loop follows, still before all meet.
    let kernel = changed(
        |e| {
            let found = handed(e);
            let (zero, two) = (e.b.constant(0), e.b.constant(2));
            let store = e.store(found);
            e.b.count(zero, two, 1, Unroll::Free, |b, _, _| b.store(store));
            e.b.push(Statement::Barrier { group: 128 });
            alone(e, found);
        },
        early::run,
    );
    let kinds: Vec<_> = kernel.body.iter().map(|(statement, _)| statement).collect();
    assert!(
        matches!(
            kinds[1..4],
            [Statement::For { .. }, Statement::Let { .. }, Statement::Barrier { .. }]
        ),
        "{kernel}"
    );
}

#[test]
fn what_some_threads_load_is_loaded_ahead_by_the_same_ones() {
    // The others have no memory there.
    let condition = |e: &mut Example| {
        let (thread, limit) = (e.b.thread(), e.b.constant(16));
        e.b.indices().less(thread, limit)
    };
    let accepted = |e: &mut Example, found: Use| {
        let (some, load, store) = (condition(e), strided(e, 512), e.store(found));
        e.b.when(some, |b| {
            let value = b.load(load);
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(accepted), 1);
    let rejected = |e: &mut Example, found: Use| {
        let (some, load, store) = (condition(e), strided(e, 512), e.store(found));
        let others = e.b.indices().not(some);
        let reject = |b: &mut Builder| {
            let value = b.load(load);
            b.store(Store { value, ..store });
        };
        e.b.choose(others, |b| b.store(store), reject);
    };
    assert_eq!(loads_ahead_of_handing(rejected), 1);
    // With what its place is made of, and its own condition.
    let by_another = |e: &mut Example, found: Use| {
        let (some, load, store) = (condition(e), strided(e, 512), e.store(found));
        let (thread, limit) = (e.b.thread(), e.b.constant(5));
        let (most, few) = (e.first_warp(), e.b.indices().less(limit, thread));
        e.b.when(most, |b| {
            b.when(some, |b| {
                let place = b.load(load);
                let place = b.binary(BinaryOp::And, place, Literal::new(127u32).into());
                let place = b.index(place);
                let offset = b.indices().scale(place, 4);
                let value = b.load(Load {
                    place: Place { offset, ..load.place },
                    predicate: Some(few),
                    ..load
                });
                b.store(Store { value, ..store });
            });
        });
    };
    assert_eq!(loads_ahead_of_handing(by_another), 2);
    // Little of it.
    let much = |e: &mut Example, found: Use| {
        let (some, load, store) = (condition(e), strided(e, 4), e.store(found));
        for step in 0..10 {
            let offset = e.b.indices().offset(load.place.offset, 4 * step);
            let place = Place { offset, ..load.place };
            let value = e.b.load(Load { place, ..load });
            e.b.store(Store { value, ..store });
            let offset = e.b.indices().offset(offset, 1024);
            let place = Place { offset, ..load.place };
            e.b.when(some, |b| {
                let value = b.load(Load { place, ..load });
                b.store(Store { value, ..store });
            });
        }
    };
    assert_eq!(loads_ahead_of_handing(much), 16);
}

#[test]
fn what_some_threads_load_by_what_is_found_there_or_written_is_loaded_where_it_stands() {
    let by_condition = |e: &mut Example, found: Use| {
        let (place, limit) = (e.b.index(found), e.b.constant(7));
        let (some, load, store) = (e.b.indices().less(place, limit), e.load(U32), e.store(found));
        e.b.when(some, |b| {
            let value = b.load(load);
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(by_condition), 0);
    let by_place = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        e.b.when(some, |b| {
            let place = b.index(found);
            let offset = b.indices().scale(place, 4);
            let place = Place { offset, ..load.place };
            let value = b.load(Load { place, ..load });
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(by_place), 0);
    let by_register = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        let register = e.b.register("place", U32);
        e.b.assign(register, Literal::new(3u32).into());
        e.b.when(some, |b| {
            let place = b.read(register);
            let place = b.index(place);
            let offset = b.indices().scale(place, 4);
            let place = Place { offset, ..load.place };
            let value = b.load(Load { place, ..load });
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(by_register), 0);
    // Memory that somebody may write, though nobody has.
    let written = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        let load = Load {
            place: store.place,
            ..load
        };
        e.b.when(some, |b| {
            let value = b.load(load);
            let value = b.binary(BinaryOp::Add, value, found);
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(written), 0);
    // What a value is known to be only there.
    let claimed = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        e.b.when(some, |b| {
            let value = b.known(Operation::Load(load), Some(Facts::between(1, 255)));
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(claimed), 0);
    // Behind a loop in the block, and where the thread may end.
    let behind_a_loop = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        let (zero, two) = (e.b.constant(0), e.b.constant(2));
        e.b.when(some, |b| {
            b.count(zero, two, 1, Unroll::Free, |b, _, _| b.store(store));
            let value = b.load(load);
            b.store(Store { value, ..store });
        });
    };
    assert_eq!(loads_ahead_of_handing(behind_a_loop), 0);
    let ended = |e: &mut Example, found: Use| {
        let (some, load, store) = (e.first_warp(), e.load(U32), e.store(found));
        e.b.when(some, |b| {
            let value = b.load(load);
            b.store(Store { value, ..store });
            b.push(Statement::Exit);
        });
    };
    assert_eq!(loads_ahead_of_handing(ended), 0);
}
