//! What one expression folds to.

use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Expression, Handle, Kernel, Literal, Type};

/// What takes the place of an expression.
pub(super) enum Folded {
    /// A value that is already there.
    Value(Handle<Expression>),
    /// A constant scalar.
    Literal(Literal),
    /// Another expression of the same type, to be folded in turn.
    Expression(Expression),
    /// The scalar expression that every element equals.
    Uniform(Expression),
}

/// Folds `node`, whose operands are folded values of `kernel`; `None` if it stays as it is.
pub(super) fn fold(kernel: &Kernel, node: &Expression, ty: Type) -> Option<Folded> {
    let literal = |value: Handle<Expression>| match kernel.expressions[value] {
        Expression::Literal(literal) => Some(literal),
        _ => None,
    };
    // A tile operation on values that are the same for every element is a scalar operation.
    if !ty.is_scalar()
        && let Some(scalar) = uniform(kernel, node)
    {
        return Some(Folded::Uniform(scalar));
    }
    match node {
        Expression::Broadcast { value, shape } => match &kernel.expressions[*value] {
            _ if kernel.ty(*value).shape == *shape => Some(Folded::Value(*value)),
            Expression::Broadcast { value, .. } if kernel.ty(*value).is_scalar() => {
                Some(Folded::Expression(Expression::Broadcast {
                    value: *value,
                    shape: *shape,
                }))
            }
            _ => None,
        },
        Expression::Reshape { value, shape } => match &kernel.expressions[*value] {
            _ if kernel.ty(*value).shape == *shape => Some(Folded::Value(*value)),
            Expression::Reshape { value, .. } => Some(Folded::Expression(Expression::Reshape {
                value: *value,
                shape: *shape,
            })),
            Expression::Broadcast { value, .. } if kernel.ty(*value).is_scalar() && shape.rank() > 0 => {
                Some(Folded::Expression(Expression::Broadcast {
                    value: *value,
                    shape: *shape,
                }))
            }
            _ => None,
        },
        Expression::Permute { value, axes } => {
            let same = axes.iter().copied().eq(0..axes.len() as u8);
            if same {
                Some(Folded::Value(*value))
            } else {
                repeated(kernel, *value, ty)
            }
        }
        Expression::Slice { value, start, step, .. } => {
            let same = *start == 0 && *step == 1 && kernel.ty(*value) == ty;
            if same {
                Some(Folded::Value(*value))
            } else {
                repeated(kernel, *value, ty)
            }
        }
        Expression::Take { value, .. } => repeated(kernel, *value, ty),
        Expression::Unary { op, value } => arithmetic::unary(*op, literal(*value)?).map(Folded::Literal),
        Expression::Binary { op, left, right } => match (literal(*left), literal(*right)) {
            (Some(l), Some(r)) => arithmetic::binary(*op, l, r).map(Folded::Literal),
            // The smaller of two NaNs is the canonical one, whichever they are.
            _ if left == right && matches!(op, BinaryOp::Min | BinaryOp::Max) && ty.element.is_integer() => {
                Some(Folded::Value(*left))
            }
            // On floats `x + 0` is not always `x`, nor is the smaller of a NaN and itself that NaN.
            _ if ty.element.is_float() => None,
            (l, r) => identity(*op, *left, l, *right, r),
        },
        Expression::MulAdd { left, right, addend } => {
            arithmetic::mul_add(literal(*left)?, literal(*right)?, literal(*addend)?).map(Folded::Literal)
        }
        Expression::Compare { op, left, right } => {
            let (l, r) = (literal(*left)?, literal(*right)?);
            arithmetic::compare(*op, l, r).map(|truth| Folded::Literal(Literal::new(truth)))
        }
        Expression::Select {
            condition,
            accept,
            reject,
        } => match literal(*condition) {
            Some(truth) => Some(Folded::Value(if truth.as_bool() { *accept } else { *reject })),
            None => (accept == reject).then_some(Folded::Value(*accept)),
        },
        Expression::Cast { value, to } => match literal(*value) {
            Some(constant) => arithmetic::cast(constant, *to).map(Folded::Literal),
            None => (kernel.ty(*value).element == *to).then_some(Folded::Value(*value)),
        },
        Expression::Bitcast { value, to } => match (literal(*value), &kernel.expressions[*value]) {
            (Some(constant), _) => arithmetic::bitcast(constant, *to).map(Folded::Literal),
            _ if kernel.ty(*value).element == *to => Some(Folded::Value(*value)),
            (None, Expression::Bitcast { value, .. }) => {
                Some(Folded::Expression(Expression::Bitcast { value: *value, to: *to }))
            }
            _ => None,
        },
        Expression::MultipleOf { value, .. } => literal(*value).map(|_| Folded::Value(*value)),
        Expression::Literal(_)
        | Expression::Symbol(_)
        | Expression::Member { .. }
        | Expression::Argument(_)
        | Expression::Induction(_)
        | Expression::Arange(_)
        | Expression::Concatenate { .. }
        | Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. }
        | Expression::Local(_)
        | Expression::Load(_)
        | Expression::Ptx(_)
        | Expression::Atomic(_) => None,
    }
}

/// A tile of type `ty` that repeats what `value` repeats, if that is one scalar.
fn repeated(kernel: &Kernel, value: Handle<Expression>, ty: Type) -> Option<Folded> {
    match kernel.expressions[value] {
        Expression::Broadcast { value, .. } if kernel.ty(value).is_scalar() => {
            Some(Folded::Expression(Expression::Broadcast { value, shape: ty.shape }))
        }
        _ => None,
    }
}

/// `node` on the scalars that its operands repeat, if all of them repeat one.
fn uniform(kernel: &Kernel, node: &Expression) -> Option<Expression> {
    if !node.is_elementwise() {
        return None;
    }
    let mut scalar = node.clone();
    let mut all = true;
    scalar.map_operands(|operand| match kernel.expressions[operand] {
        Expression::Broadcast { value, .. } if kernel.ty(value).is_scalar() => value,
        _ => {
            all = false;
            operand
        }
    });
    all.then_some(scalar)
}

/// `x + 0`, `x * 1`, `x & true` and the like, on integers and bool.
fn identity(
    op: BinaryOp,
    left: Handle<Expression>,
    l: Option<Literal>,
    right: Handle<Expression>,
    r: Option<Literal>,
) -> Option<Folded> {
    let all_ones = |value: Option<Literal>| {
        value.is_some_and(|v| match v.element.integer_range() {
            Some(_) => v.bits == u64::MAX >> (64 - v.element.bits()),
            None => v.element == ElementType::Bool && v.as_bool(),
        })
    };
    match op {
        BinaryOp::And if all_ones(r) => return Some(Folded::Value(left)),
        BinaryOp::And if all_ones(l) => return Some(Folded::Value(right)),
        _ => {}
    }
    let (l, r) = (l.and_then(Literal::as_integer), r.and_then(Literal::as_integer));
    let element = |value: Option<i128>, of: i128| value == Some(of);
    match op {
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor if element(r, 0) => Some(Folded::Value(left)),
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor if element(l, 0) => Some(Folded::Value(right)),
        BinaryOp::Subtract | BinaryOp::ShiftLeft | BinaryOp::ShiftRight if element(r, 0) => Some(Folded::Value(left)),
        BinaryOp::Multiply | BinaryOp::Divide if element(r, 1) => Some(Folded::Value(left)),
        BinaryOp::Multiply if element(l, 1) => Some(Folded::Value(right)),
        BinaryOp::Multiply | BinaryOp::And if element(r, 0) => Some(Folded::Value(right)),
        BinaryOp::Multiply | BinaryOp::And if element(l, 0) => Some(Folded::Value(left)),
        _ => None,
    }
}
