//! Atomic operations.

use super::*;
use crate::ir::{Atomic, AtomicOp, AtomicUpdate, Expression, Handle, MemoryOrder, MemoryScope, Type};

/// A builder with an atomic operation of this update, which takes the given values, on `index[program]`.
fn builder_with(update: impl FnOnce(&mut Builder) -> AtomicUpdate) -> (Builder, Handle<Expression>, u32) {
    let (mut b, _, index) = builder();
    let at = b.program(0);
    let update = update(&mut b);
    let atomic = Atomic {
        access: b.access(index, &[at]),
        update,
        order: MemoryOrder::default(),
        scope: MemoryScope::default(),
    };
    let value = b.emit(Expression::Atomic(atomic));
    (b, value, index)
}

fn add_one(b: &mut Builder) -> AtomicUpdate {
    let value = b.literal(1i32);
    AtomicUpdate::Combine {
        op: AtomicOp::Add,
        value,
    }
}

#[test]
fn an_atomic_operation_has_the_type_of_its_elements() {
    let (mut b, value, _) = builder_with(add_one);
    assert_eq!(b.kernel.ty(value), Type::scalar(ElementType::I32));
    let grid = b.index(1);
    assert_eq!(b.verified(&[grid]).map(|_| ()), Ok(()));
}

#[test]
fn an_atomic_operation_changes_a_mutable_tensor() {
    let (mut b, _, index) = builder_with(add_one);
    b.tensor_mut(index).mutable = false;
    let fault = fault(b);
    assert_eq!(fault, Fault::ImmutableAtomic("index".into()));
    assert_eq!(
        fault.to_string(),
        "tensor `index` is changed atomically, and the kernel may only read it"
    );
}

#[test]
fn an_atomic_operation_is_defined_on_its_tensor() {
    let (mut b, _, index) = builder_with(add_one);
    b.tensor_mut(index).element = ElementType::I16;
    b.tensor_mut(index).alignment = 2;
    assert_eq!(
        fault(b),
        Fault::AtomicElement {
            tensor: "index".into(),
            operation: "add",
            element: ElementType::I16
        }
    );
}

#[test]
fn every_value_of_an_atomic_operation_has_the_type_of_its_elements() {
    let (b, ..) = builder_with(|b| {
        let (current, new) = (b.literal(1i32), b.literal(1i64));
        AtomicUpdate::CompareExchange { current, new }
    });
    assert_eq!(
        fault(b),
        Fault::AtomicValue {
            tensor: "index".into(),
            value: Type::INDEX,
            expected: Type::scalar(ElementType::I32)
        }
    );
}

/// A kernel with an operation on a tensor of this type, which it may write or not.
fn of(
    element: ElementType,
    mutable: bool,
    (order, scope): (MemoryOrder, MemoryScope),
    update: impl FnOnce(&mut Builder) -> AtomicUpdate,
) -> Result<(), Fault> {
    let mut b = Builder::new("flags");
    let flags = b.tensor("flags", element, 1);
    b.tensor_mut(flags).mutable = mutable;
    let at = b.index(0);
    let update = update(&mut b);
    let access = b.access(flags, &[at]);
    b.emit(Expression::Atomic(Atomic {
        access,
        update,
        order,
        scope,
    }));
    let grid = b.index(1);
    b.verified(&[grid]).map(|_| ()).map_err(|error| error.fault)
}

fn wait(b: &mut Builder) -> AtomicUpdate {
    let (epoch, limit) = (b.literal(1u32), b.literal(5u64));
    AtomicUpdate::Wait { epoch, limit }
}

#[test]
fn what_only_reads_needs_no_mutable_tensor_and_releases_nothing() {
    use MemoryOrder::{Acquire, AcquireRelease, Relaxed, Release};
    use MemoryScope::{Block, Device, System};
    let load = |order, scope| of(ElementType::U32, false, (order, scope), |_| AtomicUpdate::Load);
    let store = |order, scope| {
        let one = |b: &mut Builder| AtomicUpdate::Store { value: b.literal(1u32) };
        of(ElementType::U32, true, (order, scope), one)
    };
    let wait = |order, scope| of(ElementType::U32, false, (order, scope), wait);
    for scope in [Block, Device, System] {
        for (order, reads, writes) in [
            (Relaxed, true, true),
            (Acquire, true, false),
            (Release, false, true),
            (AcquireRelease, false, false),
        ] {
            assert_eq!(load(order, scope).is_ok(), reads, "{order:?}");
            assert_eq!(store(order, scope).is_ok(), writes, "{order:?}");
            assert_eq!(
                wait(order, scope).is_ok(),
                order == Acquire && scope != Block,
                "{order:?}"
            );
        }
    }
    assert_eq!(
        load(Release, System),
        Err(Fault::AtomicOrder {
            operation: "load",
            order: "release",
            scope: "system"
        })
    );
    let one = |b: &mut Builder| AtomicUpdate::Store { value: b.literal(1u32) };
    let written = of(ElementType::U32, false, (Release, System), one);
    assert_eq!(written, Err(Fault::ImmutableAtomic("flags".into())));
}

#[test]
fn a_wait_is_for_a_u32_and_has_a_limit_of_64_bits() {
    let order = (MemoryOrder::Acquire, MemoryScope::System);
    assert!(matches!(
        of(ElementType::I32, true, order, wait),
        Err(Fault::AtomicElement { operation: "wait", .. })
    ));
    let short = |b: &mut Builder| {
        let (epoch, limit) = (b.literal(1u32), b.literal(5u32));
        AtomicUpdate::Wait { epoch, limit }
    };
    assert!(matches!(
        of(ElementType::U32, true, order, short),
        Err(Fault::AtomicValue { .. })
    ));
}

#[test]
fn the_types_of_each_operation_are_those_that_a_gpu_has() {
    use ElementType::*;
    let accepted = |op: AtomicOp| {
        ElementType::ALL
            .into_iter()
            .filter(move |&e| op.accepts(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(accepted(AtomicOp::Add), [I32, I64, U32, U64, F16, BF16, F32, F64]);
    for op in [AtomicOp::Min, AtomicOp::Max, AtomicOp::Exchange] {
        assert_eq!(accepted(op), [I32, I64, U32, U64, F32, F64]);
    }
    for op in [AtomicOp::And, AtomicOp::Or, AtomicOp::Xor] {
        assert_eq!(accepted(op), [I32, I64, U32, U64]);
    }
}

#[test]
fn an_atomic_operation_prints_everything_that_decides_its_code() {
    let (mut b, value, index) = builder_with(add_one);
    let (at, none) = (b.index(3), b.literal(-1i32));
    let atomic = Atomic {
        access: b.access(index, &[at]),
        update: AtomicUpdate::CompareExchange {
            current: none,
            new: value,
        },
        order: MemoryOrder::Release,
        scope: MemoryScope::System,
    };
    b.emit(Expression::Atomic(atomic));
    let grid = b.index(1);
    let text = b.verified(&[grid]).unwrap().to_string();
    for line in [
        "%0 = atomic add acq_rel device index[program(0)] guard zero(0: lower upper) by 1i32 : i32\n",
        "%1 = atomic compare_exchange release system index[3i64] guard zero(0: lower upper) by -1i32, %0 : i32\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
