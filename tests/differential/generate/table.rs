//! The operations that random kernels are made of. A new operation of the language is a new row here, and a new [`Rule`]
//! where it is a new kind of expression.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{BinaryOp, CompareOp, MAX_RANK, Type, UnaryOp};

/// A way to make a value.
pub struct Operation {
    pub rule: Rule,
    /// How often it is chosen, relative to the others that give the wanted type.
    pub weight: u32,
    /// How many units in the last place its float results may differ between devices.
    pub ulps: u64,
}

/// What kind of expression an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Unary(UnaryOp),
    Binary(BinaryOp),
    Compare(CompareOp),
    MulAdd,
    Select,
    Cast,
    Bitcast,
    Broadcast,
    Reshape,
    Permute,
    Slice,
    Concatenate,
    Take,
    Reduce,
    ArgReduce,
    Scan,
    ArgSort,
    Histogram,
    MultipleOf,
    Ptx,
    Load,
}

const fn row(rule: Rule, weight: u32) -> Operation {
    Operation { rule, weight, ulps: 0 }
}

pub const OPERATIONS: [Operation; 59] = [
    row(Rule::Unary(UnaryOp::Negate), 2),
    row(Rule::Unary(UnaryOp::Not), 2),
    row(Rule::Unary(UnaryOp::Abs), 2),
    row(Rule::Unary(UnaryOp::CountOnes), 1),
    row(Rule::Unary(UnaryOp::LeadingZeros), 1),
    row(Rule::Unary(UnaryOp::TrailingZeros), 1),
    row(Rule::Unary(UnaryOp::Floor), 1),
    row(Rule::Unary(UnaryOp::Ceil), 1),
    row(Rule::Unary(UnaryOp::Round), 1),
    row(Rule::Unary(UnaryOp::Trunc), 1),
    row(Rule::Unary(UnaryOp::Sqrt), 1),
    row(Rule::Unary(UnaryOp::Rsqrt), 1),
    row(Rule::Unary(UnaryOp::Exp), 1),
    row(Rule::Unary(UnaryOp::Exp2), 1),
    row(Rule::Unary(UnaryOp::Ln), 1),
    row(Rule::Unary(UnaryOp::Log2), 1),
    row(Rule::Unary(UnaryOp::Sin), 1),
    row(Rule::Unary(UnaryOp::Cos), 1),
    row(Rule::Unary(UnaryOp::Tanh), 1),
    row(Rule::Binary(BinaryOp::Add), 4),
    row(Rule::Binary(BinaryOp::Subtract), 3),
    row(Rule::Binary(BinaryOp::Multiply), 3),
    row(Rule::Binary(BinaryOp::MultiplyHigh), 1),
    row(Rule::Binary(BinaryOp::Divide), 2),
    row(Rule::Binary(BinaryOp::Remainder), 2),
    row(Rule::Binary(BinaryOp::Min), 2),
    row(Rule::Binary(BinaryOp::Max), 2),
    row(Rule::Binary(BinaryOp::Minimum), 2),
    row(Rule::Binary(BinaryOp::Maximum), 2),
    row(Rule::Binary(BinaryOp::Power), 1),
    row(Rule::Binary(BinaryOp::And), 2),
    row(Rule::Binary(BinaryOp::Or), 2),
    row(Rule::Binary(BinaryOp::Xor), 2),
    row(Rule::Binary(BinaryOp::ShiftLeft), 1),
    row(Rule::Binary(BinaryOp::ShiftRight), 1),
    row(Rule::Compare(CompareOp::Equal), 2),
    row(Rule::Compare(CompareOp::NotEqual), 2),
    row(Rule::Compare(CompareOp::Less), 4),
    row(Rule::Compare(CompareOp::LessEqual), 2),
    row(Rule::Compare(CompareOp::Greater), 2),
    row(Rule::Compare(CompareOp::GreaterEqual), 2),
    row(Rule::MulAdd, 2),
    row(Rule::Select, 5),
    row(Rule::Cast, 6),
    row(Rule::Bitcast, 2),
    row(Rule::Broadcast, 4),
    row(Rule::Reshape, 3),
    row(Rule::Permute, 2),
    row(Rule::Slice, 2),
    row(Rule::Concatenate, 2),
    row(Rule::Take, 2),
    row(Rule::Reduce, 4),
    row(Rule::ArgReduce, 3),
    row(Rule::Scan, 2),
    row(Rule::ArgSort, 2),
    row(Rule::Histogram, 4),
    row(Rule::MultipleOf, 2),
    row(Rule::Ptx, 1),
    row(Rule::Load, 12),
];

impl Rule {
    /// Whether the operation can give a value of this type. Shapes and tensors to read may still be missing.
    pub fn gives(self, ty: Type) -> bool {
        let element = ty.element;
        match self {
            Self::Unary(op) => op.accepts(element),
            Self::Binary(op) => op.accepts(element),
            Self::Compare(_) => element == ElementType::Bool,
            Self::MulAdd => element.is_float(),
            Self::Bitcast => element != ElementType::Bool,
            Self::Broadcast | Self::Slice | Self::Concatenate | Self::Take => !ty.is_scalar(),
            Self::Permute => ty.shape.rank() > 1,
            Self::Reduce => ty.shape.rank() < MAX_RANK,
            Self::ArgReduce => element == ElementType::I64 && ty.shape.rank() < MAX_RANK,
            Self::Scan => !ty.is_scalar(),
            Self::ArgSort => element == ElementType::I64 && !ty.is_scalar(),
            Self::Histogram => element == ElementType::I32 && ty.shape.rank() == 1,
            Self::MultipleOf => element.is_integer(),
            Self::Ptx => element.is_integer() && element.size() > 1,
            Self::Cast | Self::Select | Self::Reshape | Self::Load => true,
        }
    }
}

impl Operation {
    /// The name by which the operation is counted.
    pub fn name(&self) -> &'static str {
        match self.rule {
            Rule::Unary(op) => op.name(),
            Rule::Binary(op) => op.name(),
            Rule::Compare(op) => op.name(),
            Rule::MulAdd => "fma",
            Rule::Select => "select",
            Rule::Bitcast => "bitcast",
            Rule::Permute => "permute",
            Rule::Slice => "slice",
            Rule::Concatenate => "concatenate",
            Rule::Take => "take",
            Rule::Reduce => "reduce",
            Rule::ArgReduce => "reduce argmax",
            Rule::Scan => "scan",
            Rule::ArgSort => "argsort",
            Rule::Histogram => "histogram",
            Rule::MultipleOf => "multiple of",
            Rule::Ptx => "ptx",
            Rule::Cast => "cast to f32",
            Rule::Broadcast => "broadcast",
            Rule::Reshape => "reshape",
            Rule::Load => "load zero",
        }
    }
}
