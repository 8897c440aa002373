//! What a thread holds: values, registers and variables, and how they are mentioned.

use std::fmt;

use super::{Facts, Index, Predicate};
use crate::element::ElementType;
use crate::ir::{Handle, Literal};

/// The most lanes of a packet.
pub const MAX_LANES: u8 = 32;

/// The type of a value or register: one element, or a *packet* of several that lie side by side.
///
/// An operation on packets does each lane. Bytes of a packet are those of its lanes, one after the other; a packet of
/// bool has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type {
    /// The type of each lane.
    pub element: ElementType,
    /// How many there are: 1 to [`MAX_LANES`].
    pub lanes: u8,
}

/// Something that is computed once, where a statement defines it, and known from there to the end of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    /// Its type.
    pub ty: Type,
    /// What is known of it beside its type, if it is an integer of one lane: proved, or claimed by the author.
    pub facts: Option<Facts>,
    /// Whether it is f32 of which each lane is proved to be from 0 to 1, or NaN.
    pub is_fraction: bool,
}

impl Value {
    /// A value of which nothing is known beside its type.
    pub const fn of(ty: Type) -> Self {
        Self {
            ty,
            facts: None,
            is_fraction: false,
        }
    }
}

/// The only thing of a thread's own that changes: set by [`Assign`](super::Statement::Assign), and read by
/// [`Read`](super::Operation::Read). It holds nothing until it is set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Register {
    /// What it is called in texts, beside its number.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// An index with a name: the value of a loop, or what [`Name`](super::Statement::Name) computes ahead of its uses. It
/// is 64 bits wide, or 32 if its facts say that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variable {
    /// What is known of it.
    pub facts: Facts,
}

/// A value as an operation or statement mentions it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// A value that is in scope.
    Value(Handle<Value>),
    /// A constant of one lane.
    Literal(Literal),
    /// An index, as an i64 of one lane.
    Index(Handle<Index>),
    /// A condition, as a bool of one lane.
    Predicate(Handle<Predicate>),
}

impl Type {
    /// One element.
    pub const fn scalar(element: ElementType) -> Self {
        Self { element, lanes: 1 }
    }

    /// So many elements side by side.
    pub const fn packet(element: ElementType, lanes: u8) -> Self {
        Self { element, lanes }
    }

    /// An index.
    pub const INDEX: Type = Type::scalar(ElementType::I64);

    /// A condition.
    pub const CONDITION: Type = Type::scalar(ElementType::Bool);

    /// Bytes of all lanes.
    pub const fn bytes(self) -> u32 {
        self.element.size() as u32 * self.lanes as u32
    }

    /// The same number of lanes of another type.
    pub const fn with_element(self, element: ElementType) -> Self {
        Self { element, ..self }
    }

    /// Another number of lanes.
    pub const fn with_lanes(self, lanes: u8) -> Self {
        Self { lanes, ..self }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            1 => write!(f, "{}", self.element),
            lanes => write!(f, "{}x{lanes}", self.element),
        }
    }
}

impl From<Handle<Value>> for Use {
    fn from(value: Handle<Value>) -> Self {
        Self::Value(value)
    }
}

impl From<Literal> for Use {
    fn from(literal: Literal) -> Self {
        Self::Literal(literal)
    }
}

impl From<Handle<Index>> for Use {
    fn from(index: Handle<Index>) -> Self {
        Self::Index(index)
    }
}

impl From<Handle<Predicate>> for Use {
    fn from(condition: Handle<Predicate>) -> Self {
        Self::Predicate(condition)
    }
}
