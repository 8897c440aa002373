//! Each meaning against one that was found another way.

mod conversions;
mod functions;
mod operators;
mod reference;

use crate::element::{ElementKind, ElementType};
use crate::ir::Literal;

/// Every value of a type of at most 16 bits; of wider ones a few thousand bit patterns where rounding, carries and
/// special values are.
pub(crate) fn values(element: ElementType) -> Vec<Literal> {
    let literal = |bits| Literal { element, bits };
    match element.bits() {
        _ if element == ElementType::Bool => vec![literal(0), literal(1)],
        bits @ (8 | 16) => (0..1 << bits).map(literal).collect(),
        bits => {
            let all = u64::MAX >> (64 - bits);
            // Each power of two, so also each exponent's beginning, with what is around it and half way to the next.
            let powers = (0..bits).flat_map(|k| (0..bits).map(move |j| (1u64 << k) | (1u64 << j)));
            let exponents = match element {
                ElementType::F32 => (0..256).map(|e| e << 23).collect(),
                ElementType::F64 => (0..2048).step_by(3).chain(850..1200).map(|e| e << 52).collect(),
                _ => Vec::new(),
            };
            let halves = exponents.into_iter().flat_map(|e: u64| {
                let mantissa = if bits == 32 { 23 } else { 52 };
                [0, 1, 2, 3, 7, 8, 10, 11, 12]
                    .map(|cut| e | (1u64 << (mantissa - cut)) | (0b11 << (mantissa - cut + 1)))
            });
            let mixed = (1..500u64).map(|i| {
                let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed ^ (mixed >> 29)
            });
            [0, all]
                .into_iter()
                .chain(powers)
                .chain(halves)
                .flat_map(|bits| [bits.wrapping_sub(1), bits, bits.wrapping_add(1)])
                .chain(mixed)
                .flat_map(|bits| [bits, !bits, bits ^ (1 << 63), bits ^ (1 << 31)])
                .map(|bits| literal(bits & all))
                .collect()
        }
    }
}

/// What a value is, exactly.
#[derive(Debug, Clone, Copy)]
enum Exact {
    Integer(i128),
    Float(f64),
}

impl Exact {
    fn of(value: Literal) -> Self {
        let bits = value.bits;
        match value.element.kind() {
            ElementKind::Bool | ElementKind::Signed | ElementKind::Unsigned => Self::Integer(match value.element {
                ElementType::I8 => (bits as i8).into(),
                ElementType::I16 => (bits as i16).into(),
                ElementType::I32 => (bits as i32).into(),
                ElementType::I64 => (bits as i64).into(),
                _ => bits.into(),
            }),
            ElementKind::Float | ElementKind::Storage => Self::Float(match value.element {
                ElementType::F64 => f64::from_bits(bits),
                ElementType::F32 => f32::from_bits(bits as u32).into(),
                ElementType::F16 => decoded(bits, 10, 15, true),
                ElementType::BF16 => decoded(bits, 7, 127, true),
                ElementType::F8E5M2 => decoded(bits, 2, 15, true) * if bits >> 7 == 1 { -1.0 } else { 1.0 },
                _ => decoded(bits, 3, 7, false) * if bits >> 7 == 1 { -1.0 } else { 1.0 },
            }),
        }
    }
}

/// The value of a float by its definition. 8-bit floats come without their sign.
fn decoded(bits: u64, mantissa: i32, bias: i32, has_infinities: bool) -> f64 {
    let exponent_bits = if mantissa >= 7 { 15 - mantissa } else { 7 - mantissa };
    let sign = if mantissa >= 7 && bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = ((bits >> mantissa) & ((1 << exponent_bits) - 1)) as i32;
    let fraction = (bits & ((1 << mantissa) - 1)) as f64 * 2f64.powi(-mantissa);
    let last = (1 << exponent_bits) - 1;
    if exponent == last && has_infinities {
        return if fraction == 0.0 {
            sign * f64::INFINITY
        } else {
            f64::NAN
        };
    }
    if exponent == last && fraction == 0.875 {
        return f64::NAN;
    }
    if exponent == 0 {
        sign * fraction * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + fraction) * 2f64.powi(exponent - bias)
    }
}
