//! How two elements become one.

use super::{binary, evaluate};
use crate::ir::{Combine, Expression, Function, Literal};

/// `left` and `right` combined; `None` if the type does not have the operation.
pub fn combine(combine: &Combine, left: Literal, right: Literal) -> Option<Literal> {
    match combine {
        Combine::Operator(op) => binary(*op, left, right),
        Combine::Function(function) => apply(function, left, right),
    }
}

/// The function of `left` and `right`; `None` where an operation is not defined, which the verifier refuses.
fn apply(function: &Function, left: Literal, right: Literal) -> Option<Literal> {
    let mut values: Vec<Literal> = Vec::with_capacity(function.expressions.len());
    for (_, expression) in function.expressions.iter() {
        values.push(match expression {
            Expression::Argument(0) => left,
            Expression::Argument(1) => right,
            operation => evaluate(operation, |operand| values.get(operand.index()).copied())?,
        });
    }
    values.get(function.result.index()).copied()
}
