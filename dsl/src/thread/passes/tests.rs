//! What passes make of kernels that are written by hand.

use super::super::interpret::{self, Memory, Passed};
use super::super::verify::tests::{Example, example};
use super::super::verify::verify;
use super::super::*;
use super::{common, dead, early, hoist, name, name_invariants, quotients as passes_quotients, widen};
use crate::element::ElementType;
use crate::ir::{AtomicOp, BinaryOp, Literal, MemoryOrder, MemoryScope};

const U32: Type = Type::scalar(ElementType::U32);

/// The bytes of `target` afterwards, one block having run.
fn run(kernel: &Kernel) -> Vec<u8> {
    let mut memory = Memory::new();
    let source = memory.allocate((0..8192u32).map(|at| (at * 37 % 251) as u8).collect(), 0);
    let target = memory.allocate(vec![0; 8192], 0);
    let record = memory.allocate(vec![0; 48], 0);
    let arguments = [source, target, record].map(Passed::Pointer);
    interpret::run(kernel, 1, &arguments, &mut memory).unwrap_or_else(|fault| panic!("{fault}\n{kernel}"));
    memory.bytes(target).to_vec()
}

fn changed(fill: impl Fn(&mut Example), pass: impl Fn(&mut Kernel)) -> Kernel {
    let mut e = example();
    fill(&mut e);
    let before = e.b.finish();
    let mut after = before.clone();
    pass(&mut after);
    assert_eq!(verify(&after), Ok(()), "{after}");
    assert_eq!(run(&before), run(&after), "{before}\n{after}");
    after
}

fn statements(kernel: &Kernel, test: impl Fn(&Statement) -> bool) -> usize {
    let mut count = 0;
    kernel
        .body
        .walk(&mut |statement, _| count += usize::from(test(statement)));
    count
}

fn loads(kernel: &Kernel) -> usize {
    statements(kernel, |statement| {
        matches!(
            statement,
            Statement::Let {
                operation: Operation::Load(_),
                ..
            }
        )
    })
}

#[test]
fn lanes_are_taken_out_whatever_moves_with_them() {
    // Sixteen bytes of each thread, in an order that is told by the lane, under conditions that are too.
    for (by, limit, accesses) in [(1, 1000, 1), (-1, 1000, 1), (3, 1000, 3), (1, 2, 1), (0, 1000, 1)] {
        let kernel = changed(
            |e| {
                let (lane, thread) = (e.b.lane(4), e.b.thread());
                let (first, step) = (e.b.indices().scale(thread, 16), e.b.indices().scale(lane, 4 * by));
                let first = e.b.indices().offset(first, if by < 0 { 12 } else { 0 });
                let offset = e.b.indices().add(first, step);
                let limit = e.b.constant(limit);
                let predicate = Some(e.b.indices().less(lane, limit));
                let load = e.load(U32.with_lanes(4));
                let place = Place { offset, ..load.place };
                let value = e.b.load(Load {
                    place,
                    predicate,
                    ..load
                });
                let value = e.b.binary(
                    BinaryOp::Add,
                    value,
                    Use::Value(match value {
                        Use::Value(value) => value,
                        _ => unreachable!(),
                    }),
                );
                let own = e.b.indices().scale(lane, 4);
                let first = e.b.indices().scale(thread, 16);
                let offset = e.b.indices().add(first, own);
                let store = e.store(value);
                let place = Place { offset, ..store.place };
                e.b.store(Store { place, ..store });
            },
            |kernel| {
                widen::run(kernel);
            },
        );
        assert_eq!(loads(&kernel), accesses, "{kernel}");
        let stores = statements(&kernel, |statement| matches!(statement, Statement::Store(_)));
        assert_eq!(stores, 1, "{kernel}");
    }
}

#[test]
fn a_packet_of_places_is_a_place_in_each_lane() {
    let kernel = changed(
        |e| {
            let load = e.load(U32.with_lanes(4));
            let places = e.b.load(load);
            let places = e.b.binary(BinaryOp::And, places, Literal::new(127u32).into());
            let places = e.b.index(places);
            let offset = e.b.indices().scale(places, 4);
            let value = e.b.load(Load {
                place: Place { offset, ..load.place },
                ..load
            });
            let store = e.store(value);
            e.b.store(store);
        },
        |kernel| {
            assert_eq!(widen::run(kernel)[0].why, super::Why::Loaded);
        },
    );
    assert_eq!(loads(&kernel), 5, "{kernel}");
}

#[test]
fn what_is_computed_twice_is_computed_once_where_both_can_see_it() {
    let kernel = changed(
        |e| {
            let load = e.load(U32);
            let (one, other) = (e.b.load(load), e.b.load(load));
            let sum = e.b.binary(BinaryOp::Add, one, other);
            let first = e.first_warp();
            let store = e.store(sum);
            e.b.when(first, |b| {
                let again = b.load(load);
                let sum = b.binary(BinaryOp::Add, again, again);
                b.store(Store { value: sum, ..store });
            });
            let again = e.b.binary(BinaryOp::Add, other, one);
            let mut place = store.place;
            place.offset = e.b.indices().offset(place.offset, 512);
            e.b.store(Store {
                place,
                value: again,
                ..store
            });
        },
        |kernel| {
            common::run(kernel);
            dead::run(kernel);
        },
    );
    let sums = statements(&kernel, |statement| {
        matches!(
            statement,
            Statement::Let {
                operation: Operation::Binary { .. },
                ..
            }
        )
    });
    assert_eq!((loads(&kernel), sums), (1, 1), "{kernel}");
}

#[test]
fn memory_that_is_written_is_read_again() {
    let kernel = changed(
        |e| {
            let source = e.load(U32);
            let load = Load {
                place: e.own(e.target, 4),
                ..source
            };
            let (before, new) = (e.b.load(load), e.b.load(source));
            let store = e.store(new);
            e.b.store(store);
            let after = e.b.load(load);
            let sum = e.b.binary(BinaryOp::Add, before, after);
            e.b.store(Store { value: sum, ..store });
        },
        |kernel| {
            common::run(kernel);
            hoist::run(kernel);
            dead::run(kernel);
        },
    );
    assert_eq!(loads(&kernel), 3, "{kernel}");
}

/// Adds one to a number, in no order with anything else.
fn one_more(place: Place) -> Atomic {
    Atomic {
        place,
        element: ElementType::U32,
        update: Update::Combine {
            op: AtomicOp::Add,
            value: Literal::new(1u32).into(),
        },
        order: MemoryOrder::Relaxed,
        scope: MemoryScope::Device,
        result: None,
        predicate: None,
    }
}

/// Something between two loads, given a store to the place that they load.
type Between<'b> = &'b dyn Fn(&mut Example, Store);

/// How often a thread loads a word of shared memory that it loads before and after something, and in both trips of a loop.
fn shared_loads(between: Between<'_>) -> usize {
    let kernel = changed(
        |e| {
            let source = e.load(U32);
            let load = Load {
                place: e.own(e.shared, 4),
                ..source
            };
            let value = e.b.load(source);
            let store = e.store(value);
            let kept = Store {
                place: load.place,
                ..store
            };
            e.b.store(kept);
            let before = e.b.load(load);
            between(e, kept);
            let after = e.b.load(load);
            let sum = e.b.binary(BinaryOp::Add, before, after);
            e.b.store(Store { value: sum, ..store });
            let (zero, two) = (e.b.constant(0), e.b.constant(2));
            e.b.count(zero, two, 1, Unroll::Free, |b, _, _| {
                let (one, other) = (b.load(load), b.load(load));
                let sum = b.binary(BinaryOp::Add, one, other);
                b.store(Store { value: sum, ..kept });
                b.store(Store { value: sum, ..store });
            });
        },
        |kernel| {
            common::run(kernel);
            dead::run(kernel);
        },
    );
    // That of the source.
    loads(&kernel) - 1
}

#[test]
fn shared_memory_is_loaded_once_as_long_as_nobody_may_have_written_it() {
    let global = |e: &mut Example, kept: Store| {
        let mut place = e.own(e.target, 4);
        place.offset = e.b.indices().offset(place.offset, 512);
        e.b.store(Store { place, ..kept });
    };
    let shared = |e: &mut Example, kept: Store| {
        let value = Literal::new(7u32).into();
        e.b.store(Store { value, ..kept });
    };
    let sometimes = |e: &mut Example, kept: Store| {
        let first = e.first_warp();
        e.b.when(first, |b| b.store(kept));
    };
    let added = |e: &mut Example, kept: Store| {
        e.b.atomic(one_more(kept.place), false);
    };
    let fenced = |e: &mut Example, _: Store| {
        e.b.push(Statement::Fence {
            order: FenceOrder::AcquireRelease,
            scope: MemoryScope::Block,
        });
    };
    let meeting = |e: &mut Example, _: Store| e.b.push(Statement::Barrier { group: 128 });
    let cases: [(Between<'_>, usize); 7] = [
        (&|_: &mut Example, _: Store| {}, 2),
        (&global, 2),
        (&shared, 3),
        (&sometimes, 3),
        (&added, 3),
        (&fenced, 3),
        (&meeting, 3),
    ];
    for (between, expected) in cases {
        assert_eq!(shared_loads(between), expected);
    }
}

#[test]
fn what_does_not_change_in_a_loop_is_computed_before_it() {
    let kernel = |trips: i64| {
        changed(
            |e| {
                let (zero, end) = (e.b.constant(0), e.b.constant(trips));
                let (load, store) = (e.load(U32), e.store(Literal::new(0u32).into()));
                e.b.count(zero, end, 1, Unroll::Free, |b, i, _| {
                    let value = b.load(load);
                    let twice = b.binary(BinaryOp::Add, value, value);
                    let by = b.indices().scale(i, 512);
                    let offset = b.indices().add(store.place.offset, by);
                    let i = b.emit(Operation::Cast {
                        value: i.into(),
                        to: ElementType::U32,
                        rounding: Rounding::NearestEven,
                    });
                    let value = b.binary(BinaryOp::Add, twice, i);
                    b.store(Store {
                        place: Place { offset, ..store.place },
                        value,
                        ..store
                    });
                });
            },
            hoist::run,
        )
    };
    let inside = |kernel: &Kernel| {
        let mut inside = 0;
        kernel.body.walk(&mut |statement, _| {
            if let Statement::For { body, .. } = statement {
                inside = body.len();
            }
        });
        inside
    };
    // The cast, the sum and the store stay.
    assert_eq!(inside(&kernel(4)), 3, "{}", kernel(4));
}

/// An offset of a thread's row and a trip, all of it in one sum.
#[test]
fn the_part_of_an_offset_that_no_trip_changes_is_computed_before_the_loop() {
    let kernel = changed(
        |e| {
            let (zero, end) = (e.b.constant(0), e.b.constant(3));
            let (load, store) = (e.load(U32), e.store(Literal::new(0u32).into()));
            e.b.count(zero, end, 1, Unroll::Never, |b, i, _| {
                let value = b.load(load);
                // What is named in the loop is counted from what is named ahead of it too.
                let by = b.indices().scale(i, 512);
                let rest = b.indices().offset(store.place.offset, 4096);
                let offset = b.indices().add(rest, by);
                let named = b.name(offset);
                for (offset, value) in [(offset, value), (b.indices().offset(named, -4096), value)] {
                    b.store(Store {
                        place: Place { offset, ..store.place },
                        value,
                        ..store
                    });
                }
            });
        },
        |kernel| *kernel = name_invariants(std::mem::take(kernel)),
    );
    let mut ahead = Vec::new();
    for (statement, _) in &kernel.body {
        match statement {
            Statement::Name { variable, .. } => ahead.push(*variable),
            Statement::For { variable, body, .. } => body.walk(&mut |statement, _| {
                let index = match statement {
                    Statement::Name { index, .. } => *index,
                    Statement::Store(store) => store.place.offset,
                    _ => return,
                };
                // Nothing is left of the thread: what was named, and the trip.
                for atom in kernel.indices.atoms(index) {
                    let Atom::Variable(named) = atom else {
                        panic!("{atom:?}\n{kernel}")
                    };
                    let is_named_inside = !ahead.contains(named) && named != variable;
                    assert!(!is_named_inside || matches!(statement, Statement::Store(_)), "{kernel}");
                }
            }),
            _ => {}
        }
    }
    assert_eq!(ahead.len(), 1, "{kernel}");
}

#[test]
fn what_nothing_needs_is_left_out_and_what_has_an_effect_is_not() {
    let kernel = changed(
        |e| {
            let (unread, read) = (e.b.register("unread", U32), e.b.register("read", U32));
            let load = e.load(U32);
            let (one, other) = (e.b.load(load), e.b.load(load));
            e.b.assign(unread, one);
            e.b.assign(read, other);
            let first = e.first_warp();
            e.b.when(first, |b| {
                b.binary(BinaryOp::Add, one, one);
            });
            let value = e.b.read(read);
            let store = e.store(value);
            e.b.store(store);
        },
        dead::run,
    );
    assert_eq!(loads(&kernel), 1, "{kernel}");
    assert_eq!(kernel.body.len(), 4, "{kernel}");
}

#[test]
fn offsets_that_differ_by_a_constant_share_a_name() {
    let kernel = changed(
        |e| {
            let load = e.load(U32);
            for at in 0..3 {
                let offset = e.b.indices().offset(load.place.offset, 512 * at);
                let place = Place { offset, ..load.place };
                let value = e.b.load(Load { place, ..load });
                let store = e.store(value);
                let place = Place { offset, ..store.place };
                e.b.store(Store { place, ..store });
            }
        },
        name::run,
    );
    assert_eq!(
        statements(&kernel, |statement| matches!(statement, Statement::Name { .. })),
        1,
        "{kernel}"
    );
}

fn stored(e: &mut Example, value: Use) {
    let store = e.store(value);
    e.b.store(store);
}

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

/// What another thread has found, a number less than 128.
fn handed(e: &mut Example) -> Use {
    let value = Literal::new(5u32).into();
    let by = Literal::new(1u32).into();
    e.b.emit(Operation::Shuffle {
        kind: Shuffle::Exchange,
        value,
        by,
        group: 32,
    })
}

/// How many loads come before threads first hand one another something, which `fill` gets.
fn loads_ahead_of_handing(fill: impl Fn(&mut Example, Use)) -> usize {
    loads(&ahead(|e| {
        let found = handed(e);
        fill(e, found);
    }))
}

/// A load of so many bytes for each thread.
fn strided(e: &mut Example, bytes: i64) -> Load {
    let place = e.own(e.source, bytes);
    Load { place, ..e.load(U32) }
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

/// Packets of two divisors, the second of which `between` makes, and what is stored of both: where each quotient stands.
fn quotients(between: impl Fn(&mut Example, Use) -> Use) -> Vec<usize> {
    let kernel = changed(
        |e| {
            let packet = Type::packet(ElementType::F32, 4);
            let load = strided(e, 16);
            let dividends = e.b.load(Load { ty: packet, ..load });
            let divide = |e: &mut Example, by| e.b.binary(BinaryOp::Divide, dividends, by);
            let first = divide(e, Literal::new(3f32).into());
            let place = e.own(e.target, 32);
            let store = |e: &mut Example, value, place| {
                let store = e.store(value);
                e.b.store(Store { place, ..store });
            };
            store(e, first, place);
            let by = between(e, first);
            let second = divide(e, by);
            let offset = e.b.indices().offset(place.offset, 16);
            store(e, second, Place { offset, ..place });
        },
        passes_quotients::run,
    );
    let statements = kernel.body.iter().enumerate();
    let divides = statements.filter(|(_, (statement, _))| match statement {
        Statement::Let { value, operation } => kernel.divides_several(*value, operation),
        _ => false,
    });
    divides.map(|(at, _)| at).collect()
}

#[test]
fn packets_are_divided_one_after_the_other_unless_one_needs_what_comes_of_another() {
    let together = |between: fn(&mut Example, Use) -> Use| {
        let found = quotients(between);
        found[1] == found[0] + 1
    };
    // What the second divisor is made of is computed ahead.
    assert!(together(|e, _| {
        let load = strided(e, 4);
        let ty = Type::scalar(ElementType::F32);
        e.b.load(Load { ty, ..load });
        e.b.binary(BinaryOp::Add, Literal::new(1f32).into(), Literal::new(4f32).into())
    }));
    assert!(together(|e, _| {
        let two = Literal::new(2f32).into();
        e.b.binary(BinaryOp::Multiply, two, two)
    }));
    // Not what is found of the first quotients, loaded behind them, or found together.
    assert!(!together(|e, first| e.b.part(first, 1, 1)));
    assert!(!together(|e, _| {
        let load = strided(e, 4);
        let ty = Type::scalar(ElementType::F32);
        e.b.load(Load { ty, ..load })
    }));
    assert!(!together(|e, _| {
        handed(e);
        Literal::new(7f32).into()
    }));
}
