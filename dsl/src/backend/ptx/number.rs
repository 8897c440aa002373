//! Numbers as they stand in a text, and names of types.

use crate::element::{ElementKind, ElementType};
use crate::ir::Literal;

/// The bits of a NaN that operations make, in an element of 4 or 8 bytes.
pub(super) const fn canonical_nan(element: ElementType) -> &'static str {
    match element {
        ElementType::F64 => "0x7fffffffffffffff",
        _ => "0x7fffffff",
    }
}

/// A number in an instruction on the literal's own type.
pub(super) fn immediate(literal: Literal) -> String {
    match literal.element {
        ElementType::F32 => format!("0f{:08X}", literal.bits as u32),
        ElementType::F64 => format!("0d{:016X}", literal.bits),
        _ => bits(literal),
    }
}

/// The bits of a number as registers hold it: integers of less than 32 bits are extended by their sign.
pub(super) fn bits(literal: Literal) -> String {
    match literal.as_integer() {
        Some(integer) if integer < 0 => integer.to_string(),
        _ if literal.element.is_float() && literal.element.size() >= 4 => {
            format!("0x{:0width$x}", literal.bits, width = literal.element.size() * 2)
        }
        _ => literal.bits.to_string(),
    }
}

/// The type that instructions on elements have: integers of less than 32 bits are in 32 bits.
pub(super) const fn arithmetic_type(element: ElementType) -> &'static str {
    match (element.kind(), element) {
        (_, ElementType::F32) => "f32",
        (_, ElementType::F64) => "f64",
        (_, ElementType::I64) => "s64",
        (_, ElementType::U64) => "u64",
        (ElementKind::Signed, _) => "s32",
        _ => "u32",
    }
}

/// The same, without a sign.
pub(super) const fn bit_type(element: ElementType) -> &'static str {
    match element.size() {
        8 => "b64",
        _ => "b32",
    }
}
