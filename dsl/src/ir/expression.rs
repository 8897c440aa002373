//! Values: what an expression is and which type each kind has.

use std::fmt;

use arrayvec::ArrayVec;

use super::{Handle, Literal, Local, Shape};
use crate::element::ElementType;

/// A value of a kernel. The typing rule of each kind is the last sentence of its description.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A constant. A scalar of the literal's type.
    Literal(Literal),
    /// An integer fixed for the launch, or for the program. A scalar i64.
    Symbol(Symbol),
    /// The scalar parameter at this position. A scalar of the parameter's type.
    Argument(u32),
    /// The value of the loop whose induction value this is. A scalar integer: the type of the loop's bounds.
    Induction(ElementType),
    /// `0, 1, …, extent - 1`. i64 of shape `[extent]`.
    Arange(u32),
    /// `value` stretched to `shape`. The element type of `value`; its shape must broadcast to exactly `shape`.
    Broadcast {
        /// A scalar or tile.
        value: Handle<Expression>,
        /// The shape to stretch to.
        shape: Shape,
    },
    /// The elements of `value` in the same row-major order under another shape. Equal element counts.
    Reshape {
        /// A tile or scalar.
        value: Handle<Expression>,
        /// The new shape.
        shape: Shape,
    },
    /// An operation on each element. See [`UnaryOp`]; the type of `value`.
    Unary {
        /// What to compute.
        op: UnaryOp,
        /// The operand.
        value: Handle<Expression>,
    },
    /// An operation on each pair of elements. Both operands have one type, which is the result's.
    Binary {
        /// What to compute.
        op: BinaryOp,
        /// The left operand.
        left: Handle<Expression>,
        /// The right operand.
        right: Handle<Expression>,
    },
    /// A comparison of each pair of elements. Both operands have one type; bool of that shape.
    Compare {
        /// What to test.
        op: CompareOp,
        /// The left operand.
        left: Handle<Expression>,
        /// The right operand.
        right: Handle<Expression>,
    },
    /// `accept` where `condition` holds, `reject` elsewhere. `condition` is bool of the operands' shape; the operands
    /// have one type, which is the result's.
    Select {
        /// Which operand to take.
        condition: Handle<Expression>,
        /// Taken where the condition is true.
        accept: Handle<Expression>,
        /// Taken where the condition is false.
        reject: Handle<Expression>,
    },
    /// Each element converted as Rust's `as` does it (floats to integers saturate, NaN becomes 0; to narrower floats
    /// round to nearest even); to bool: whether it differs from zero. The shape of `value`.
    Cast {
        /// The operand.
        value: Handle<Expression>,
        /// The element type to convert to.
        to: ElementType,
    },
    /// The present value of a local. The local's type.
    Local(Handle<Local>),
    /// Elements read from a tensor. The tensor's element type; the shape its indices share.
    Load(Access),
}

/// An integer that is known to the host at launch, or to a program at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// This program's coordinate on a grid axis.
    ProgramId(u8),
    /// The grid's extent on an axis.
    NumPrograms(u8),
    /// The extent of the tensor parameter `tensor` on `axis`.
    Extent {
        /// Position of the tensor among the parameters.
        tensor: u32,
        /// The axis, outermost first.
        axis: u8,
    },
    /// The distance, in elements, between neighbours on `axis` of the tensor parameter `tensor`.
    Stride {
        /// Position of the tensor among the parameters.
        tensor: u32,
        /// The axis, outermost first.
        axis: u8,
    },
    /// The count parameter at this position.
    Count(u32),
}

/// Operations on one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// Negation of signed integers (wrapping) and floats (the sign bit flips, for NaN too).
    Negate,
    /// Complement of every bit of an integer; logical not of bool.
    Not,
    /// Absolute value of signed integers (wrapping) and floats (the sign bit clears, for NaN too).
    Abs,
}

/// Operations on two operands of one type. Integers wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient; of integers rounded toward zero, and 0 where the divisor is 0.
    Divide,
    /// Remainder with the dividend's sign; 0 where an integer divisor is 0. Integers only.
    Remainder,
    /// The smaller; of floats, the other one if one is NaN.
    Min,
    /// The larger; of floats, the other one if one is NaN.
    Max,
    /// Bitwise and; integers and bool.
    And,
    /// Bitwise or; integers and bool.
    Or,
    /// Bitwise exclusive or; integers and bool.
    Xor,
    /// Shift toward the high bits by the right operand modulo the bit width. Integers only.
    ShiftLeft,
    /// Shift toward the low bits by the right operand modulo the bit width; signed types keep their sign. Integers only.
    ShiftRight,
}

/// Comparisons. Comparing with NaN is false, except for [`CompareOp::NotEqual`], which is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

/// Where a load reads or a store writes: one index per axis of the tensor.
///
/// Each index is an integer scalar or tile; they broadcast to one shape, the shape of the access. Element `e` of the
/// access is the tensor's element at the indices' values at `e`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// Position of the tensor among the parameters.
    pub tensor: u32,
    /// One index per axis.
    pub indices: ArrayVec<Handle<Expression>, 4>,
    /// What happens to an index outside its axis.
    pub bounds: Bounds,
    /// Which checks are still needed on each axis. Recorded as all; removed where proved.
    pub guards: ArrayVec<Guard, 4>,
    /// A bool of the access's shape; where it is false, a load reads zero and a store writes nothing.
    pub mask: Option<Handle<Expression>>,
}

/// What an access does with an index that is outside its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Bounds {
    /// A load reads zero, a store writes nothing.
    #[default]
    ReadZeroSkipWrite,
    /// The index becomes the nearest valid one. On an axis of extent 0 a load reads zero and a store writes nothing.
    Clamp,
    /// As [`Bounds::ReadZeroSkipWrite`], and the launch reports the access as an error. A load whose value nothing needs
    /// may be left out, and then is not reported.
    Trap,
    /// The author has promised, in an `unsafe` block, that it does not happen.
    Unchecked,
}

/// Which sides of an axis an index may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The index may be negative.
    pub lower: bool,
    /// The index may reach or exceed the extent.
    pub upper: bool,
}

impl Guard {
    /// Both sides are to be checked.
    pub const FULL: Guard = Guard {
        lower: true,
        upper: true,
    };
    /// Nothing is to be checked.
    pub const NONE: Guard = Guard {
        lower: false,
        upper: false,
    };

    /// Whether anything is to be checked.
    pub fn any(self) -> bool {
        self.lower || self.upper
    }
}

impl Access {
    /// The indices and the mask.
    pub fn operands(&self) -> impl Iterator<Item = Handle<Expression>> + '_ {
        self.indices.iter().copied().chain(self.mask)
    }

    /// Replaces every index and the mask by what `map` gives for it.
    pub fn map_operands(&mut self, map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        let mut map = map;
        self.indices.iter_mut().chain(&mut self.mask).for_each(|i| *i = map(*i));
    }

    /// Whether any axis is still to be checked.
    pub fn is_guarded(&self) -> bool {
        self.guards.iter().any(|g| g.any())
    }
}

impl Expression {
    /// Calls `visit` with every expression this one refers to, in order.
    pub fn for_each_operand(&self, mut visit: impl FnMut(Handle<Expression>)) {
        match self {
            Self::Literal(_)
            | Self::Symbol(_)
            | Self::Argument(_)
            | Self::Induction(_)
            | Self::Arange(_)
            | Self::Local(_) => {}
            Self::Broadcast { value, .. }
            | Self::Reshape { value, .. }
            | Self::Unary { value, .. }
            | Self::Cast { value, .. } => visit(*value),
            Self::Binary { left, right, .. } | Self::Compare { left, right, .. } => {
                visit(*left);
                visit(*right);
            }
            Self::Select {
                condition,
                accept,
                reject,
            } => {
                visit(*condition);
                visit(*accept);
                visit(*reject);
            }
            Self::Load(access) => access.operands().for_each(visit),
        }
    }

    /// Replaces every expression this one refers to by what `map` gives for it.
    pub fn map_operands(&mut self, mut map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        match self {
            Self::Literal(_)
            | Self::Symbol(_)
            | Self::Argument(_)
            | Self::Induction(_)
            | Self::Arange(_)
            | Self::Local(_) => {}
            Self::Broadcast { value, .. }
            | Self::Reshape { value, .. }
            | Self::Unary { value, .. }
            | Self::Cast { value, .. } => *value = map(*value),
            Self::Binary { left, right, .. } | Self::Compare { left, right, .. } => {
                *left = map(*left);
                *right = map(*right);
            }
            Self::Select {
                condition,
                accept,
                reject,
            } => {
                *condition = map(*condition);
                *accept = map(*accept);
                *reject = map(*reject);
            }
            Self::Load(access) => access.map_operands(map),
        }
    }

    /// Whether the value is in scope everywhere without a [`super::Statement::Let`].
    pub fn is_global(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::Symbol(_) | Self::Argument(_))
    }
}

impl UnaryOp {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negate => "neg",
            Self::Not => "not",
            Self::Abs => "abs",
        }
    }
}

impl BinaryOp {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "sub",
            Self::Multiply => "mul",
            Self::Divide => "div",
            Self::Remainder => "rem",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::ShiftLeft => "shl",
            Self::ShiftRight => "shr",
        }
    }

    /// Whether the operation is defined on `element`.
    pub const fn accepts(self, element: ElementType) -> bool {
        match self {
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Min | Self::Max => {
                element.is_integer() || element.is_float()
            }
            Self::Remainder | Self::ShiftLeft | Self::ShiftRight => element.is_integer(),
            Self::And | Self::Or | Self::Xor => element.is_integer() || matches!(element, ElementType::Bool),
        }
    }
}

impl UnaryOp {
    /// Whether the operation is defined on `element`.
    pub const fn accepts(self, element: ElementType) -> bool {
        match self {
            Self::Negate | Self::Abs => element.is_signed() || element.is_float(),
            Self::Not => element.is_integer() || matches!(element, ElementType::Bool),
        }
    }
}

impl CompareOp {
    /// The operator as Rust and C++ write it.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }

    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::NotEqual => "ne",
            Self::Less => "lt",
            Self::LessEqual => "le",
            Self::Greater => "gt",
            Self::GreaterEqual => "ge",
        }
    }

    /// The comparison that holds exactly when this one does not (NaN aside).
    pub const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterEqual,
            Self::LessEqual => Self::Greater,
            Self::Greater => Self::LessEqual,
            Self::GreaterEqual => Self::Less,
        }
    }

    /// Whether the comparison is defined on `element`: ordering needs a number, equality anything computable.
    pub const fn accepts(self, element: ElementType) -> bool {
        match self {
            Self::Equal | Self::NotEqual => {
                element.is_integer() || element.is_float() || matches!(element, ElementType::Bool)
            }
            _ => element.is_integer() || element.is_float(),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadZeroSkipWrite => "zero",
            Self::Clamp => "clamp",
            Self::Trap => "trap",
            Self::Unchecked => "unchecked",
        })
    }
}
