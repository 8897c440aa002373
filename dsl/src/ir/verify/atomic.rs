//! Atomic operations.

use super::{Fault, access};
use crate::ir::{Atomic, Kernel, Type};

/// The type of an atomic operation: that of the elements it changes.
pub(super) fn infer(kernel: &Kernel, atomic: &Atomic) -> Result<Type, Fault> {
    let expected = access::infer(kernel, &atomic.access)?;
    access::cache(kernel, &atomic.access, "atomic operation", |_| false)?;
    let (name, tensor) = access::tensor(kernel, atomic.access.tensor)?;
    if !tensor.mutable {
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
    for operand in atomic.update.operands() {
        let value = kernel.ty(operand);
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
