//! Conversions between element types. Each rounds at most once, directly from the source value.
//!
//! Everything narrower than f32 is reached through an f32 that was rounded *to odd*: toward zero, with the last bit set if
//! anything was lost. At least two bits longer than any narrower float, it tells the one rounding that follows all that
//! this needs to know.

use half::{bf16, f16};

use crate::element::{ElementKind, ElementType};
use crate::ir::Literal;

/// `value` converted to the type `to`.
///
/// * To integers, floats are rounded toward zero and saturate, and NaN becomes 0; integers wrap. As Rust's `as` does.
/// * To floats, values are rounded to nearest even, once, whatever the source; NaN becomes the canonical one.
/// * To [`ElementType::F8E4M3`] and [`ElementType::F8E5M2`] they saturate besides: what is beyond the largest value, 448
///   and 57344, infinities included, becomes that value.
/// * To bool: whether it differs from zero, as NaN does.
/// * To its own type: itself, with all its bits.
pub fn cast(value: Literal, to: ElementType) -> Option<Literal> {
    if value.element == to {
        return Some(value);
    }
    let integer = value.as_integer();
    Some(match to.kind() {
        ElementKind::Bool => Literal::new(match integer {
            Some(v) => v != 0,
            None => to_f64(value)? != 0.0,
        }),
        ElementKind::Signed | ElementKind::Unsigned => match integer {
            Some(v) => Literal::wrap(to, v),
            // A saturating cast to i128, then to the target's range: NaN is 0 on the way.
            None => {
                let (low, high) = to.integer_range()?;
                Literal::wrap(to, (to_f64(value)? as i128).clamp(low, high))
            }
        },
        ElementKind::Float | ElementKind::Storage => match (to, integer) {
            (ElementType::F64, Some(v)) => Literal::new(v as f64),
            (ElementType::F64, None) => canonical_f64(to_f64(value)?),
            (ElementType::F32, Some(v)) => Literal::new(v as f32),
            (ElementType::F32, None) if value.element == ElementType::F64 => from_f32(to, to_f64(value)? as f32),
            (_, Some(v)) => from_f32(to, integer_to_odd(v)),
            (_, None) if value.element == ElementType::F64 => from_f32(to, f64_to_odd(to_f64(value)?)),
            (_, None) => from_f32(to, to_f32(value)?),
        },
    })
}

/// The bits of `value` as the type `to`; `None` if the sizes differ or one of the types is bool, which has only two of a
/// byte's values.
pub fn bitcast(value: Literal, to: ElementType) -> Option<Literal> {
    let bool = value.element == ElementType::Bool || to == ElementType::Bool;
    (!bool && value.element.size() == to.size()).then_some(Literal {
        element: to,
        bits: value.bits,
    })
}

/// The exact value of a float of at most 32 bits.
pub fn to_f32(value: Literal) -> Option<f32> {
    Some(match value.element {
        ElementType::F32 => f32::from_bits(value.bits as u32),
        ElementType::F16 => f16::from_bits(value.bits as u16).to_f32(),
        ElementType::BF16 => bf16::from_bits(value.bits as u16).to_f32(),
        ElementType::F8E4M3 => e4m3_to_f32(value.bits as u8),
        // The upper byte of an f16.
        ElementType::F8E5M2 => f16::from_bits((value.bits as u16) << 8).to_f32(),
        _ => return None,
    })
}

/// `value` rounded to nearest even to a float, as [`cast`] does it; NaN becomes the canonical one.
pub fn from_f32(element: ElementType, value: f32) -> Literal {
    let bits = match element {
        _ if value.is_nan() => (1 << (element.bits() - 1)) - 1,
        ElementType::F16 => f16::from_f32(value).to_bits() as u64,
        ElementType::BF16 => bf16::from_f32(value).to_bits() as u64,
        ElementType::F8E4M3 => to_f8::<3>(value) as u64,
        ElementType::F8E5M2 => to_f8::<2>(value) as u64,
        ElementType::F64 => f64::from(value).to_bits(),
        _ => value.to_bits() as u64,
    };
    Literal { element, bits }
}

pub(super) fn to_f64(value: Literal) -> Option<f64> {
    match value.element {
        ElementType::F64 => Some(f64::from_bits(value.bits)),
        _ => to_f32(value).map(f64::from),
    }
}

pub(super) fn canonical_f64(value: f64) -> Literal {
    if value.is_nan() {
        Literal {
            element: ElementType::F64,
            bits: 0x7fff_ffff_ffff_ffff,
        }
    } else {
        Literal::new(value)
    }
}

/// An f16 has the same exponents and more, displaced by 8.
fn e4m3_to_f32(bits: u8) -> f32 {
    let magnitude = bits & 0x7f;
    if magnitude == 0x7f {
        return f32::NAN;
    }
    f16::from_bits((((bits & 0x80) as u16) << 8) | ((magnitude as u16) << 7)).to_f32() * 256.0
}

/// `value`, which is not NaN, as an 8-bit float with `MANTISSA` bits after the point.
fn to_f8<const MANTISSA: u32>(value: f32) -> u8 {
    let bias = (1 << (6 - MANTISSA)) - 1;
    let largest: f32 = if MANTISSA == 3 { 448.0 } else { 57344.0 };
    let magnitude = value.abs().min(largest);
    let smallest_normal = (128 - bias) << 23;
    let bits = if magnitude.to_bits() >= smallest_normal {
        // Rounded where the mantissa ends, with a carry into the exponent, whose bias is then exchanged.
        let cut = 23 - MANTISSA;
        let bits = magnitude.to_bits();
        ((bits + (1 << (cut - 1)) - 1 + ((bits >> cut) & 1)) >> cut) - ((127 - bias) << MANTISSA)
    } else {
        // Added to a number whose last place is the smallest subnormal, which rounds.
        let anchor = f32::from_bits((127 + 23 - (bias - 1) - MANTISSA) << 23);
        (magnitude + anchor).to_bits() - anchor.to_bits()
    };
    bits as u8 | ((value.is_sign_negative() as u8) << 7)
}

/// `value` rounded to odd.
fn f64_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    to_odd(
        nearest,
        f64::from(nearest).abs() > value.abs(),
        f64::from(nearest) != value,
    )
}

/// `value`, which is no larger than an i64 or u64, rounded to odd.
fn integer_to_odd(value: i128) -> f32 {
    let nearest = value as f32;
    to_odd(nearest, (nearest as i128).abs() > value.abs(), nearest as i128 != value)
}

fn to_odd(nearest: f32, is_above: bool, is_inexact: bool) -> f32 {
    if nearest.is_nan() || !is_inexact {
        return nearest;
    }
    // One below in magnitude is one less in bits.
    f32::from_bits((nearest.to_bits() - u32::from(is_above)) | 1)
}
