//! Registers.

use std::fmt;

/// What registers of PTX are told apart by. Registers of `.b32` take floats and integers alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// `.pred`: a bool.
    Predicate,
    /// `.b16`: only next to the instructions that want one.
    Half,
    /// `.b32`: elements of up to 4 bytes.
    Word,
    /// `.b64`: elements of 8 bytes, and addresses.
    Double,
}

impl Class {
    pub(super) const ALL: [Class; 4] = [Self::Predicate, Self::Half, Self::Word, Self::Double];

    pub(super) const fn ty(self) -> &'static str {
        match self {
            Self::Predicate => "pred",
            Self::Half => "b16",
            Self::Word => "b32",
            Self::Double => "b64",
        }
    }

    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Predicate => "%p",
            Self::Half => "%h",
            Self::Word => "%r",
            Self::Double => "%d",
        }
    }

    /// Bits of a number.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::Predicate => 1,
            Self::Half => 16,
            Self::Word => 32,
            Self::Double => 64,
        }
    }
}

/// One register, as it stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Reg {
    pub(super) class: Class,
    pub(super) number: u32,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.class.prefix(), self.number)
    }
}
