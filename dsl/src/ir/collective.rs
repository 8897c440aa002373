//! Operations in which the elements of an axis meet: what they combine with.

use std::fmt;

use super::{Arena, BinaryOp, Expression, Handle, Type};
use crate::element::ElementType;

/// How two elements become one. Associative, or the result is that of one particular order, which is documented with
/// [`Expression::Reduce`] and [`Expression::Scan`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Combine {
    /// By an operator.
    Operator(BinaryOp),
    /// By a function that the author wrote.
    Function(Function),
}

/// A function of two scalars of one type that gives a scalar of that type: a few operations in an arena of their own, in
/// which the operands are [`Expression::Argument`] 0 and 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// The type of the operands and of the result.
    pub element: ElementType,
    /// Literals, the two arguments, and element-wise operations on them; at most [`Function::MAX_EXPRESSIONS`].
    pub expressions: Arena<Expression>,
    /// The type of each expression; all are scalars.
    pub types: Vec<Type>,
    /// What the function gives.
    pub result: Handle<Expression>,
}

impl Function {
    /// How many operations a function has at most.
    pub const MAX_EXPRESSIONS: usize = 64;

    /// Whether a function may consist of this: everything that computes a scalar from scalars alone.
    pub fn allows(expression: &Expression) -> bool {
        match expression {
            Expression::Literal(_)
            | Expression::Argument(0 | 1)
            | Expression::Unary { .. }
            | Expression::Binary { .. }
            | Expression::MulAdd { .. }
            | Expression::Compare { .. }
            | Expression::Select { .. }
            | Expression::Cast { .. }
            | Expression::Bitcast { .. } => true,
            Expression::Argument(_)
            | Expression::Symbol(_)
            | Expression::Induction(_)
            | Expression::Arange(_)
            | Expression::Broadcast { .. }
            | Expression::Reshape { .. }
            | Expression::Permute { .. }
            | Expression::Slice { .. }
            | Expression::Concatenate { .. }
            | Expression::Take { .. }
            | Expression::Reduce { .. }
            | Expression::Scan { .. }
            | Expression::ArgSort { .. }
            | Expression::Histogram { .. }
            | Expression::Local(_)
            | Expression::MultipleOf { .. }
            | Expression::Member { .. }
            | Expression::Atomic(_)
            | Expression::Ptx(_)
            | Expression::Load(_) => false,
        }
    }
}

impl Combine {
    /// Whether elements of this type can be combined so.
    pub fn accepts(&self, element: ElementType) -> bool {
        match self {
            Self::Operator(op) => op.is_associative() && op.accepts(element),
            Self::Function(function) => function.element == element,
        }
    }
}

impl BinaryOp {
    /// Whether the order of operations on three elements does not matter (for floats, rounding aside).
    pub const fn is_associative(self) -> bool {
        match self {
            Self::Add
            | Self::Multiply
            | Self::Min
            | Self::Max
            | Self::Minimum
            | Self::Maximum
            | Self::And
            | Self::Or
            | Self::Xor => true,
            Self::Subtract
            | Self::MultiplyHigh
            | Self::Divide
            | Self::Remainder
            | Self::Power
            | Self::ShiftLeft
            | Self::ShiftRight => false,
        }
    }
}

/// What a reduction leaves of an axis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// All elements combined.
    Combine(Combine),
    /// The index of the smallest element, the first of several; numbers before NaN.
    ArgMin,
    /// The index of the largest element, the first of several; numbers before NaN.
    ArgMax,
}

impl Reduction {
    /// Whether elements of this type may be combined in any order: it comes to the same.
    pub(crate) fn takes_any_order(&self, element: ElementType) -> bool {
        match self {
            Self::Combine(Combine::Operator(op)) => {
                !element.is_float() || !matches!(op, BinaryOp::Add | BinaryOp::Multiply)
            }
            Self::Combine(Combine::Function(_)) => false,
            Self::ArgMin | Self::ArgMax => true,
        }
    }
}

impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(op) => f.write_str(op.name()),
            Self::Function(function) => function.fmt(f),
        }
    }
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combine(combine) => combine.fmt(f),
            Self::ArgMin => f.write_str("argmin"),
            Self::ArgMax => f.write_str("argmax"),
        }
    }
}

/// Every operation in order, fully spelt out: equal functions have equal texts.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a, b) { ")?;
        for (handle, expression) in self.expressions.iter() {
            write!(f, "{}: ", handle.index())?;
            match expression {
                Expression::Literal(literal) => write!(f, "{literal}")?,
                Expression::Argument(0) => f.write_str("a")?,
                Expression::Argument(1) => f.write_str("b")?,
                Expression::Unary { op, .. } => f.write_str(op.name())?,
                Expression::Binary { op, .. } => f.write_str(op.name())?,
                Expression::MulAdd { .. } => f.write_str("fma")?,
                Expression::Compare { op, .. } => f.write_str(op.name())?,
                Expression::Select { .. } => f.write_str("select")?,
                Expression::Cast { to, .. } => write!(f, "cast {to}")?,
                Expression::Bitcast { to, .. } => write!(f, "bitcast {to}")?,
                _ => f.write_str("?")?,
            }
            let mut result = Ok(());
            expression.for_each_operand(|operand| {
                if result.is_ok() {
                    result = write!(f, " {}", operand.index());
                }
            });
            result?;
            f.write_str("; ")?;
        }
        write!(f, "{} }}", self.result.index())
    }
}
