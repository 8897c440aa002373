//! Where loads are issued.

use super::super::flight;
use super::*;
use crate::ir::CacheHint;

/// What is done in which order: `L` for a load of the GPU's memory, `l` for another, `S` for a store, `|` for a meeting, `.` for what
/// arranges bits and `+` for what computes.
fn order(fill: impl Fn(&mut Example)) -> String {
    let kernel = changed(fill, flight::run);
    let step = |(statement, _): &(Statement, _)| match statement {
        Statement::Let {
            operation: Operation::Load(load),
            ..
        } => match kernel.buffers[load.place.buffer].space() {
            Space::Global => 'L',
            _ => 'l',
        },
        Statement::Let { operation, .. } if operation.meets() => '|',
        Statement::Let {
            operation: Operation::Funnel { .. },
            ..
        } => '.',
        Statement::Let { .. } => '+',
        Statement::Barrier { .. } => '|',
        _ => 'S',
    };
    kernel.body.iter().map(step).collect()
}

/// The nth of the numbers of a thread.
fn loaded(e: &mut Example, nth: i64) -> Use {
    let load = strided(e, 64);
    let offset = e.b.indices().offset(load.place.offset, 4 * nth);
    e.b.load(Load {
        place: Place { offset, ..load.place },
        ..load
    })
}

fn turned(e: &mut Example, value: Use) -> Use {
    let by = Literal::new(7u32).into();
    e.b.emit(Operation::Funnel {
        low: value,
        high: value,
        by,
    })
}

fn more(e: &mut Example, value: Use) -> Use {
    e.b.binary(BinaryOp::Add, value, Literal::new(1u32).into())
}

fn stored_at(e: &mut Example, value: Use, nth: i64) {
    let store = e.store(value);
    let place = e.own(e.target, 64);
    let offset = e.b.indices().offset(place.offset, 4 * nth);
    e.b.store(Store {
        place: Place { offset, ..place },
        ..store
    });
}

/// Stores these where the thread's results go, the first of them the nth.
fn stored_from(e: &mut Example, nth: i64, values: impl IntoIterator<Item = Use>) {
    values
        .into_iter()
        .zip(nth..)
        .for_each(|(value, nth)| stored_at(e, value, nth));
}

#[test]
fn loads_that_need_nothing_of_one_another_are_issued_before_what_waits_for_one() {
    assert_eq!(
        order(|e| {
            let sums = [0, 1, 2].map(|nth| {
                let value = loaded(e, nth);
                turned(e, value)
            });
            stored_from(e, 0, sums);
        }),
        "LLL...SSS"
    );
    // What waits for nothing stays where it is.
    assert_eq!(
        order(|e| {
            loaded(e, 0);
            let other = more(e, Literal::new(5u32).into());
            loaded(e, 1);
            stored(e, other);
        }),
        "L+LS"
    );
}

#[test]
fn a_load_waits_for_what_its_place_is_made_of_and_for_nothing_else() {
    assert_eq!(
        order(|e| {
            let (first, place) = (loaded(e, 0), loaded(e, 1));
            let first = turned(e, first);
            let place = turned(e, place);
            let at = e.b.index(place);
            let at = e.b.indices().low(at, 7);
            let offset = e.b.indices().scale(at, 4);
            let load = e.load(U32);
            let found = e.b.load(Load {
                place: Place { offset, ..load.place },
                ..load
            });
            let found = turned(e, found);
            let last = loaded(e, 2);
            stored_from(e, 0, [first, found, last]);
        }),
        "LL.LL..SSS"
    );
}

#[test]
fn no_more_is_in_flight_than_registers_hold() {
    let packets = |count: i64| {
        order(move |e| {
            for nth in 0..count {
                let load = strided(e, 64);
                let offset = e.b.indices().offset(load.place.offset, nth % 4 * 16);
                let packet = e.b.load(Load {
                    place: Place { offset, ..load.place },
                    ty: Type::packet(ElementType::U32, 4),
                    ..load
                });
                turned(e, packet);
            }
        })
    };
    assert_eq!(packets(10), "L".repeat(10) + &".".repeat(10));
    assert_eq!(packets(12), "L".repeat(10) + &".".repeat(10) + "LL..");
}

#[test]
fn loads_pass_nothing_that_others_may_notice() {
    // Not what is stored, which may be what is loaded, nor a meeting; and what is not loaded from afar need not.
    assert_eq!(
        order(|e| {
            let first = loaded(e, 0);
            let first = turned(e, first);
            stored_at(e, first, 0);
            let second = loaded(e, 1);
            let second = turned(e, second);
            e.b.push(Statement::Barrier { group: 128 });
            let third = loaded(e, 2);
            let third = turned(e, third);
            let given = handed(e);
            let fourth = loaded(e, 3);
            stored_from(e, 1, [second, third, given, fourth]);
        }),
        "L.SL.|L.|LSSSS"
    );
    assert_eq!(
        order(|e| {
            let store = e.store(Literal::new(3u32).into());
            let place = e.own(e.shared, 4);
            e.b.store(Store { place, ..store });
            let sums = [0, 1].map(|nth| {
                let far = loaded(e, nth);
                let far = turned(e, far);
                let load = e.load(U32);
                let near = e.b.load(Load { place, ..load });
                let by = Literal::new(9u32).into();
                e.b.emit(Operation::Funnel {
                    low: far,
                    high: near,
                    by,
                })
            });
            stored_from(e, 0, sums);
        }),
        "SLlLl....SS"
    );
}

#[test]
fn what_computes_stays_where_it_is_and_so_do_loads_behind_it() {
    assert_eq!(
        order(|e| {
            let sums = [0, 1].map(|nth| {
                let value = loaded(e, nth);
                let value = turned(e, value);
                more(e, value)
            });
            stored_from(e, 0, sums);
        }),
        "L.+L.+SS"
    );
}

#[test]
fn loads_that_order_memory_or_time_pass_nothing() {
    let volatile: fn(Load) -> Load = |load| Load {
        cache: Some(CacheHint::Volatile),
        ..load
    };
    let strong: fn(Load) -> Load = |load| Load {
        order: Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device),
        ..load
    };
    for changed in [volatile, strong] {
        assert_eq!(
            order(|e| {
                let first = loaded(e, 0);
                let first = turned(e, first);
                let load = e.load(U32);
                let second = e.b.load(changed(load));
                let second = turned(e, second);
                let third = loaded(e, 2);
                stored_from(e, 0, [first, second, third]);
            }),
            "L.L.LSSS"
        );
    }
    assert_eq!(
        order(|e| {
            let first = loaded(e, 0);
            let first = turned(e, first);
            e.b.emit(Operation::Timer);
            let second = loaded(e, 1);
            stored_from(e, 0, [first, second]);
        }),
        "L.+LSS"
    );
}

#[test]
fn whatever_is_loaded_and_put_together_comes_to_the_same() {
    let mut moved = 0;
    for seed in 0..300 {
        let fill = |e: &mut Example| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut values = vec![loaded(e, 0)];
            for _ in 0..40 {
                let pick = |random: &mut fastrand::Rng| values[random.usize(..values.len())];
                let (one, other) = (pick(&mut random), pick(&mut random));
                let value = match random.u8(..6) {
                    0 | 1 => loaded(e, random.i64(0..16)),
                    // Where something that was found says.
                    2 => {
                        let at = e.b.index(one);
                        let at = e.b.indices().low(at, 10);
                        let offset = e.b.indices().scale(at, 4);
                        let load = e.load(U32);
                        let place = Place { offset, ..load.place };
                        e.b.load(Load { place, ..load })
                    }
                    3 => e.b.emit(Operation::Funnel {
                        low: one,
                        high: other,
                        by: Literal::new(random.u32(..32)).into(),
                    }),
                    4 => {
                        let condition = e.first_warp().into();
                        e.b.emit(Operation::Select {
                            condition,
                            accept: one,
                            reject: other,
                        })
                    }
                    _ => e.b.binary(BinaryOp::Add, one, other),
                };
                values.push(value);
            }
            stored_from(e, 0, values.split_off(values.len() - 16));
        };
        let mut e = example();
        fill(&mut e);
        let before = e.b.finish();
        let after = changed(fill, flight::run);
        moved += usize::from(before.body != after.body);
    }
    assert!(moved > 200, "{moved}");
}
