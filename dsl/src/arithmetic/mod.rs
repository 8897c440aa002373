//! What each operation computes on one element: the meaning that folding, the CPU device and generated code share, bit
//! for bit.
//!
//! * Integers wrap. Division and remainder by zero give 0.
//! * f16 and bf16 are computed in f32 and rounded to nearest even. `+ - * /` and square roots are exactly rounded on
//!   every float type that way.
//! * Every NaN that arithmetic produces is the canonical one (0x7f for 8 bits, 0x7fff, 0x7fffffff, 0x7fffffffffffffff),
//!   as on the GPU; negation and absolute value only touch the sign bit, and a bitcast touches nothing.
//! * Functions that are not exactly rounded are fixed sequences of IEEE operations, so they too are the same everywhere;
//!   [`error_bound`] says how far off they can be.

mod atomic;
mod combine;
mod convert;
pub(crate) mod functions;
pub(crate) mod real;
mod series;
#[cfg(test)]
pub(crate) mod tests;

pub use atomic::atomic;
pub use combine::combine;
pub use convert::{bitcast, cast, from_f32, to_f32};

use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, Literal, UnaryOp};
use convert::{canonical_f64, to_f64};
use real::Native;

/// `op` on one element; `None` if the type does not have the operation.
pub fn unary(op: UnaryOp, value: Literal) -> Option<Literal> {
    let element = value.element;
    if !op.accepts(element) {
        return None;
    }
    let sign = 1u64 << (element.bits() - 1);
    let bits = |bits| Some(Literal { element, bits });
    match element.kind() {
        ElementKind::Float => match op {
            UnaryOp::Negate => bits(value.bits ^ sign),
            UnaryOp::Abs => bits(value.bits & !sign),
            _ if element == ElementType::F64 => Some(canonical_f64(float_unary(op, f64::from_bits(value.bits))?)),
            _ => Some(from_f32(element, float_unary(op, to_f32(value)?)?)),
        },
        ElementKind::Bool => bits(!value.as_bool() as u64),
        ElementKind::Signed | ElementKind::Unsigned => integer_unary(op, value),
        ElementKind::Storage => None,
    }
}

fn integer_unary(op: UnaryOp, value: Literal) -> Option<Literal> {
    let element = value.element;
    let integer = value.as_integer()?;
    let result = match op {
        UnaryOp::Negate => -integer,
        UnaryOp::Abs => integer.abs(),
        UnaryOp::Not => !integer,
        UnaryOp::CountOnes => value.bits.count_ones().into(),
        UnaryOp::LeadingZeros => (value.bits.leading_zeros() - (64 - element.bits())).into(),
        UnaryOp::TrailingZeros => value.bits.trailing_zeros().min(element.bits()).into(),
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Ln
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh => return None,
    };
    Some(Literal::wrap(element, result))
}

fn float_unary<R: Native>(op: UnaryOp, value: R) -> Option<R> {
    Some(match op {
        UnaryOp::Floor => value.floor(),
        UnaryOp::Ceil => value.ceil(),
        UnaryOp::Round => value.round_ties_even(),
        UnaryOp::Trunc => value.trunc(),
        UnaryOp::Sqrt => value.sqrt(),
        UnaryOp::Rsqrt => value.of(1.0) / value.sqrt(),
        UnaryOp::Exp => functions::exp(value),
        UnaryOp::Exp2 => functions::exp2(value),
        UnaryOp::Ln => functions::ln(value),
        UnaryOp::Log2 => functions::log2(value),
        UnaryOp::Sin => functions::sin(value),
        UnaryOp::Cos => functions::cos(value),
        UnaryOp::Tanh => functions::tanh(value),
        UnaryOp::Negate
        | UnaryOp::Abs
        | UnaryOp::Not
        | UnaryOp::CountOnes
        | UnaryOp::LeadingZeros
        | UnaryOp::TrailingZeros => return None,
    })
}

/// How far a result of `op` on f32 or f64 can be from the true value, in units of its last place: 0.5 if it is always
/// exactly rounded.
///
/// Every f32 was tried: the worst are 0.91 of the exponential functions, 0.93 of logarithms and the hyperbolic tangent, 1.18
/// of sine and cosine. Of f64 no worse was found. f16 and bf16 come from f32, so what they are off is their own rounding and
/// next to nothing more.
pub const fn error_bound(op: UnaryOp) -> f64 {
    match op {
        UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Ln | UnaryOp::Log2 | UnaryOp::Tanh => 1.0,
        UnaryOp::Rsqrt | UnaryOp::Sin | UnaryOp::Cos => 1.5,
        UnaryOp::Negate
        | UnaryOp::Not
        | UnaryOp::Abs
        | UnaryOp::CountOnes
        | UnaryOp::LeadingZeros
        | UnaryOp::TrailingZeros
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc
        | UnaryOp::Sqrt => 0.5,
    }
}

/// As [`error_bound`], of [`BinaryOp::Power`]. The worst of 6 * 10^8 pairs of f32 was 0.96.
pub const POWER_ERROR_BOUND: f64 = 1.0;

/// `op` on two elements of one type; `None` if the types differ or do not have the operation.
pub fn binary(op: BinaryOp, left: Literal, right: Literal) -> Option<Literal> {
    let element = left.element;
    if element != right.element || !op.accepts(element) {
        return None;
    }
    match element.kind() {
        ElementKind::Float if element == ElementType::F64 => {
            let value = float_binary(op, f64::from_bits(left.bits), f64::from_bits(right.bits))?;
            Some(canonical_f64(value))
        }
        ElementKind::Float => Some(from_f32(element, float_binary(op, to_f32(left)?, to_f32(right)?)?)),
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
        BinaryOp::MultiplyHigh if element == ElementType::U64 => ((l as u128 * r as u128) >> 64) as i128,
        BinaryOp::MultiplyHigh => (l * r) >> element.bits(),
        BinaryOp::Divide => l.checked_div(r).unwrap_or(0),
        BinaryOp::Remainder => l.checked_rem(r).unwrap_or(0),
        BinaryOp::Min => l.min(r),
        BinaryOp::Max => l.max(r),
        BinaryOp::And => l & r,
        BinaryOp::Or => l | r,
        BinaryOp::Xor => l ^ r,
        BinaryOp::ShiftLeft => l << amount,
        BinaryOp::ShiftRight => l >> amount,
        BinaryOp::Minimum | BinaryOp::Maximum | BinaryOp::Power => return None,
    };
    Some(Literal::wrap(element, value))
}

fn float_binary<R: Native>(op: BinaryOp, l: R, r: R) -> Option<R> {
    Some(match op {
        BinaryOp::Add => l + r,
        BinaryOp::Subtract => l - r,
        BinaryOp::Multiply => l * r,
        BinaryOp::Divide => l / r,
        // The operand that is no NaN, if there is one.
        BinaryOp::Min | BinaryOp::Max if l.is_nan() => r,
        BinaryOp::Min | BinaryOp::Max if r.is_nan() => l,
        BinaryOp::Minimum | BinaryOp::Maximum if l.is_nan() || r.is_nan() => l + r,
        // Of two zeros the negative one is the smaller.
        BinaryOp::Min | BinaryOp::Minimum if l < r || (l == r && l.is_sign_negative()) => l,
        BinaryOp::Max | BinaryOp::Maximum if l > r || (l == r && !l.is_sign_negative()) => l,
        BinaryOp::Min | BinaryOp::Minimum | BinaryOp::Max | BinaryOp::Maximum => r,
        BinaryOp::Power => functions::power(l, r),
        BinaryOp::MultiplyHigh
        | BinaryOp::Remainder
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight => return None,
    })
}

/// `left * right + addend`, rounded once; f16 and bf16 in f32, whose result is rounded again. `None` if the types differ
/// or are no floats.
pub fn mul_add(left: Literal, right: Literal, addend: Literal) -> Option<Literal> {
    let element = left.element;
    if element != right.element || element != addend.element || !element.is_float() {
        return None;
    }
    if element == ElementType::F64 {
        let [l, r, a] = [left, right, addend].map(|v| f64::from_bits(v.bits));
        return Some(canonical_f64(l.mul_add(r, a)));
    }
    Some(from_f32(
        element,
        to_f32(left)?.mul_add(to_f32(right)?, to_f32(addend)?),
    ))
}

/// The value of an operation on scalars, whose operands have the values that `of` gives; `None` if it is none, or if a type
/// does not have it.
pub(crate) fn evaluate(operation: &Expression, of: impl Fn(Handle<Expression>) -> Option<Literal>) -> Option<Literal> {
    match operation {
        Expression::Literal(literal) => Some(*literal),
        Expression::Unary { op, value } => unary(*op, of(*value)?),
        Expression::Binary { op, left, right } => binary(*op, of(*left)?, of(*right)?),
        Expression::MulAdd { left, right, addend } => mul_add(of(*left)?, of(*right)?, of(*addend)?),
        Expression::Compare { op, left, right } => compare(*op, of(*left)?, of(*right)?).map(Literal::new),
        Expression::Select {
            condition,
            accept,
            reject,
        } => of(if of(*condition)?.as_bool() { *accept } else { *reject }),
        Expression::Cast { value, to } => cast(of(*value)?, *to),
        Expression::Bitcast { value, to } => bitcast(of(*value)?, *to),
        Expression::MultipleOf { value, .. } => of(*value),
        Expression::Symbol(_)
        | Expression::Member { .. }
        | Expression::Argument(_)
        | Expression::Induction(_)
        | Expression::Arange(_)
        | Expression::Broadcast { .. }
        | Expression::Reshape { .. }
        | Expression::Permute { .. }
        | Expression::Slice { .. }
        | Expression::Concatenate { .. }
        | Expression::Take { .. }
        | Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. }
        | Expression::Local(_)
        | Expression::Load(_)
        | Expression::Ptx(_)
        | Expression::Atomic(_) => None,
    }
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
