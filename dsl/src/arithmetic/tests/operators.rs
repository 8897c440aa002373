//! Operators against Rust's own, and the values where rules are needed.

use half::{bf16, f16};

use super::values;
use crate::arithmetic::{binary, compare, mul_add, unary};
use crate::element::{Element, ElementType, Integer};
use crate::ir::{BinaryOp, CompareOp, Literal, UnaryOp};

fn index(value: i64) -> Literal {
    Literal::index(value)
}

/// A few hundred of the values of a type, so that there are not too many pairs.
fn some(element: ElementType) -> Vec<Literal> {
    let all = values(element);
    let step = (all.len() / 300).max(1);
    let ends = all[..all.len().min(8)]
        .iter()
        .chain(&all[all.len().saturating_sub(8)..]);
    all.iter().step_by(step).chain(ends).copied().collect()
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

macro_rules! integer_operators {
    ($($name:ident: $ty:ident, $wide:ident;)*) => {$(
        #[test]
        fn $name() {
            fn of<T: Integer>(value: Literal) -> T {
                T::from_bits64(value.bits)
            }
            let values = some($ty::TYPE);
            for &left in &values {
                let l: $ty = of(left);
                let unary = |op| of::<$ty>(unary(op, left).unwrap());
                assert_eq!(unary(UnaryOp::CountOnes), l.count_ones() as $ty);
                assert_eq!(unary(UnaryOp::LeadingZeros), l.leading_zeros() as $ty);
                assert_eq!(unary(UnaryOp::TrailingZeros), l.trailing_zeros() as $ty);
                assert_eq!(unary(UnaryOp::Not), !l);
                for &right in &values {
                    let r: $ty = of(right);
                    let binary = |op| of::<$ty>(binary(op, left, right).unwrap());
                    assert_eq!(binary(BinaryOp::Add), l.wrapping_add(r));
                    assert_eq!(binary(BinaryOp::Subtract), l.wrapping_sub(r));
                    assert_eq!(binary(BinaryOp::Multiply), l.wrapping_mul(r));
                    assert_eq!(binary(BinaryOp::MultiplyHigh), ((l as $wide * r as $wide) >> $ty::BITS) as $ty, "{l} {r}");
                    assert_eq!(binary(BinaryOp::Divide), if r == 0 { 0 } else { l.wrapping_div(r) });
                    assert_eq!(binary(BinaryOp::Remainder), if r == 0 { 0 } else { l.wrapping_rem(r) });
                    assert_eq!(binary(BinaryOp::Min), l.min(r));
                    assert_eq!(binary(BinaryOp::Max), l.max(r));
                    assert_eq!(binary(BinaryOp::And), l & r);
                    assert_eq!(binary(BinaryOp::Or), l | r);
                    assert_eq!(binary(BinaryOp::Xor), l ^ r);
                    assert_eq!(binary(BinaryOp::ShiftLeft), l.wrapping_shl(r as u32 % $ty::BITS));
                    assert_eq!(binary(BinaryOp::ShiftRight), l.wrapping_shr(r as u32 % $ty::BITS));
                    assert_eq!(compare(CompareOp::Less, left, right), Some(l < r));
                    assert_eq!(compare(CompareOp::GreaterEqual, left, right), Some(l >= r));
                }
            }
        }
    )*};
}
integer_operators! {
    operators_on_i8_are_those_of_rust: i8, i16;
    operators_on_i16_are_those_of_rust: i16, i32;
    operators_on_i32_are_those_of_rust: i32, i64;
    operators_on_i64_are_those_of_rust: i64, i128;
    operators_on_u8_are_those_of_rust: u8, u16;
    operators_on_u16_are_those_of_rust: u16, u32;
    operators_on_u32_are_those_of_rust: u32, u64;
    operators_on_u64_are_those_of_rust: u64, u128;
}

#[test]
fn arithmetic_nan_is_canonical_and_the_sign_operators_only_touch_the_sign() {
    let nan = Literal {
        element: ElementType::F32,
        bits: 0xffc0_1234,
    };
    for op in BinaryOp::ALL.into_iter().filter(|op| op.accepts(ElementType::F32)) {
        // Not 1, whose power is 1 whatever the exponent.
        for (l, r) in [(nan, Literal::new(2f32)), (Literal::new(2f32), nan), (nan, nan)] {
            let number = matches!(op, BinaryOp::Min | BinaryOp::Max) && (l != nan || r != nan);
            let expected = if number { 2f32.to_bits() as u64 } else { 0x7fff_ffff };
            assert_eq!(binary(op, l, r).unwrap().bits, expected, "{op:?} {l} {r}");
        }
    }
    for op in UnaryOp::ALL.into_iter().filter(|op| op.accepts(ElementType::F32)) {
        let expected = match op {
            UnaryOp::Negate | UnaryOp::Abs => 0x7fc0_1234,
            _ => 0x7fff_ffff,
        };
        assert_eq!(unary(op, nan).unwrap().bits, expected, "{op:?}");
    }
    assert_eq!(mul_add(nan, nan, nan).unwrap().bits, 0x7fff_ffff);
}

#[test]
fn the_smaller_of_two_zeros_is_the_negative_one() {
    let (plus, minus) = (Literal::new(0f64), Literal::new(-0f64));
    for (l, r) in [(plus, minus), (minus, plus)] {
        for op in [BinaryOp::Min, BinaryOp::Minimum] {
            assert_eq!(binary(op, l, r), Some(minus));
        }
        for op in [BinaryOp::Max, BinaryOp::Maximum] {
            assert_eq!(binary(op, l, r), Some(plus));
        }
    }
}

#[test]
fn rounding_to_integral_values_is_exact_on_every_half_precision_float() {
    for bits in 0..=u16::MAX {
        let value = f16::from_bits(bits);
        let exact = value.to_f64();
        for (op, expected) in [
            (UnaryOp::Floor, exact.floor()),
            (UnaryOp::Ceil, exact.ceil()),
            (UnaryOp::Round, exact.round_ties_even()),
            (UnaryOp::Trunc, exact.trunc()),
        ] {
            let found = unary(op, Literal::new(value)).unwrap().get::<f16>().unwrap().to_f64();
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && exact.is_nan(),
                "{op:?} {value}"
            );
        }
    }
}

#[test]
fn sums_products_quotients_and_roots_of_16_bits_are_exactly_rounded() {
    // f64 holds sums and products of these exactly, and is more than twice as long as f32: rounding its quotients and
    // roots to 16 bits rounds the true ones.
    for element in [ElementType::F16, ElementType::BF16] {
        let wide = |value: Literal| f64::from_bits(crate::arithmetic::cast(value, ElementType::F64).unwrap().bits);
        let rounded = |value: f64| crate::arithmetic::cast(Literal::new(value), element);
        for &left in &some(element) {
            let l = wide(left);
            assert_eq!(unary(UnaryOp::Sqrt, left), rounded(l.sqrt()), "{left}");
            for &right in &some(element) {
                let r = wide(right);
                assert_eq!(
                    binary(BinaryOp::Multiply, left, right),
                    rounded(l * r),
                    "{left} {right}"
                );
                assert_eq!(binary(BinaryOp::Divide, left, right), rounded(l / r), "{left} {right}");
                if element == ElementType::F16 {
                    assert_eq!(binary(BinaryOp::Add, left, right), rounded(l + r), "{left} {right}");
                    assert_eq!(
                        binary(BinaryOp::Subtract, left, right),
                        rounded(l - r),
                        "{left} {right}"
                    );
                }
            }
        }
    }
}

#[test]
fn half_precision_rounds_to_nearest_even_after_every_operation() {
    let (one, tiny) = (bf16::from_f32(1.0), bf16::from_f32(1.0 / 256.0));
    assert_eq!(
        binary(BinaryOp::Add, Literal::new(one), Literal::new(tiny)),
        Some(Literal::new(one))
    );
}

#[test]
fn a_fused_multiplication_rounds_once() {
    let x = 1.0 + 2f32.powi(-12);
    let fused = mul_add(Literal::new(x), Literal::new(x), Literal::new(-1f32)).unwrap();
    let exact = f64::from(x) * f64::from(x) - 1.0;
    assert_eq!(fused, Literal::new(exact as f32));
    assert_ne!(fused, Literal::new(x * x - 1.0));
    assert_eq!(mul_add(index(1), index(1), index(1)), None);
}

#[test]
fn an_operation_on_a_type_that_lacks_it_is_none() {
    for element in ElementType::ALL {
        let value = Literal::zero(element);
        for op in UnaryOp::ALL {
            assert_eq!(unary(op, value).is_some(), op.accepts(element), "{op:?} {element}");
        }
        for op in BinaryOp::ALL {
            assert_eq!(
                binary(op, value, value).is_some(),
                op.accepts(element),
                "{op:?} {element}"
            );
        }
        assert_eq!(mul_add(value, value, value).is_some(), element.is_float());
    }
}
