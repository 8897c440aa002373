//! Sorts by threads that hold a line, the first few elements of an order, and lines that are too long for registers.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::Expression;
use crate::ir::verify::build::{Builder, Value};
use crate::lower::Lowered;
use crate::schedule::Schedule;
use crate::thread::{Operation, Statement};

const I64: ElementType = ElementType::I64;

/// What is wanted of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Order,
    Elements,
    /// The first so many indices, and the elements there.
    First(u32),
}

const ALL: [Wanted; 5] = [
    Wanted::Order,
    Wanted::Elements,
    Wanted::First(1),
    Wanted::First(3),
    Wanted::First(8),
];

/// Elements of which some are equal; in every other line zeros of both signs and several NaN among them, if there are any.
fn elements(element: ElementType, rows: u64, columns: u64) -> Argument {
    let size = 8 * element.size() as u32;
    let top = 1u64 << (size - 1);
    let nan: &[u64] = match element {
        ElementType::F64 => &[0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0001],
        ElementType::F32 => &[0x7fc0_0000, 0xffc0_0001, 0x7f80_0001],
        ElementType::F16 => &[0x7e00, 0xfe01],
        ElementType::BF16 => &[0x7fc0, 0xffc1],
        _ => &[],
    };
    Argument::tensor(element, &[rows, columns], 0, |at| {
        let random = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ 0x1234_5678;
        let mixed = random % 37;
        let special = (at / columns).is_multiple_of(2) && element.is_float();
        match mixed {
            0 | 1 if special => nan[random as usize / 64 % nan.len()],
            2 if special => top,
            3 if special => 0,
            // Few different ones.
            5..15 => (random / 64 % 5) << (size / 2) & (u64::MAX >> (64 - size)),
            _ => {
                let bits = (random / 64) & (u64::MAX >> (64 - size));
                // Any number, and none that is no number.
                if element.is_float() { bits & !(top >> 2) } else { bits }
            }
        }
    })
}

fn zeros(element: ElementType, extents: [u64; 2]) -> Argument {
    Argument::tensor(element, &extents, 0, |_| 0)
}

/// Sorts the only line of each of three programs, or as many lines of the only one.
fn sorted(
    element: ElementType,
    [lines, columns]: [u32; 2],
    by: &Schedule,
    descending: bool,
    wanted: Wanted,
) -> Lowered {
    let mut b = Builder::new("sorting");
    let results = match wanted {
        Wanted::First(first) => first,
        _ => columns,
    };
    let (order_out, out) = (b.tensor("order", I64, 2), b.tensor("out", element, 2));
    let src = b.tensor("src", element, 2);
    b.tensor_mut(src).mutable = false;
    let program = b.program(0);
    let along = |b: &mut Builder, extent: u32| -> [Value; 2] {
        let cols = b.arange(extent);
        match lines {
            1 => [program, cols],
            _ => {
                let rows = b.arange(lines);
                let rows = b.reshape(rows, &[lines, 1]);
                [rows, cols]
            }
        }
    };
    let at = along(&mut b, columns);
    let value = b.load(src, &at);
    let axis = b.shape(value).rank() as u8 - 1;
    let mut order = b.emit(Expression::ArgSort {
        value,
        axis,
        descending,
    });
    if let Wanted::First(first) = wanted {
        order = b.emit(Expression::Slice {
            value: order,
            axis,
            start: 0,
            step: 1,
            extent: first,
        });
    }
    let at = along(&mut b, results);
    if wanted != Wanted::Elements {
        b.store(order_out, &at, order);
    }
    if wanted != Wanted::Order {
        let value = b.emit(Expression::Take {
            value,
            index: order,
            axis,
        });
        b.store(out, &at, value);
    }
    let programs = if lines == 1 { 3 } else { 1 };
    let rows = u64::from(lines.max(programs as u32));
    let to = [rows, u64::from(results)];
    let arguments = [
        zeros(I64, to),
        zeros(element, to),
        elements(element, rows, columns.into()),
    ];
    let mut kernel = b.launch(programs);
    bind(&mut kernel, &arguments, true);
    check(&kernel, by, &arguments)
}

fn count(lowered: &Lowered, what: impl Fn(&Statement) -> bool) -> usize {
    let mut count = 0;
    lowered
        .kernel
        .body
        .walk(&mut |statement, _| count += usize::from(what(statement)));
    count
}

fn barriers(lowered: &Lowered) -> usize {
    // Those that all threads of a block wait at; a warp meets without one.
    count(
        lowered,
        |statement| matches!(statement, Statement::Barrier { group } if *group > 32),
    )
}

/// Each thread has an element of a short line, and tells its place from those that come before it.
#[test]
fn a_thread_for_each_element_of_a_short_line_counts_those_before_it() {
    let is_shuffle = |statement: &Statement| {
        matches!(
            statement,
            Statement::Let {
                operation: Operation::Shuffle { .. },
                ..
            }
        )
    };
    for element in [
        ElementType::F32,
        ElementType::F64,
        ElementType::BF16,
        ElementType::I32,
        ElementType::U8,
        I64,
    ] {
        for columns in 2..=16u32 {
            let threads = columns.next_power_of_two();
            for (wanted, descending) in ALL.into_iter().zip([true, false].into_iter().cycle()) {
                if matches!(wanted, Wanted::First(first) if first > columns) {
                    continue;
                }
                for (lines, threads, programs_per_block) in
                    [(1, threads, 32 / threads), (1, 32, 2), (3, 4 * threads, 1)]
                {
                    let by = Schedule {
                        programs_per_block,
                        ..schedule(threads, 2)
                    };
                    let lowered = sorted(element, [lines, columns], &by, descending, wanted);
                    if lines == 1 {
                        let each = u64::from(columns.next_power_of_two()) - 1;
                        assert_eq!(count(&lowered, is_shuffle) as u64, each, "{}", lowered.kernel);
                    }
                }
            }
        }
    }
}

#[test]
fn every_type_is_sorted_by_those_who_hold_it() {
    let has_order = |element: &ElementType| element.size() > 1 || element.is_integer();
    for element in ElementType::ALL.into_iter().filter(has_order) {
        for (columns, threads) in [(37, 32), (200, 64), (64, 4)] {
            for wanted in [Wanted::Order, Wanted::Elements, Wanted::First(3)] {
                for descending in [false, true] {
                    sorted(element, [1, columns], &schedule(threads, 2), descending, wanted);
                }
            }
        }
    }
}

#[test]
fn lines_of_every_length_are_sorted_by_any_number_of_threads() {
    for (columns, threads) in [
        (9, 1),
        (16, 2),
        (100, 8),
        (131, 32),
        (256, 32),
        (512, 32),
        (700, 96),
        (1500, 128),
    ] {
        for wanted in ALL {
            for element in [ElementType::F32, ElementType::BF16, I64] {
                sorted(element, [1, columns], &schedule(threads, 2), true, wanted);
            }
        }
    }
    // Longer than registers hold.
    for wanted in ALL {
        sorted(ElementType::F32, [1, 1100], &schedule(32, 2), false, wanted);
    }
}

#[test]
fn several_lines_are_sorted_side_by_side() {
    for (lines, columns, threads) in [
        (3, 40, 32),
        (7, 9, 64),
        (5, 256, 64),
        (2, 777, 96),
        (9, 16, 4),
        (4, 1100, 128),
    ] {
        for wanted in ALL {
            for element in [ElementType::F32, ElementType::U8, ElementType::F64] {
                sorted(element, [lines, columns], &schedule(threads, 2), false, wanted);
            }
        }
    }
}

#[test]
fn programs_of_a_part_of_a_warp_sort_side_by_side() {
    for (columns, threads, beside) in [(8, 1, 32), (64, 8, 4), (131, 16, 8), (256, 32, 4), (300, 64, 2)] {
        for wanted in ALL {
            let by = Schedule {
                programs_per_block: beside,
                ..schedule(threads, 2)
            };
            sorted(ElementType::F32, [1, columns], &by, true, wanted);
        }
    }
}

#[test]
fn a_warp_sorts_without_a_barrier_and_a_block_meets_where_warps_exchange() {
    let by = |columns, threads, wanted| sorted(ElementType::F32, [1, columns], &schedule(threads, 2), true, wanted);
    for wanted in ALL {
        for (columns, threads) in [(64, 8), (256, 32), (512, 32)] {
            assert_eq!(barriers(&by(columns, threads, wanted)), 0, "{wanted:?} of {columns}");
        }
    }
    // Two of the first ones: what each warp has found, and what all have.
    for first in [1, 8] {
        let lowered = by(2048, 128, Wanted::First(first));
        assert_eq!(barriers(&lowered), 2, "{}", lowered.kernel);
        assert!(lowered.kernel.shared_bytes() <= 40 * first + 64, "{}", lowered.kernel);
    }
    let lowered = by(1000, 128, Wanted::Order);
    // Before and behind what is written for the others, for mirrored and closer ones, and behind the result.
    assert_eq!(barriers(&lowered), 5, "{}", lowered.kernel);
}

#[test]
fn what_is_not_wanted_of_an_order_is_not_sorted() {
    let meetings = |threads, wanted| {
        let lowered = sorted(ElementType::F32, [1, 256], &schedule(threads, 2), true, wanted);
        let of = |is: fn(&Operation) -> bool| {
            count(
                &lowered,
                |statement| matches!(statement, Statement::Let { operation, .. } if is(operation)),
            )
        };
        let shuffles = of(|operation| matches!(operation, Operation::Shuffle { .. }));
        (
            shuffles,
            of(|operation| matches!(operation, Operation::WarpReduce { .. })),
        )
    };
    // Eight entries are exchanged at mirrored places and at closer ones, each in a loop over fifteen distances in all.
    assert_eq!(meetings(32, Wanted::Order), (16, 0));
    // Of the first ones a warp finds one after the other, each by its key and then by its index.
    assert_eq!(meetings(32, Wanted::First(8)), (0, 16));
    // Of a part of one each thread has ever fewer: eight, four at two distances, two at three, and one at four.
    assert_eq!(meetings(16, Wanted::First(8)), (8 + 2 * 4 + 3 * 2 + 4, 0));
}
