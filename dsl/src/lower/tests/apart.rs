//! Stores into parts of one tensor that are known to be apart.

use super::run::{Argument, bind, check, schedule};
use crate::analysis::effects::Effects;
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{Access, BinaryOp, Bounds, Combine, CompareOp, Expression, Kernel, Reduction};
use crate::lower::{LowerError, lower};
use crate::schedule::{Schedule, ScheduleError};
use crate::thread::Statement;

const I64: ElementType = ElementType::I64;

fn zeros(extents: &[u64]) -> Argument {
    Argument::tensor(I64, extents, 0, |_| 0)
}

/// Runs a kernel under several schedules; returns whether its stores are known to be apart. Where they are, no barrier is
/// left and a program may be split; where they are not, the kernel is refused to be.
fn is_apart(programs: i64, arguments: &[Argument], fill: impl Fn(&mut Builder)) -> bool {
    let mut b = Builder::new("apart");
    fill(&mut b);
    let mut kernel = b.launch(programs);
    bind(&mut kernel, arguments, false);
    let lowered = check(&kernel, &schedule(64, 2), arguments);
    let mut barriers = 0;
    lowered
        .kernel
        .body
        .walk(&mut |statement, _| barriers += usize::from(matches!(statement, Statement::Barrier { .. })));
    let apart = Effects::of(&kernel).threads_are_independent();
    assert_eq!(apart, barriers == 0, "{kernel}\n{}", lowered.kernel);
    let split = Schedule {
        splits: 3,
        ..schedule(32, 1)
    };
    match apart {
        true => {
            check(&kernel, &split, arguments);
            let beside = Schedule {
                programs_per_block: 4,
                ..schedule(8, 1)
            };
            check(&kernel, &beside, arguments);
        }
        false => assert!(is_dependent(&kernel, &split), "{kernel}"),
    }
    apart
}

fn is_dependent(kernel: &Kernel, by: &Schedule) -> bool {
    matches!(
        lower(kernel, by),
        Err(LowerError::Schedule {
            source: ScheduleError::Dependent(_),
            ..
        })
    )
}

/// Stores the first `columns` numbers times a factor from a column on.
fn part(b: &mut Builder, out: u32, row: Value, from: i64, columns: u32) {
    let (cols, from) = (b.arange(columns), b.index(from));
    let at = b.add(cols, from);
    let value = b.mul(at, at);
    b.store(out, &[row, at], value);
}

#[test]
fn columns_before_and_behind_are_apart() {
    for (from, apart) in [(100, true), (99, false), (300, true), (0, false)] {
        let found = is_apart(3, &[zeros(&[3, 200])], |b| {
            let (out, row) = (b.tensor("out", I64, 2), b.program(0));
            part(b, out, row, 0, 100);
            part(b, out, row, from, 60);
        });
        assert_eq!(found, apart, "{from}");
    }
}

#[test]
fn every_two_of_several_stores_have_to_be_apart() {
    for (last, apart) in [(100, true), (60, false), (20, false)] {
        let found = is_apart(2, &[zeros(&[2, 200])], |b| {
            let (out, row) = (b.tensor("out", I64, 2), b.program(0));
            part(b, out, row, 60, 40);
            part(b, out, row, 0, 60);
            part(b, out, row, last, 30);
        });
        assert_eq!(found, apart, "{last}");
    }
}

#[test]
fn rows_that_differ_by_a_number_are_apart() {
    for (by, apart) in [(1, true), (0, false)] {
        let found = is_apart(3, &[zeros(&[8, 50])], |b| {
            let (out, program, two, by) = (b.tensor("out", I64, 2), b.program(0), b.index(2), b.index(by));
            let row = b.mul(program, two);
            let next = b.add(row, by);
            part(b, out, row, 0, 50);
            part(b, out, next, 0, 49);
        });
        assert_eq!(found, apart);
    }
}

#[test]
fn what_a_branch_says_of_places_counts() {
    for (limit, apart) in [(5, true), (6, false)] {
        let found = is_apart(1, &[zeros(&[8]), Argument::Count(5)], |b| {
            let (out, n, five) = (b.tensor("out", I64, 1), b.count("n"), b.index(5));
            let limit = b.index(limit);
            b.store(out, &[five], five);
            let below = b.compare(CompareOp::Less, n, limit);
            b.if_else(below, |b| b.store(out, &[n], n), |_| {});
        });
        assert_eq!(found, apart, "{limit}");
    }
}

#[test]
fn branches_are_no_order() {
    for (from, apart) in [(64, true), (10, false)] {
        let found = is_apart(2, &[zeros(&[2, 200]), Argument::Count(1)], |b| {
            let (out, n, row) = (b.tensor("out", I64, 2), b.count("n"), b.program(0));
            let first = b.compare(CompareOp::Less, row, n);
            // The third store may come behind either of two that meet each other.
            b.if_else(first, |b| part(b, out, row, 0, 40), |b| part(b, out, row, 10, 40));
            part(b, out, row, from, 30);
        });
        assert_eq!(found, apart);
    }
}

#[test]
fn of_loops_any_two_trips_have_to_be_apart() {
    // The first trips write what is left of 40, and those of another loop the rest.
    let found = is_apart(2, &[zeros(&[2, 200])], |b| {
        let (out, row) = (b.tensor("out", I64, 2), b.program(0));
        let (zero, forty, sixty) = (b.index(0), b.index(40), b.index(60));
        b.for_loop(zero, forty, 1, |b, i| b.store(out, &[row, i], i));
        b.for_loop(forty, sixty, 3, |b, i| b.store(out, &[row, i], zero));
    });
    assert!(found);
    // In one trip `i` and `i + 1` differ, and the next one writes where this one did.
    let found = is_apart(2, &[zeros(&[2, 200])], |b| {
        let (out, row) = (b.tensor("out", I64, 2), b.program(0));
        let (zero, forty, one) = (b.index(0), b.index(40), b.index(1));
        b.for_loop(zero, forty, 1, |b, i| {
            let next = b.add(i, one);
            b.store(out, &[row, next], zero);
            b.store(out, &[row, i], i);
        });
    });
    assert!(!found);
}

#[test]
fn indices_that_are_moved_inside_are_not_apart() {
    for bounds in [Bounds::ReadZeroSkipWrite, Bounds::Clamp] {
        let found = is_apart(2, &[zeros(&[2, 100])], |b| {
            let (out, row) = (b.tensor("out", I64, 2), b.program(0));
            b.bounds = bounds;
            let (cols, far) = (b.arange(100), b.index(100));
            b.store(out, &[row, cols], cols);
            b.store(out, &[row, far], row);
        });
        assert_eq!(found, bounds == Bounds::ReadZeroSkipWrite);
    }
}

#[test]
fn a_store_of_what_elements_met_in_is_ordered_after_one_of_the_same_places() {
    let mut b = Builder::new("met");
    let (out, src) = (b.tensor("out", I64, 1), b.tensor("src", I64, 2));
    b.tensor_mut(src).mutable = false;
    let (rows, cols) = (b.arange(64), b.arange(3));
    let column = b.reshape(rows, &[64, 1]);
    let value = b.load(src, &[column, cols]);
    let sums = b.emit(Expression::Reduce {
        value,
        axis: 1,
        reduction: Reduction::Combine(Combine::Operator(BinaryOp::Add)),
    });
    b.store(out, &[rows], rows);
    b.store(out, &[rows], sums);
    let mut kernel = b.launch(1);
    let arguments = [zeros(&[64]), Argument::tensor(I64, &[64, 3], 0, |at| at)];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn stores_are_compared_as_they_stand_in_the_kernel() {
    // Two equal accesses are not one.
    let found = is_apart(1, &[zeros(&[1, 90])], |b| {
        let (out, row) = (b.tensor("out", I64, 2), b.program(0));
        let (cols, ten) = (b.arange(30), b.index(10));
        let shifted = b.add(cols, ten);
        let again: Access = b.access(out, &[row, cols]);
        b.store(out, &[row, cols], cols);
        b.store(out, &[row, shifted], cols);
        assert_eq!(again, b.access(out, &[row, cols]));
        b.store(out, &[row, cols], shifted);
    });
    assert!(!found);
}
