//! References: everything that is named exists, and operands come before their users.

use super::{Fault, MAX_DEPTH, MAX_NESTING, VerifyError};
use crate::ir::{Block, Expression, Handle, Kernel, Span, Statement};
use crate::stack::room;

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    let (expressions, types, spans) = (kernel.expressions.len(), kernel.types.len(), kernel.spans.len());
    if types != expressions || spans != expressions {
        return Err(Fault::ArenaLengths {
            expressions,
            types,
            spans,
        }
        .at(kernel.span));
    }
    let mut depths: Vec<u32> = Vec::with_capacity(expressions);
    for (handle, expression) in kernel.expressions.iter() {
        let mut forward = None;
        let mut depth = 0;
        expression.for_each_operand(|operand| match depths.get(operand.index()) {
            Some(below) => depth = depth.max(below + 1),
            None => {
                forward.get_or_insert(operand);
            }
        });
        if let Some(operand) = forward {
            return Err(Fault::ForwardReference {
                expression: handle.index(),
                operand: operand.index(),
            }
            .of(kernel, handle));
        }
        if depth > MAX_DEPTH {
            let (expression, most) = (handle.index(), MAX_DEPTH);
            return Err(Fault::TooDeep { expression, most }.of(kernel, handle));
        }
        depths.push(depth);
        match expression {
            Expression::Local(local) if local.index() >= kernel.locals.len() => {
                return Err(Fault::UnknownLocal(local.index()).of(kernel, handle));
            }
            _ => {}
        }
    }
    for &extent in &kernel.grid {
        exists(kernel, extent, kernel.span)?;
    }
    for requirement in &kernel.requirements {
        exists(kernel, requirement.condition, requirement.span)?;
    }
    block(kernel, &kernel.body, MAX_NESTING)
}

fn exists(kernel: &Kernel, handle: Handle<Expression>, span: Span) -> Result<(), VerifyError> {
    if handle.index() < kernel.expressions.len() {
        return Ok(());
    }
    Err(Fault::UnknownExpression(handle.index()).at(span))
}

fn block(kernel: &Kernel, block: &Block, depth_left: usize) -> Result<(), VerifyError> {
    for (statement, span) in block {
        let mut result = Ok(());
        statement.for_each_use(|used| {
            if result.is_ok() {
                result = exists(kernel, used, *span);
            }
        });
        result?;
        match statement {
            Statement::Let(handle) | Statement::For { induction: handle, .. } => exists(kernel, *handle, *span)?,
            Statement::Assign { local, .. } if local.index() >= kernel.locals.len() => {
                return Err(Fault::UnknownLocal(local.index()).at(*span));
            }
            Statement::Assign { .. }
            | Statement::Store { .. }
            | Statement::Check { .. }
            | Statement::Prefetch(_)
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::If { .. }
            | Statement::While { .. }
            | Statement::Break
            | Statement::Continue
            | Statement::Return => {}
        }
        let mut nested = Ok(());
        statement.for_each_block(|inner| {
            if nested.is_ok() {
                nested = match depth_left.checked_sub(1) {
                    Some(left) => room(|| self::block(kernel, inner, left)),
                    None => Err(Fault::NestingTooDeep.at(*span)),
                };
            }
        });
        nested?;
    }
    Ok(())
}
