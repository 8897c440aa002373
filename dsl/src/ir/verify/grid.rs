//! The number of programs.

use super::{Fault, VerifyError};
use crate::ir::{Expression, Kernel, Symbol, Type};

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
        // Operands come earlier, so one walk downwards finds everything the extent depends on.
        let mut needed = vec![false; extent.index() + 1];
        needed[extent.index()] = true;
        for (handle, expression) in kernel.expressions.iter().take(extent.index() + 1).rev() {
            if !needed[handle.index()] {
                continue;
            }
            if let Some(what) = unknown_to_host(expression) {
                return Err(Fault::GridValue { axis, what }.of(kernel, handle));
            }
            expression.for_each_operand(|operand| needed[operand.index()] = true);
        }
    }
    Ok(())
}

fn unknown_to_host(expression: &Expression) -> Option<&'static str> {
    match expression {
        Expression::Literal(_)
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
        Expression::Argument(_) => Some("a scalar argument"),
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
