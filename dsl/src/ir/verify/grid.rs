//! What the host computes: the number of programs, and the conditions on arguments.

use super::{Fault, VerifyError};
use crate::ir::{Expression, Handle, Kernel, Symbol, Type};

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    if !(1..=3).contains(&kernel.grid.len()) {
        return Err(Fault::GridRank(kernel.grid.len()).at(kernel.span));
    }
    for (axis, &extent) in kernel.grid.iter().enumerate() {
        let found = kernel.ty(extent);
        if found != Type::INDEX {
            return Err(Fault::GridType { axis, found }.of(kernel, extent));
        }
        // A kernel whose grid is left to the host says so with its own extent.
        if kernel.expressions[extent] == Expression::Symbol(Symbol::NumPrograms(axis as u8)) {
            continue;
        }
        if let Some((handle, what)) = unknown_to_host(kernel, extent) {
            return Err(Fault::GridValue { axis, what }.of(kernel, handle));
        }
    }
    for requirement in &kernel.requirements {
        let found = kernel.ty(requirement.condition);
        if found != Type::CONDITION {
            return Err(Fault::RequirementType(found).at(requirement.span));
        }
        if let Some((_, what)) = unknown_to_host(kernel, requirement.condition) {
            return Err(Fault::RequirementValue(what).at(requirement.span));
        }
    }
    Ok(())
}

/// Of what `value` is made of, the last that the host does not know before a launch, and what that is.
pub(crate) fn unknown_to_host(
    kernel: &Kernel,
    value: Handle<Expression>,
) -> Option<(Handle<Expression>, &'static str)> {
    // Operands come earlier, so one walk downwards finds everything the value depends on.
    let mut needed = vec![false; value.index() + 1];
    needed[value.index()] = true;
    for (handle, expression) in kernel.expressions.iter().take(value.index() + 1).rev() {
        if !needed[handle.index()] {
            continue;
        }
        if let Some(what) = unknown(expression) {
            return Some((handle, what));
        }
        expression.for_each_operand(|operand| needed[operand.index()] = true);
    }
    None
}

fn unknown(expression: &Expression) -> Option<&'static str> {
    match expression {
        Expression::Literal(_)
        | Expression::Argument(_)
        | Expression::Symbol(Symbol::Extent { .. } | Symbol::Stride { .. } | Symbol::Count(_))
        | Expression::Unary { .. }
        | Expression::Binary { .. }
        | Expression::MulAdd { .. }
        | Expression::Compare { .. }
        | Expression::Select { .. }
        | Expression::MultipleOf { .. }
        | Expression::Cast { .. }
        | Expression::Bitcast { .. } => None,
        Expression::Symbol(Symbol::ProgramId(_)) => Some("the program's id"),
        Expression::Symbol(Symbol::NumPrograms(_)) => Some("the grid itself"),
        Expression::Induction(_) => Some("a loop's value"),
        Expression::Arange(_)
        | Expression::Broadcast { .. }
        | Expression::Reshape { .. }
        | Expression::Permute { .. }
        | Expression::Slice { .. }
        | Expression::Concatenate { .. }
        | Expression::Take { .. }
        | Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. } => Some("a tile"),
        Expression::Member { .. } => Some("the extent of one tensor of a list"),
        Expression::Ptx(_) => Some("instructions of a GPU"),
        Expression::Local(_) => Some("a variable"),
        Expression::Load(_) | Expression::Atomic(_) => Some("a value in memory"),
    }
}
