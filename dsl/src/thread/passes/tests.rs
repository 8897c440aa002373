//! What passes make of kernels that are written by hand.

mod early;
mod flight;
mod quotients;

use super::super::interpret::{self, Memory, Passed};
use super::super::testing::random;
use super::super::verify::tests::{Example, example};
use super::super::verify::{Rule, verify};
use super::super::*;
use super::{common, dead, hoist, name, name_invariants, widen};
use crate::element::ElementType;
use crate::ir::{AtomicOp, BinaryOp, Literal, MemoryOrder, MemoryScope, UnaryOp};

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

#[test]
fn what_is_no_fraction_is_found_where_it_is_taken_for_one() {
    let of = |number: f32| {
        let mut e = example();
        let literal = Use::Literal(Literal::new(number));
        let negative = e.b.unary(UnaryOp::Negate, literal);
        if let Use::Value(value) = negative {
            e.b.kernel_mut().values[value].is_fraction = true;
        }
        let kernel = e.b.finish();
        assert_eq!(verify(&kernel), Ok(()), "{kernel}");
        let mut memory = Memory::new();
        let arguments = [0; 3].map(Passed::Pointer);
        interpret::run(&kernel, 1, &arguments, &mut memory).is_ok()
    };
    assert_eq!([-0.5, -1.0, f32::NAN, 0.0].map(of), [true; 4]);
    assert_eq!([0.5, -1.5, f32::NEG_INFINITY].map(of), [false; 3]);
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

fn stored(e: &mut Example, value: Use) {
    let store = e.store(value);
    e.b.store(store);
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

/// A load of so many bytes for each thread.
fn strided(e: &mut Example, bytes: i64) -> Load {
    let place = e.own(e.source, bytes);
    Load { place, ..e.load(U32) }
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
                block: None,
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
                        block: None,
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
                        block: None,
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

#[test]
fn what_becomes_of_random_kernels_is_accepted() {
    let mut accepted = 0;
    for seed in 0..500 {
        let mut kernel = random(&mut fastrand::Rng::with_seed(seed), 150);
        assert_eq!(verify(&kernel), Ok(()), "{seed}: {kernel}");
        let before = kernel.clone();
        super::run(&mut kernel);
        match verify(&kernel) {
            Ok(()) => accepted += 1,
            // What is claimed of a loop's variable at random is seen not to hold where its bounds become literals.
            Err(fault) => assert_eq!(fault.rule, Rule::Loop, "{seed}: {fault}\n{before}\n{kernel}"),
        }
    }
    assert!(accepted > 400, "{accepted}");
}
