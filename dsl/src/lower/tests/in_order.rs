//! Stores of which the last one wins, and the programs of kernels that have such.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{
    BinaryOp, Bounds, CheckKind, Combine, CompareOp, Conflict, Expression, Kernel, MemoryScope, Reduction, Statement,
};
use crate::lower::{Form, LowerError, Lowered, lower};
use crate::schedule::{Schedule, ScheduleError};

const I64: ElementType = ElementType::I64;

fn zeros(element: ElementType, extents: &[u64]) -> Argument {
    Argument::tensor(element, extents, 0, |_| 0)
}

/// A kernel of so many programs that stores with the last one winning, under several schedules.
fn last_wins(programs: i64, arguments: &[Argument], fill: impl Fn(&mut Builder)) -> Lowered {
    let mut b = Builder::new("last");
    b.conflict = Some(Conflict::LastWins);
    fill(&mut b);
    let mut kernel = b.launch(programs);
    bind(&mut kernel, arguments, false);
    for by in [1, 8, 32].map(|threads| schedule(threads, 1)) {
        if by.fits(&kernel).is_ok() {
            check(&kernel, &by, arguments);
        }
    }
    check(&kernel, &schedule(96, 3), arguments)
}

/// `value % by`.
fn folded(b: &mut Builder, value: Value, by: i64) -> Value {
    let by = b.index(by);
    b.binary(BinaryOp::Remainder, value, by)
}

#[test]
fn of_the_elements_of_a_tile_that_meet_the_last_one_wins() {
    let lowered = last_wins(3, &[zeros(I64, &[9])], |b| {
        let out = b.tensor("out", I64, 1);
        let cols = b.arange(100);
        let at = folded(b, cols, 9);
        b.store(out, &[at], cols);
    });
    let form = lowered.distributions[0].1.form;
    assert_eq!(form, Form::InOrder { elements: 100 });
    assert!(lowered.in_order && lowered.blocks(3) == Some(1));
}

#[test]
fn of_rows_and_columns_that_meet_the_last_one_wins() {
    for bounds in [Bounds::Clamp, Bounds::ReadZeroSkipWrite] {
        last_wins(2, &[zeros(I64, &[4, 5])], |b| {
            let out = b.tensor("out", I64, 2);
            b.bounds = bounds;
            let (rows, cols) = (b.arange(11), b.arange(13));
            let rows = b.reshape(rows, &[11, 1]);
            let program = b.program(0);
            let (row, col) = (folded(b, rows, 5), folded(b, cols, 7));
            let value = b.mul(rows, cols);
            let value = b.add(value, program);
            b.store(out, &[row, col], value);
        });
    }
}

#[test]
fn where_a_mask_leaves_the_last_one_out_the_one_before_wins() {
    last_wins(2, &[zeros(I64, &[3])], |b| {
        let out = b.tensor("out", I64, 1);
        let (cols, limit) = (b.arange(50), b.index(41));
        let shape = b.shape(cols);
        let limit = b.stretch(limit, shape);
        let mask = b.compare(CompareOp::Less, cols, limit);
        let at = folded(b, cols, 4);
        b.store_where(out, &[at], cols, mask);
    });
}

#[test]
fn what_does_not_meet_is_spread_over_the_threads() {
    let lowered = last_wins(2, &[zeros(ElementType::F32, &[256])], |b| {
        let out = b.tensor("out", ElementType::F32, 1);
        let cols = b.arange(256);
        let value = b.cast(cols, ElementType::F32);
        b.store(out, &[cols], value);
    });
    let form = lowered.distributions[0].1.form;
    assert_eq!(form, Form::Packets { lanes: 4, packets: 64 }, "{}", lowered.kernel);
}

#[test]
fn what_threads_hold_reaches_the_one_that_stores() {
    last_wins(
        2,
        &[zeros(I64, &[7]), Argument::tensor(I64, &[70], 0, |at| at * 3)],
        |b| {
            let out = b.tensor("out", I64, 1);
            let src = b.tensor("src", I64, 1);
            b.tensor_mut(src).mutable = false;
            let (cols, rows) = (b.arange(70), b.arange(10));
            let value = b.load(src, &[cols]);
            let kept = b.variable("kept", value);
            let kept = b.read(kept);
            let at = folded(b, kept, 7);
            b.store(out, &[at], kept);
            let rectangle = b.reshape(kept, &[10, 7]);
            let sums = b.emit(Expression::Reduce {
                value: rectangle,
                axis: 1,
                reduction: Reduction::Combine(Combine::Operator(BinaryOp::Add)),
            });
            let at = folded(b, rows, 3);
            b.store(out, &[at], sums);
            // And the places where it is stored.
            let at = folded(b, sums, 5);
            b.store(out, &[at], rows);
        },
    );
}

#[test]
fn a_program_finds_what_the_one_before_has_stored() {
    last_wins(5, &[Argument::tensor(I64, &[40], 0, |at| at)], |b| {
        let out = b.tensor("out", I64, 1);
        let (cols, one, four) = (b.arange(39), b.index(1), b.index(4));
        let next = b.add(cols, one);
        let (before, other) = (b.load(out, &[cols]), b.load(out, &[four]));
        let value = b.add(before, other);
        b.store(out, &[next], value);
    });
}

#[test]
fn plain_stores_of_one_program_come_after_those_of_the_one_before() {
    last_wins(4, &[zeros(I64, &[110]), zeros(I64, &[1])], |b| {
        let (out, last) = (b.tensor("out", I64, 1), b.tensor("last", I64, 1));
        let (cols, program, zero) = (b.arange(100), b.program(0), b.index(0));
        b.conflict = None;
        let at = b.add(cols, program);
        let value = b.mul(at, program);
        b.store(out, &[at], value);
        b.conflict = Some(Conflict::LastWins);
        b.store(last, &[zero], program);
    });
}

#[test]
fn a_program_that_ends_lets_the_next_one_begin() {
    let ends = |b: &mut Builder, program: Value| {
        let one = b.index(1);
        let is_one = b.compare(CompareOp::Equal, program, one);
        b.if_else(is_one, |b| b.push(Statement::Return), |_| {});
    };
    let fails = |b: &mut Builder, program: Value| {
        let two = b.index(2);
        let condition = b.compare(CompareOp::Less, program, two);
        let again = b.compare(CompareOp::Greater, program, two);
        let condition = b.binary(BinaryOp::Or, condition, again);
        b.push(Statement::Check {
            condition,
            kind: CheckKind::Assume,
            message: "not two".to_owned(),
        });
    };
    last_wins(4, &[zeros(I64, &[4])], |b| {
        let out = b.tensor("out", I64, 1);
        let (cols, program, one, three) = (b.arange(20), b.program(0), b.index(1), b.index(3));
        let at = folded(b, cols, 4);
        let value = b.add(program, one);
        ends(b, program);
        b.store(out, &[program], value);
        b.for_loop(one, three, 1, |b, i| {
            let is_last = b.compare(CompareOp::Equal, i, program);
            b.if_else(is_last, |b| b.push(Statement::Return), |_| {});
            b.store(out, &[at], cols);
        });
    });
    // A check that fails ends its program alone.
    let mut b = Builder::new("failing");
    let out = b.tensor("out", I64, 1);
    let (program, cols) = (b.program(0), b.arange(9));
    fails(&mut b, program);
    b.conflict = Some(Conflict::LastWins);
    let at = folded(&mut b, cols, 2);
    let value = b.add(cols, program);
    b.store(out, &[at], value);
    b.conflict = None;
    b.store(out, &[program], program);
    let mut kernel = b.launch(4);
    kernel.checked = true;
    let arguments = [zeros(I64, &[4])];
    bind(&mut kernel, &arguments, false);
    let (_, outcome, bytes) = super::run::lowered_and_run(&kernel, &schedule(64, 1), &arguments, [4, 1, 1]);
    let programs: Vec<i64> = outcome.reports.iter().map(|report| report.program).collect();
    assert_eq!(programs, [2]);
    // Program 3 was the last one to come by, and program 2 has left its place alone.
    let words: Vec<u8> = bytes[0].chunks(8).map(|word| word[0]).collect();
    assert_eq!(words, [11, 10, 0, 3]);
}

#[test]
fn grids_of_several_axes_and_atomic_operations_are_done_in_order() {
    let mut b = Builder::new("grid");
    let (out, counter) = (b.tensor("out", I64, 1), b.tensor("counter", I64, 1));
    let (zero, one, cols) = (b.index(0), b.index(1), b.arange(33));
    let found = b.atomic_add(counter, &[zero], one, MemoryScope::Device);
    let (x, y) = (b.program(0), b.program(1));
    let value = b.mul(found, found);
    let value = b.add(value, cols);
    let at = folded(&mut b, cols, 4);
    let at = b.add(at, x);
    let at = b.add(at, y);
    b.conflict = Some(Conflict::LastWins);
    b.store(out, &[at], value);
    let (three, two) = (b.index(3), b.index(2));
    let mut kernel = b.finish(&[three, two]);
    let arguments = [zeros(I64, &[9]), zeros(I64, &[1])];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(64, 2), &arguments);
}

#[test]
fn programs_in_order_share_no_block_and_are_not_split() {
    let mut b = Builder::new("alone");
    let out = b.tensor("out", I64, 1);
    let (zero, program) = (b.index(0), b.program(0));
    b.conflict = Some(Conflict::LastWins);
    b.store(out, &[zero], program);
    let kernel: Kernel = b.launch(4);
    for (programs_per_block, splits) in [(2, 1), (1, 2)] {
        let by = Schedule {
            programs_per_block,
            splits,
            ..schedule(32, 1)
        };
        let refused = lower(&kernel, &by).map(drop);
        let dependent = |error: &LowerError| {
            matches!(
                error,
                LowerError::Schedule {
                    source: ScheduleError::Dependent(_),
                    ..
                }
            )
        };
        assert!(refused.as_ref().is_err_and(dependent), "{refused:?}");
    }
}
