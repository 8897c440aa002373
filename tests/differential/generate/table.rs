//! The operations that random kernels are made of. A new operation of the language is a new row here, and a new [`Rule`]
//! where it is a new kind of expression.

use tilewright::dsl::element::{ElementKind, ElementType};
use tilewright::dsl::ir::{BinaryOp, CompareOp, Type, UnaryOp};

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
    Select,
    Cast,
    Broadcast,
    Reshape,
    Load,
}

const fn row(rule: Rule, weight: u32) -> Operation {
    Operation { rule, weight, ulps: 0 }
}

pub const OPERATIONS: [Operation; 26] = [
    row(Rule::Unary(UnaryOp::Negate), 2),
    row(Rule::Unary(UnaryOp::Not), 2),
    row(Rule::Unary(UnaryOp::Abs), 2),
    row(Rule::Binary(BinaryOp::Add), 4),
    row(Rule::Binary(BinaryOp::Subtract), 3),
    row(Rule::Binary(BinaryOp::Multiply), 3),
    row(Rule::Binary(BinaryOp::Divide), 2),
    row(Rule::Binary(BinaryOp::Remainder), 2),
    row(Rule::Binary(BinaryOp::Min), 2),
    row(Rule::Binary(BinaryOp::Max), 2),
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
    row(Rule::Select, 5),
    row(Rule::Cast, 6),
    row(Rule::Broadcast, 4),
    row(Rule::Reshape, 3),
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
            Self::Cast => element.kind() != ElementKind::Storage,
            Self::Broadcast => !ty.is_scalar(),
            Self::Select | Self::Reshape | Self::Load => true,
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
            Rule::Select => "select",
            Rule::Cast => "cast to f32",
            Rule::Broadcast => "broadcast",
            Rule::Reshape => "reshape",
            Rule::Load => "load zero",
        }
    }
}
