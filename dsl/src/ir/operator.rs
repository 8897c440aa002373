//! Operators: what they compute on an element, and on which element types they are defined.

use crate::element::ElementType;

/// Operations on one operand.
///
/// Floats of 16 bits are computed in f32 and rounded to nearest even. The functions from [`UnaryOp::Exp`] on are no
/// exactly rounded ones; [`crate::arithmetic::error_bound`] says how far off they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// Negation of signed integers (wrapping) and floats (the sign bit flips, for NaN too).
    Negate,
    /// Complement of every bit of an integer; logical not of bool.
    Not,
    /// Absolute value of signed integers (wrapping) and floats (the sign bit clears, for NaN too).
    Abs,
    /// How many bits of an integer are 1.
    CountOnes,
    /// How many bits of an integer above its highest 1 are 0; all of them for 0.
    LeadingZeros,
    /// How many bits of an integer below its lowest 1 are 0; all of them for 0.
    TrailingZeros,
    /// The largest integral float that is not larger.
    Floor,
    /// The smallest integral float that is not smaller.
    Ceil,
    /// The nearest integral float; of two that are equally near, the even one.
    Round,
    /// The integral part of a float.
    Trunc,
    /// The square root of a float, exactly rounded; NaN below zero.
    Sqrt,
    /// The quotient of 1 and the square root of a float, each exactly rounded.
    Rsqrt,
    /// e to the power of a float.
    Exp,
    /// 2 to the power of a float.
    Exp2,
    /// The natural logarithm of a float; NaN below zero.
    Ln,
    /// The logarithm of a float to base 2; NaN below zero.
    Log2,
    /// The sine of a float in radians, of any size; NaN of an infinity.
    Sin,
    /// The cosine of a float in radians, of any size; NaN of an infinity.
    Cos,
    /// The hyperbolic tangent of a float.
    Tanh,
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
    /// The high half of a product of twice the bits. Integers only.
    MultiplyHigh,
    /// Quotient; of integers rounded toward zero, and 0 where the divisor is 0; of floats exactly rounded.
    Divide,
    /// Remainder with the dividend's sign; 0 where an integer divisor is 0. Integers only.
    Remainder,
    /// The smaller; of floats, the number if one is NaN. -0 is smaller than +0.
    Min,
    /// The larger; of floats, the number if one is NaN. +0 is larger than -0.
    Max,
    /// The smaller, NaN if one is NaN. -0 is smaller than +0. Floats only.
    Minimum,
    /// The larger, NaN if one is NaN. +0 is larger than -0. Floats only.
    Maximum,
    /// The left operand to the power of the right one, as C's `pow` has it. Floats only, and not exactly rounded:
    /// [`crate::arithmetic::POWER_ERROR_BOUND`].
    Power,
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

impl UnaryOp {
    /// Every operation, in declaration order.
    pub const ALL: [UnaryOp; 19] = [
        Self::Negate,
        Self::Not,
        Self::Abs,
        Self::CountOnes,
        Self::LeadingZeros,
        Self::TrailingZeros,
        Self::Floor,
        Self::Ceil,
        Self::Round,
        Self::Trunc,
        Self::Sqrt,
        Self::Rsqrt,
        Self::Exp,
        Self::Exp2,
        Self::Ln,
        Self::Log2,
        Self::Sin,
        Self::Cos,
        Self::Tanh,
    ];

    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negate => "neg",
            Self::Not => "not",
            Self::Abs => "abs",
            Self::CountOnes => "popcount",
            Self::LeadingZeros => "clz",
            Self::TrailingZeros => "ctz",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Trunc => "trunc",
            Self::Sqrt => "sqrt",
            Self::Rsqrt => "rsqrt",
            Self::Exp => "exp",
            Self::Exp2 => "exp2",
            Self::Ln => "ln",
            Self::Log2 => "log2",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tanh => "tanh",
        }
    }

    /// Whether the operation is defined on `element`.
    pub const fn accepts(self, element: ElementType) -> bool {
        match self {
            Self::Negate | Self::Abs => element.is_signed() || element.is_float(),
            Self::Not => element.is_integer() || matches!(element, ElementType::Bool),
            Self::CountOnes | Self::LeadingZeros | Self::TrailingZeros => element.is_integer(),
            Self::Floor
            | Self::Ceil
            | Self::Round
            | Self::Trunc
            | Self::Sqrt
            | Self::Rsqrt
            | Self::Exp
            | Self::Exp2
            | Self::Ln
            | Self::Log2
            | Self::Sin
            | Self::Cos
            | Self::Tanh => element.is_float(),
        }
    }
}

impl BinaryOp {
    /// Every operation, in declaration order.
    pub const ALL: [BinaryOp; 16] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::MultiplyHigh,
        Self::Divide,
        Self::Remainder,
        Self::Min,
        Self::Max,
        Self::Minimum,
        Self::Maximum,
        Self::Power,
        Self::And,
        Self::Or,
        Self::Xor,
        Self::ShiftLeft,
        Self::ShiftRight,
    ];

    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "sub",
            Self::Multiply => "mul",
            Self::MultiplyHigh => "mulhi",
            Self::Divide => "div",
            Self::Remainder => "rem",
            Self::Min => "min",
            Self::Max => "max",
            Self::Minimum => "minimum",
            Self::Maximum => "maximum",
            Self::Power => "pow",
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
            Self::Minimum | Self::Maximum | Self::Power => element.is_float(),
            Self::MultiplyHigh | Self::Remainder | Self::ShiftLeft | Self::ShiftRight => element.is_integer(),
            Self::And | Self::Or | Self::Xor => element.is_integer() || matches!(element, ElementType::Bool),
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
