//! Constant scalars.

use std::fmt;

use crate::element::{Element, ElementType};

/// A constant of some element type, as raw bits, so that equality and hashing are exact (NaN payloads included).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Literal {
    /// The type of the constant.
    pub element: ElementType,
    /// The bits, zero-extended to 64.
    pub bits: u64,
}

impl Literal {
    /// The constant `value`.
    pub fn new<T: Element>(value: T) -> Self {
        Self {
            element: T::TYPE,
            bits: value.to_bits64(),
        }
    }

    /// An index, an extent, a count.
    pub fn index(value: i64) -> Self {
        Self::new(value)
    }

    /// Zero (`false`, +0.0) of `element`.
    pub fn zero(element: ElementType) -> Self {
        Self { element, bits: 0 }
    }

    /// The integer of type `element` that is congruent to `value` modulo two to its bit width.
    pub fn wrap(element: ElementType, value: i128) -> Self {
        let bits = value as u128 as u64;
        Self {
            element,
            bits: if element.bits() == 64 {
                bits
            } else {
                bits & ((1 << element.bits()) - 1)
            },
        }
    }

    /// The value of an integer or bool constant; `None` for floats.
    pub fn as_integer(self) -> Option<i128> {
        let shift = 64 - self.element.bits();
        if self.element == ElementType::Bool {
            Some(self.as_bool() as i128)
        } else if self.element.is_signed() {
            Some((((self.bits << shift) as i64) >> shift) as i128)
        } else if self.element.is_integer() {
            Some(self.bits as i128)
        } else {
            None
        }
    }

    /// Whether a bool constant is true (an integer: non-zero).
    pub fn as_bool(self) -> bool {
        self.bits != 0
    }

    /// The constant as the Rust type `T`, if that is its type.
    pub fn get<T: Element>(self) -> Option<T> {
        (T::TYPE == self.element).then(|| T::from_bits64(self.bits))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.element, self.as_integer()) {
            (ElementType::Bool, _) => write!(f, "{}", self.as_bool()),
            (element, Some(value)) => write!(f, "{value}{element}"),
            (element, None) => write!(f, "{element}(0x{:0width$x})", self.bits, width = element.size() * 2),
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
