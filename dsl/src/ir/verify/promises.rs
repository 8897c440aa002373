//! What only an author can promise: IR from anyone else may have none of it.

use super::{Fault, VerifyError};
use crate::ir::{Access, Bindings, Bounds, CheckKind, Expression, Guard, Kernel, Statement};

/// Checks that a kernel keeps within its tensors whatever it is launched with, taking nobody's word for it: every axis
/// of every access is checked, and there are no assumptions, claimed multiples or instructions of an author's own.
/// Nothing is bound either, as that is for a launch to do.
///
/// A kernel recorded from a body without `unsafe` passes, before any transformation.
///
/// # Errors
/// The first promise in the kernel, with the place it was written.
pub fn without_promises(kernel: &Kernel) -> Result<(), VerifyError> {
    if kernel.bindings != Bindings::default() {
        return Err(Fault::Bound.at(kernel.span));
    }
    for (handle, expression) in kernel.expressions.iter() {
        let promise = match expression {
            Expression::MultipleOf { .. } => Err(Fault::Promise("a claimed multiple")),
            Expression::Ptx(_) => Err(Fault::Promise("instructions of PTX")),
            other => other.access().map_or(Ok(()), |access| checked(kernel, access)),
        };
        promise.map_err(|fault| fault.of(kernel, handle))?;
    }
    let mut found = Ok(());
    kernel.body.walk(&mut |statement, span| {
        let promise = match statement {
            Statement::Store { access, .. } | Statement::Prefetch(access) => checked(kernel, access),
            Statement::Check {
                kind: CheckKind::Assume,
                ..
            } => Err(Fault::Promise("an assumption")),
            _ => Ok(()),
        };
        if found.is_ok() {
            found = promise.map_err(|fault| fault.at(span));
        }
    });
    found
}

fn checked(kernel: &Kernel, access: &Access) -> Result<(), Fault> {
    if access.bounds == Bounds::Unchecked {
        return Err(Fault::Promise("an unchecked access"));
    }
    match access.guards.iter().position(|&guard| guard != Guard::FULL) {
        Some(axis) => {
            let (tensor, _) = super::access::tensor(kernel, access.tensor)?;
            let tensor = tensor.to_owned();
            Err(Fault::RemovedGuard { tensor, axis })
        }
        None => Ok(()),
    }
}
