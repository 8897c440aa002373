//! Atomic operations.

use super::{Fault, access};
use crate::element::ElementType;
use crate::ir::{Atomic, AtomicUpdate, Kernel, Type};

/// The type of an atomic operation: that of the elements it changes.
pub(super) fn infer(kernel: &Kernel, atomic: &Atomic) -> Result<Type, Fault> {
    let expected = access::of_any(kernel, &atomic.access)?;
    access::cache(kernel, &atomic.access, "atomic operation", |_| false)?;
    let (name, tensor) = access::tensor(kernel, atomic.access.tensor)?;
    if !tensor.mutable && atomic.update.changes() {
        return Err(Fault::ImmutableAtomic(name.to_owned()));
    }
    let operation = atomic.update.name();
    if !atomic.update.accepts(expected.element) {
        return Err(Fault::AtomicElement {
            tensor: name.to_owned(),
            operation,
            element: expected.element,
        });
    }
    let (order, scope) = (atomic.order, atomic.scope);
    if !atomic.update.has(order, scope) {
        return Err(Fault::AtomicOrder {
            operation,
            order: order.name(),
            scope: scope.name(),
        });
    }
    let limit = match atomic.update {
        AtomicUpdate::Wait { limit, .. } => Some(limit),
        _ => None,
    };
    for operand in atomic.update.operands() {
        let value = kernel.ty(operand);
        let expected = match Some(operand) == limit {
            true => Type::scalar(ElementType::U64),
            false => expected,
        };
        if value != expected {
            return Err(Fault::AtomicValue {
                tensor: name.to_owned(),
                value,
                expected,
            });
        }
    }
    Ok(expected)
}
