//! What each operation computes on one element: the meaning that folding, the CPU device and generated code share.
//!
//! Integers wrap. Division and remainder by zero give 0. f16 and bf16 are computed in f32 and rounded to nearest even.
//! Every NaN that arithmetic produces is the canonical one (0x7fff for 16 bits, 0x7fffffff, 0x7fffffffffffffff), as on
//! the GPU; negation and absolute value only touch the sign bit.

use half::{bf16, f16};

use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Literal, UnaryOp};

/// `op` on one element; `None` if the type does not have the operation.
pub fn unary(op: UnaryOp, value: Literal) -> Option<Literal> {
    let element = value.element;
    if !op.accepts(element) {
        return None;
    }
    let sign = 1u64 << (element.bits() - 1);
    Some(match (op, element.kind()) {
        (UnaryOp::Negate, ElementKind::Float) => Literal {
            element,
            bits: value.bits ^ sign,
        },
        (UnaryOp::Abs, ElementKind::Float) => Literal {
            element,
            bits: value.bits & !sign,
        },
        (UnaryOp::Negate, _) => Literal::wrap(element, -value.as_integer()?),
        (UnaryOp::Abs, _) => Literal::wrap(element, value.as_integer()?.abs()),
        (UnaryOp::Not, ElementKind::Bool) => Literal {
            element,
            bits: !value.as_bool() as u64,
        },
        (UnaryOp::Not, _) => Literal::wrap(element, !value.as_integer()?),
    })
}

/// `op` on two elements of one type; `None` if the types differ or do not have the operation.
pub fn binary(op: BinaryOp, left: Literal, right: Literal) -> Option<Literal> {
    let element = left.element;
    if element != right.element || !op.accepts(element) {
        return None;
    }
    match element.kind() {
        ElementKind::Float => float_binary(op, left, right),
        ElementKind::Bool | ElementKind::Signed | ElementKind::Unsigned => integer_binary(op, left, right),
        ElementKind::Storage => None,
    }
}

fn integer_binary(op: BinaryOp, left: Literal, right: Literal) -> Option<Literal> {
    let element = left.element;
    let (l, r) = (left.as_integer()?, right.as_integer()?);
    let amount = (right.bits % element.bits() as u64) as u32;
    let value = match op {
        BinaryOp::Add => l + r,
        BinaryOp::Subtract => l - r,
        // Only u64 products leave i128, and wrapping keeps the low bits right.
        BinaryOp::Multiply => l.wrapping_mul(r),
        BinaryOp::Divide => l.checked_div(r).unwrap_or(0),
        BinaryOp::Remainder => l.checked_rem(r).unwrap_or(0),
        BinaryOp::Min => l.min(r),
        BinaryOp::Max => l.max(r),
        BinaryOp::And => l & r,
        BinaryOp::Or => l | r,
        BinaryOp::Xor => l ^ r,
        BinaryOp::ShiftLeft => l << amount,
        BinaryOp::ShiftRight => l >> amount,
    };
    Some(Literal::wrap(element, value))
}

fn float_binary(op: BinaryOp, left: Literal, right: Literal) -> Option<Literal> {
    let element = left.element;
    if element == ElementType::F64 {
        let value = float_op(op, f64::from_bits(left.bits), f64::from_bits(right.bits))?;
        return Some(Literal {
            element,
            bits: if value.is_nan() {
                0x7fff_ffff_ffff_ffff
            } else {
                value.to_bits()
            },
        });
    }
    let value = float_op(op, to_f32(left)?, to_f32(right)?)?;
    Some(from_f32(element, value))
}

/// The arithmetic that f32 and f64 share.
trait Real: Copy + PartialOrd {
    fn apply(op: BinaryOp, l: Self, r: Self) -> Option<Self>;
}

macro_rules! real {
    ($($ty:ty),*) => {$(
        impl Real for $ty {
            fn apply(op: BinaryOp, l: $ty, r: $ty) -> Option<$ty> {
                Some(match op {
                    BinaryOp::Add => l + r,
                    BinaryOp::Subtract => l - r,
                    BinaryOp::Multiply => l * r,
                    BinaryOp::Divide => l / r,
                    // Of two zeros the negative one is the smaller.
                    BinaryOp::Min if l.is_nan() => r,
                    BinaryOp::Min if r.is_nan() || l < r || (l == r && l.is_sign_negative()) => l,
                    BinaryOp::Min => r,
                    BinaryOp::Max if l.is_nan() => r,
                    BinaryOp::Max if r.is_nan() || l > r || (l == r && l.is_sign_positive()) => l,
                    BinaryOp::Max => r,
                    _ => return None,
                })
            }
        }
    )*};
}
real!(f32, f64);

fn float_op<R: Real>(op: BinaryOp, l: R, r: R) -> Option<R> {
    R::apply(op, l, r)
}

/// `left op right`; `None` if the types differ or do not have the comparison.
pub fn compare(op: CompareOp, left: Literal, right: Literal) -> Option<bool> {
    if left.element != right.element || !op.accepts(left.element) {
        return None;
    }
    fn apply<V: PartialOrd>(op: CompareOp, l: V, r: V) -> bool {
        match op {
            CompareOp::Equal => l == r,
            CompareOp::NotEqual => l != r,
            CompareOp::Less => l < r,
            CompareOp::LessEqual => l <= r,
            CompareOp::Greater => l > r,
            CompareOp::GreaterEqual => l >= r,
        }
    }
    Some(match (left.as_integer(), right.as_integer()) {
        (Some(l), Some(r)) => apply(op, l, r),
        _ => apply(op, to_f64(left)?, to_f64(right)?),
    })
}

/// `value` converted as Rust's `as` does; to bool, whether it differs from zero. `None` for the 8-bit floats.
pub fn cast(value: Literal, to: ElementType) -> Option<Literal> {
    if value.element == to {
        return Some(value);
    }
    if value.element.kind() == ElementKind::Storage || to.kind() == ElementKind::Storage {
        return None;
    }
    if to == ElementType::Bool {
        let truth = match value.as_integer() {
            Some(v) => v != 0,
            None => to_f64(value)? != 0.0,
        };
        return Some(Literal {
            element: to,
            bits: truth as u64,
        });
    }
    match (value.as_integer(), to.integer_range()) {
        (Some(v), Some(_)) => Some(Literal::wrap(to, v)),
        (None, Some((low, high))) => {
            let v = to_f64(value)?;
            // A saturating cast to i128, then to the target's range: NaN is 0 on the way.
            Some(Literal::wrap(to, (v as i128).clamp(low, high)))
        }
        (Some(v), None) if to == ElementType::F64 => Some(Literal::new(v as f64)),
        (Some(v), None) => Some(from_f32(to, v as f32)),
        (None, None) if to == ElementType::F64 => Some(canonical_f64(to_f64(value)?)),
        (None, None) if value.element == ElementType::F64 => Some(narrow_f64(to, f64::from_bits(value.bits))),
        (None, None) => Some(from_f32(to, to_f32(value)?)),
    }
}

fn canonical_f64(value: f64) -> Literal {
    if value.is_nan() {
        Literal {
            element: ElementType::F64,
            bits: 0x7fff_ffff_ffff_ffff,
        }
    } else {
        Literal::new(value)
    }
}

fn narrow_f64(to: ElementType, value: f64) -> Literal {
    match to {
        _ if value.is_nan() => from_f32(to, f32::NAN),
        // Through f32 would round twice.
        ElementType::F16 => Literal::new(f16::from_f64(value)),
        ElementType::BF16 => Literal::new(bf16::from_f64(value)),
        _ => from_f32(to, value as f32),
    }
}

/// The exact value of a float of at most 32 bits.
pub fn to_f32(value: Literal) -> Option<f32> {
    Some(match value.element {
        ElementType::F32 => f32::from_bits(value.bits as u32),
        ElementType::F16 => f16::from_bits(value.bits as u16).to_f32(),
        ElementType::BF16 => bf16::from_bits(value.bits as u16).to_f32(),
        _ => return None,
    })
}

/// `value` rounded to nearest even to an f16, bf16 or f32; NaN becomes the canonical one.
pub fn from_f32(element: ElementType, value: f32) -> Literal {
    let bits = match element {
        ElementType::F16 if value.is_nan() => 0x7fff,
        ElementType::BF16 if value.is_nan() => 0x7fff,
        ElementType::F16 => f16::from_f32(value).to_bits() as u64,
        ElementType::BF16 => bf16::from_f32(value).to_bits() as u64,
        _ if value.is_nan() => 0x7fff_ffff,
        _ => value.to_bits() as u64,
    };
    Literal { element, bits }
}

fn to_f64(value: Literal) -> Option<f64> {
    match value.element {
        ElementType::F64 => Some(f64::from_bits(value.bits)),
        _ => to_f32(value).map(f64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(value: i64) -> Literal {
        Literal::index(value)
    }

    #[test]
    fn integers_wrap_and_division_by_zero_is_zero() {
        assert_eq!(
            binary(BinaryOp::Add, Literal::new(i32::MAX), Literal::new(1i32)),
            Some(Literal::new(i32::MIN))
        );
        assert_eq!(binary(BinaryOp::Divide, index(7), index(0)), Some(index(0)));
        assert_eq!(binary(BinaryOp::Remainder, index(-7), index(4)), Some(index(-3)));
        assert_eq!(
            binary(BinaryOp::Divide, index(i64::MIN), index(-1)),
            Some(index(i64::MIN))
        );
        assert_eq!(
            binary(BinaryOp::Multiply, Literal::new(u64::MAX), Literal::new(u64::MAX)),
            Some(Literal::new(1u64))
        );
        assert_eq!(
            binary(BinaryOp::ShiftRight, Literal::new(-8i8), Literal::new(9i8)),
            Some(Literal::new(-4i8))
        );
    }

    #[test]
    fn float_casts_to_integers_saturate_and_nan_is_zero() {
        assert_eq!(
            cast(Literal::new(1e10f32), ElementType::I32),
            Some(Literal::new(i32::MAX))
        );
        assert_eq!(cast(Literal::new(-1.0f32), ElementType::U8), Some(Literal::new(0u8)));
        assert_eq!(cast(Literal::new(f32::NAN), ElementType::I64), Some(index(0)));
        assert_eq!(
            cast(Literal::new(f64::MAX), ElementType::U64),
            Some(Literal::new(u64::MAX))
        );
        assert_eq!(cast(Literal::new(2.9f32), ElementType::I8), Some(Literal::new(2i8)));
    }

    #[test]
    fn arithmetic_nan_is_canonical_and_negation_only_flips_the_sign() {
        let nan = Literal {
            element: ElementType::F32,
            bits: 0xffc0_1234,
        };
        assert_eq!(
            binary(BinaryOp::Add, nan, Literal::new(1f32)).map(|v| v.bits),
            Some(0x7fff_ffff)
        );
        assert_eq!(unary(UnaryOp::Negate, nan).map(|v| v.bits), Some(0x7fc0_1234));
        assert_eq!(binary(BinaryOp::Min, nan, Literal::new(1f32)), Some(Literal::new(1f32)));
    }

    #[test]
    fn half_precision_rounds_to_nearest_even_after_every_operation() {
        let (one, tiny) = (bf16::from_f32(1.0), bf16::from_f32(1.0 / 256.0));
        assert_eq!(
            binary(BinaryOp::Add, Literal::new(one), Literal::new(tiny)),
            Some(Literal::new(one))
        );
    }
}
