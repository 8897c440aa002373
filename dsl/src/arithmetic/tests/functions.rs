//! Functions against those of f64, within their bounds, and at their special values.

use half::f16;

use super::values;
use crate::arithmetic::{error_bound, from_f32, to_f32, unary};
use crate::element::ElementType;
use crate::ir::{Literal, UnaryOp};

type Function = fn(f64) -> f64;

const FUNCTIONS: [(UnaryOp, Function); 8] = [
    (UnaryOp::Sqrt, f64::sqrt),
    (UnaryOp::Rsqrt, |x| 1.0 / x.sqrt()),
    (UnaryOp::Exp, f64::exp),
    (UnaryOp::Exp2, f64::exp2),
    (UnaryOp::Ln, f64::ln),
    (UnaryOp::Log2, f64::log2),
    (UnaryOp::Sin, f64::sin),
    (UnaryOp::Cos, f64::cos),
];

/// How far `found` is from `exact` in units of the last place of the floats around `exact`.
fn distance(found: f64, exact: f64, mantissa: i32, smallest: i32) -> f64 {
    if found == exact || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    let exponent = ((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let last_place = (exponent - mantissa).max(smallest);
    let unit = if last_place < -1022 {
        f64::from_bits(1 << (last_place + 1074))
    } else {
        2f64.powi(last_place)
    };
    (found - exact).abs() / unit
}

#[test]
fn f32_functions_keep_their_bounds_on_values_of_every_exponent() {
    let step = 0x1_0001;
    for (op, reference) in FUNCTIONS {
        for bits in (0..=u32::MAX).step_by(step) {
            let x = f32::from_bits(bits);
            let found = to_f32(unary(op, Literal::new(x)).unwrap()).unwrap();
            let exact = reference(x.into());
            if f64::from(f32::MAX) < exact.abs() {
                assert_eq!(found, exact as f32, "{op:?} {x:e}");
            } else {
                let distance = distance(found.into(), exact, 23, -149);
                assert!(
                    distance <= error_bound(op),
                    "{op:?} {x:e}: {found:e} is off by {distance}"
                );
            }
        }
    }
}

#[test]
fn f64_functions_keep_their_bounds_as_far_as_those_of_the_platform_tell() {
    for (op, reference) in FUNCTIONS {
        for value in values(ElementType::F64) {
            let x = f64::from_bits(value.bits);
            let found = f64::from_bits(unary(op, value).unwrap().bits);
            let distance = distance(found, reference(x), 52, -1074);
            // The platform's are off by up to one themselves.
            assert!(
                distance <= error_bound(op) + 1.0,
                "{op:?} {x:e}: {found:e} is off by {distance}"
            );
        }
    }
}

#[test]
fn f16_functions_are_those_of_f32_rounded() {
    for (op, _) in FUNCTIONS {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            let wide = unary(op, Literal::new(x.to_f32())).unwrap();
            let expected = from_f32(ElementType::F16, to_f32(wide).unwrap());
            assert_eq!(unary(op, Literal::new(x)), Some(expected), "{op:?} {x}");
        }
    }
}

#[test]
fn functions_are_exact_where_mathematics_is() {
    let of = |op, x: f64| f64::from_bits(unary(op, Literal::new(x)).unwrap().bits);
    for (op, x, expected) in [
        (UnaryOp::Exp, 0.0, 1.0),
        (UnaryOp::Exp, f64::NEG_INFINITY, 0.0),
        (UnaryOp::Exp, f64::INFINITY, f64::INFINITY),
        (UnaryOp::Exp2, -1074.0, f64::from_bits(1)),
        (UnaryOp::Exp2, -1075.0, 0.0),
        (UnaryOp::Exp2, 1023.0, 2f64.powi(1023)),
        (UnaryOp::Exp2, 1024.0, f64::INFINITY),
        (UnaryOp::Ln, 1.0, 0.0),
        (UnaryOp::Ln, 0.0, f64::NEG_INFINITY),
        (UnaryOp::Ln, -0.0, f64::NEG_INFINITY),
        (UnaryOp::Ln, f64::INFINITY, f64::INFINITY),
        (UnaryOp::Log2, f64::from_bits(1), -1074.0),
        (UnaryOp::Log2, 1024.0, 10.0),
        (UnaryOp::Rsqrt, 0.0, f64::INFINITY),
        (UnaryOp::Rsqrt, -0.0, f64::NEG_INFINITY),
        (UnaryOp::Rsqrt, f64::INFINITY, 0.0),
        (UnaryOp::Sin, -0.0, -0.0),
        (UnaryOp::Sin, f64::from_bits(1), f64::from_bits(1)),
        (UnaryOp::Cos, -0.0, 1.0),
    ] {
        assert_eq!(of(op, x).to_bits(), expected.to_bits(), "{op:?} {x}");
    }
    for (op, x) in [
        (UnaryOp::Sqrt, -1.0),
        (UnaryOp::Rsqrt, -1.0),
        (UnaryOp::Ln, -1.0),
        (UnaryOp::Log2, f64::NEG_INFINITY),
        (UnaryOp::Sin, f64::INFINITY),
        (UnaryOp::Cos, f64::NEG_INFINITY),
    ] {
        assert_eq!(of(op, x).to_bits(), 0x7fff_ffff_ffff_ffff, "{op:?} {x}");
    }
}

#[test]
fn functions_grow_and_fall_as_they_should() {
    let of = |op, bits: u32| to_f32(unary(op, Literal::new(f32::from_bits(bits))).unwrap()).unwrap();
    // Where the series around one whole number meets that around the next.
    for n in -20..20 {
        let middle = (n as f32 + 0.5).abs().to_bits();
        for bits in middle - 200..middle + 200 {
            let (here, next) = (of(UnaryOp::Exp2, bits), of(UnaryOp::Exp2, bits + 1));
            assert!(here <= next, "{bits:#x}");
        }
    }
    let edge = std::f32::consts::SQRT_2.to_bits();
    for bits in edge - 500..edge + 500 {
        assert!(of(UnaryOp::Ln, bits) <= of(UnaryOp::Ln, bits + 1), "{bits:#x}");
        assert!(of(UnaryOp::Log2, bits) <= of(UnaryOp::Log2, bits + 1), "{bits:#x}");
    }
}
