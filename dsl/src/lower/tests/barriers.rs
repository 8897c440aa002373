//! Where threads of a program wait for each other.

use super::run::{Argument, bind, check, launched, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{Atomic, AtomicOp, AtomicUpdate, BinaryOp, CompareOp, Expression, Kernel, MemoryOrder, MemoryScope};
use crate::lower::{Lowered, lower};
use crate::thread::{Block, Statement};

const I64: ElementType = ElementType::I64;

fn zeros(element: ElementType, extents: &[u64]) -> Argument {
    Argument::tensor(element, extents, 0, |_| 0)
}

fn barriers(lowered: &Lowered) -> usize {
    let mut count = 0;
    lowered
        .kernel
        .body
        .walk(&mut |statement, _| count += usize::from(matches!(statement, Statement::Barrier { .. })));
    count
}

/// A block without its barriers.
fn hasty(block: &Block) -> Block {
    let of = |statement: &Statement| match statement.clone() {
        Statement::Barrier { .. } => None,
        other => Some(other.map_blocks(|block| hasty(&block))),
    };
    let kept = block
        .iter()
        .filter_map(|(statement, span)| Some((of(statement)?, *span)));
    kept.collect()
}

/// Checks a kernel, and that it would not do without its barriers.
fn waits(mut kernel: Kernel, arguments: &[Argument]) -> Lowered {
    bind(&mut kernel, arguments, false);
    let by = schedule(64, 2);
    let lowered = check(&kernel, &by, arguments);
    let mut without = lower(&kernel, &by).unwrap();
    without.kernel.body = hasty(&without.kernel.body);
    let (outcome, _) = launched(&without, arguments, [1, 1, 1]);
    assert!(outcome.is_err(), "{}", lowered.kernel);
    lowered
}

#[test]
fn what_another_thread_has_stored_is_read_behind_a_barrier() {
    let mut b = Builder::new("stored");
    let (out, other) = (b.tensor("out", I64, 1), b.tensor("other", I64, 1));
    let (cols, five) = (b.arange(100), b.index(5));
    b.store(out, &[cols], cols);
    let found = b.load(out, &[five]);
    let sum = b.add(cols, found);
    b.store(other, &[cols], sum);
    let lowered = waits(b.launch(1), &[zeros(I64, &[100]), zeros(I64, &[100])]);
    assert_eq!(barriers(&lowered), 1, "{}", lowered.kernel);
}

#[test]
fn a_place_is_written_again_behind_a_barrier() {
    let mut b = Builder::new("again");
    let out = b.tensor("out", I64, 1);
    let (cols, one) = (b.arange(100), b.index(1));
    let shifted = b.add(cols, one);
    b.store(out, &[cols], cols);
    b.store(out, &[shifted], cols);
    let lowered = waits(b.launch(1), &[zeros(I64, &[101])]);
    assert_eq!(barriers(&lowered), 1, "{}", lowered.kernel);
}

#[test]
fn each_trip_waits_for_the_one_before() {
    let mut b = Builder::new("trips");
    let out = b.tensor("out", I64, 1);
    let (cols, zero) = (b.arange(90), b.index(0));
    let n = b.count("n");
    b.for_loop(zero, n, 1, |b, i| {
        let found = b.load(out, &[i]);
        let at = b.add(cols, i);
        let value = b.add(cols, found);
        b.store(out, &[at], value);
    });
    let ones = Argument::tensor(I64, &[100], 0, |_| 1);
    waits(b.launch(1), &[ones, Argument::Count(7)]);
}

#[test]
fn branches_that_wrote_are_waited_for_whichever_it_was() {
    let mut b = Builder::new("branches");
    let (out, other) = (b.tensor("out", I64, 1), b.tensor("other", I64, 1));
    let (cols, zero, nine) = (b.arange(100), b.index(0), b.index(9));
    let n = b.count("n");
    let condition = b.compare(CompareOp::Less, n, zero);
    b.if_else(condition, |_| {}, |b| b.store(out, &[cols], cols));
    let found = b.load(out, &[nine]);
    let sum = b.add(cols, found);
    b.store(other, &[cols], sum);
    waits(
        b.launch(1),
        &[zeros(I64, &[100]), zeros(I64, &[100]), Argument::Count(3)],
    );
}

/// `out[i] = i + (counter op= value)`, twice, in a loop.
fn counts(element: ElementType, update: impl Fn(Value) -> AtomicUpdate) {
    let mut b = Builder::new("counting");
    let (out, counter) = (b.tensor("out", element, 2), b.tensor("counter", element, 1));
    let cols = b.arange(100);
    let (zero, two) = (b.index(0), b.index(2));
    b.for_loop(zero, two, 1, |b, i| {
        let value = b.cast(i, element);
        let found = b.emit(Expression::Atomic(Atomic {
            access: b.access(counter, &[zero]),
            update: update(value),
            order: MemoryOrder::AcquireRelease,
            scope: MemoryScope::Device,
        }));
        let own = b.cast(cols, element);
        let sum = match element.is_integer() {
            true => b.binary(BinaryOp::Xor, own, found),
            false => b.binary(BinaryOp::Add, own, found),
        };
        b.store(out, &[i, cols], sum);
    });
    let first = Argument::tensor(element, &[1], 0, |_| 0);
    waits(b.launch(1), &[zeros(element, &[2, 100]), first]);
}

#[test]
fn what_an_atomic_operation_found_reaches_every_thread() {
    let ops = [AtomicOp::Add, AtomicOp::Min, AtomicOp::Max, AtomicOp::Exchange];
    for element in [
        I64,
        ElementType::U32,
        ElementType::F32,
        ElementType::F64,
        ElementType::BF16,
    ] {
        for op in ops.into_iter().filter(|op| op.accepts(element)) {
            counts(element, |value| AtomicUpdate::Combine { op, value });
        }
    }
    counts(I64, |value| AtomicUpdate::CompareExchange {
        current: value,
        new: value,
    });
}

#[test]
fn a_load_is_only_put_off_to_a_store_in_the_same_block() {
    // The second trip would read what the first one has written.
    let mut b = Builder::new("nested");
    let out = b.tensor("out", I64, 1);
    let (cols, zero, two) = (b.arange(64), b.index(0), b.index(2));
    let value = b.load(out, &[cols]);
    let twice = b.add(value, value);
    b.for_loop(zero, two, 1, |b, _| b.store(out, &[cols], twice));
    let mut kernel = b.launch(1);
    bind(&mut kernel, &[zeros(I64, &[64])], false);
    let first = Argument::tensor(I64, &[64], 0, |at| at + 1);
    let lowered = check(&kernel, &schedule(64, 1), &[first]);
    // Each thread keeps its elements from before the loop.
    let text = lowered.kernel.to_string();
    let (last, looped) = (text.rfind("= load out"), text.find(": for "));
    assert!(last.is_some() && last < looped, "{text}");
}
