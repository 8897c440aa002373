//! What atomic operations make of an element.

use super::binary;
use crate::element::ElementType;
use crate::ir::{AtomicOp, BinaryOp, Literal};

/// An element combined with a value; `None` if the type does not have the operation.
pub fn atomic(op: AtomicOp, old: Literal, value: Literal) -> Option<Literal> {
    let plain = |op| binary(op, old, value);
    match op {
        AtomicOp::Add => binary(BinaryOp::Add, flushed(old), flushed(value)).map(flushed),
        AtomicOp::Min => plain(BinaryOp::Min),
        AtomicOp::Max => plain(BinaryOp::Max),
        AtomicOp::And => plain(BinaryOp::And),
        AtomicOp::Or => plain(BinaryOp::Or),
        AtomicOp::Xor => plain(BinaryOp::Xor),
        AtomicOp::Exchange => Some(value),
    }
}

/// An f32 that is subnormal as the zero of its sign; anything else as it is.
fn flushed(value: Literal) -> Literal {
    const EXPONENT: u64 = 0x7f80_0000;
    const SIGN: u64 = 0x8000_0000;
    if value.element == ElementType::F32 && value.bits & EXPONENT == 0 {
        Literal {
            bits: value.bits & SIGN,
            ..value
        }
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_f32_take_subnormal_numbers_for_zero() {
        let sum = |a: f32, b: f32| {
            let sum = atomic(AtomicOp::Add, Literal::new(a), Literal::new(b)).unwrap();
            f32::from_bits(sum.bits as u32)
        };
        let tiny = f32::MIN_POSITIVE / 2.0;
        assert_eq!(sum(1.5, 2.25), 3.75);
        assert_eq!(sum(tiny, tiny).to_bits(), 0);
        assert_eq!(sum(-tiny, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(
            sum(f32::MIN_POSITIVE, -1.5 * f32::MIN_POSITIVE).to_bits(),
            (-0.0f32).to_bits()
        );
        // Of f64 nothing is lost.
        let tiny = f64::MIN_POSITIVE / 2.0;
        assert_eq!(
            atomic(AtomicOp::Add, Literal::new(tiny), Literal::new(tiny)),
            Some(Literal::new(f64::MIN_POSITIVE))
        );
    }

    #[test]
    fn what_a_type_has_no_operation_for_is_none() {
        assert_eq!(atomic(AtomicOp::And, Literal::new(1f32), Literal::new(1f32)), None);
        assert_eq!(
            atomic(AtomicOp::Max, Literal::new(-3i64), Literal::new(2i64)),
            Some(Literal::new(2i64))
        );
    }
}
