//! Functions against those of f64, within their bounds, and at their special values.

use half::f16;

use super::{reference, values};
use crate::arithmetic::real::Real;
use crate::arithmetic::{POWER_ERROR_BOUND, binary, error_bound, from_f32, functions, to_f32, unary};
use crate::element::ElementType;
use crate::ir::{BinaryOp, Literal, UnaryOp};

type Function = fn(f64) -> f64;

const FUNCTIONS: [(UnaryOp, Function); 9] = [
    (UnaryOp::Sqrt, f64::sqrt),
    (UnaryOp::Rsqrt, |x| 1.0 / x.sqrt()),
    (UnaryOp::Exp, f64::exp),
    (UnaryOp::Exp2, f64::exp2),
    (UnaryOp::Ln, f64::ln),
    (UnaryOp::Log2, f64::log2),
    (UnaryOp::Sin, f64::sin),
    (UnaryOp::Cos, f64::cos),
    (UnaryOp::Tanh, f64::tanh),
];

/// How far `found` is from `exact` in units of the last place of the floats around `exact`.
fn distance(found: f64, exact: f64, mantissa: i32, smallest: i32) -> f64 {
    if found == exact || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    (found - exact).abs() / last_place(exact, mantissa, smallest)
}

/// The unit in the last place of floats around `exact`.
fn last_place(exact: f64, mantissa: i32, smallest: i32) -> f64 {
    let exponent = ((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let last_place = (exponent - mantissa).max(smallest);
    if last_place < -1022 {
        f64::from_bits(1 << (last_place + 1074))
    } else {
        2f64.powi(last_place)
    }
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
fn exponentials_of_what_is_not_positive_have_the_bits_that_those_of_everything_have() {
    // Those that are halves of integers have two that are equally near.
    let halves = (0..4400u32).map(|number| -(f64::from(number) / 2.0));
    let spread = (1u32 << 31..=u32::MAX).step_by(251);
    let singles = spread.map(f32::from_bits).chain(halves.clone().map(|x| x as f32));
    for x in singles.chain([0.0, f32::NAN]) {
        assert_exponentials_agree(x);
    }
    let spread = (1u64 << 63..=u64::MAX).step_by(0x0007_ffff_ffff_fff1);
    for x in spread.map(f64::from_bits).chain(halves).chain([0.0, f64::NAN]) {
        assert_exponentials_agree(x);
    }
}

#[test]
fn quotients_that_are_multiplied_are_those_of_division() {
    // Each mantissa with exponents at the ends and between; of a few divisors all, of others some.
    let divisors = [448.0f32, 6.0, 127.0, 57344.0, 131.0, 1.0, 3.0e12, 1.999_999_6, 7168.0];
    for (divisor, step) in divisors.into_iter().zip([1, 5, 7, 11, 13].into_iter().cycle()) {
        for mantissa in (0..1u32 << 23).step_by(step) {
            let exponent = [127u32, 47, 254][mantissa as usize % 3];
            let x = f32::from_bits(exponent << 23 | mantissa);
            let found = functions::quotient_of_large(x, divisor);
            assert_eq!(found.to_bits(), (x / divisor).to_bits(), "{x:e} / {divisor:e}");
        }
        assert_eq!(functions::quotient_of_large(f32::INFINITY, divisor), f32::INFINITY);
    }
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..2_000_000 {
        let divisor = f32::from_bits(random.u32(127 << 23..(127 + 44) << 23));
        let x = f32::from_bits(random.u32((127 - 80) << 23..255 << 23));
        if divisor.to_bits() & 0x7f_ffff != 0x7f_ffff {
            let found = functions::quotient_of_large(x, divisor);
            assert_eq!(found.to_bits(), (x / divisor).to_bits(), "{x:e} / {divisor:e}");
        }
    }
}

fn assert_exponentials_agree<R: Real + PartialOrd + std::fmt::LowerExp>(x: R)
where
    R::Integer: PartialEq,
{
    for (full, short) in [
        (functions::exp(x), functions::exp_of_nonpositive(x)),
        (functions::exp2(x), functions::exp2_of_nonpositive(x)),
    ] {
        let is_nan = |x: R| x.partial_cmp(&x).is_none();
        let agree = full.to_bits() == short.to_bits() || is_nan(full) && is_nan(short);
        assert!(agree, "of {x:e}: {full:e} and {short:e}");
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
        (UnaryOp::Tanh, -0.0, -0.0),
        (UnaryOp::Tanh, f64::from_bits(1), f64::from_bits(1)),
        (UnaryOp::Tanh, 20.0, 1.0),
        (UnaryOp::Tanh, f64::NEG_INFINITY, -1.0),
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
        (UnaryOp::Tanh, f64::NAN),
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

#[test]
fn tanh_and_powers_of_f64_keep_their_bounds_by_a_reference_of_more_bits() {
    let off = |found: Literal, high: u64, low: u64| {
        let (found, high, low) = (f64::from_bits(found.bits), f64::from_bits(high), f64::from_bits(low));
        ((found - high) - low).abs() / last_place(high, 52, -1074)
    };
    for [x, high, low] in reference::TANH {
        let x = f64::from_bits(x);
        for x in [x, -x] {
            let sign = if x < 0.0 { 1 << 63 } else { 0 };
            let distance = off(unary(UnaryOp::Tanh, Literal::new(x)).unwrap(), high ^ sign, low ^ sign);
            assert!(distance <= error_bound(UnaryOp::Tanh), "{x:e} is off by {distance}");
        }
    }
    for [x, y, high, low] in reference::POWER {
        let [x, y] = [x, y].map(f64::from_bits);
        let distance = off(
            binary(BinaryOp::Power, Literal::new(x), Literal::new(y)).unwrap(),
            high,
            low,
        );
        assert!(distance <= POWER_ERROR_BOUND, "{x:e} ^ {y:e} is off by {distance}");
    }
}

#[test]
fn powers_of_f32_keep_their_bound() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for k in 0..400_000 {
        let x = f32::from_bits(next() as u32 & 0x7fff_ffff);
        let unit = next() as u32 as f32 / u32::MAX as f32 - 0.5;
        let (x, y) = match k % 4 {
            0 => (x, unit * 300.0 / x.log2()),
            1 => (1.0 + unit * 0.01, f32::from_bits(next() as u32)),
            2 => (-(x.min(1e9).floor()), (unit * 40.0).floor()),
            _ => (x, f32::from_bits(next() as u32)),
        };
        let found = to_f32(binary(BinaryOp::Power, Literal::new(x), Literal::new(y)).unwrap()).unwrap();
        let exact = f64::from(x).powf(y.into());
        if f64::from(f32::MAX) < exact.abs() || found.is_infinite() {
            assert_eq!(found, exact as f32, "{x:e} ^ {y:e}");
        } else {
            let distance = distance(found.into(), exact, 23, -149);
            assert!(
                distance <= POWER_ERROR_BOUND,
                "{x:e} ^ {y:e}: {found:e} is off by {distance}"
            );
        }
    }
}

#[test]
fn powers_have_the_special_values_of_c() {
    const TINY: f64 = f64::from_bits(1);
    let (infinity, nan) = (f64::INFINITY, f64::NAN);
    let odd = 2f64.powi(53) - 1.0;
    for (x, y, expected) in [
        // 1 whatever the other is.
        (nan, 0.0, 1.0),
        (nan, -0.0, 1.0),
        (infinity, 0.0, 1.0),
        (1.0, nan, 1.0),
        (1.0, -infinity, 1.0),
        (-1.0, infinity, 1.0),
        (-1.0, -infinity, 1.0),
        // Zeros.
        (0.0, 3.0, 0.0),
        (-0.0, 3.0, -0.0),
        (-0.0, 2.0, 0.0),
        (-0.0, 0.5, 0.0),
        (0.0, -3.0, infinity),
        (-0.0, -3.0, -infinity),
        (-0.0, -2.0, infinity),
        (-0.0, -0.5, infinity),
        (-0.0, -infinity, infinity),
        (-0.0, odd, -0.0),
        (-0.0, -odd, -infinity),
        (-0.0, odd + 1.0, 0.0),
        // Infinities.
        (infinity, 0.5, infinity),
        (infinity, -TINY, 0.0),
        (-infinity, 3.0, -infinity),
        (-infinity, 4.0, infinity),
        (-infinity, 0.5, infinity),
        (-infinity, -3.0, -0.0),
        (-infinity, -4.0, 0.0),
        (0.5, infinity, 0.0),
        (0.5, -infinity, infinity),
        (-2.0, infinity, infinity),
        (-2.0, -infinity, 0.0),
        // Negative bases.
        (-2.0, 3.0, -8.0),
        (-2.0, -2.0, 0.25),
        (-1.0, odd, -1.0),
        (-1.0, 1e300, 1.0),
        (-TINY, 1.0, -TINY),
        // Subnormal results and bases, and the ends of the range.
        (2.0, -1074.0, TINY),
        (2.0, -1076.0, 0.0),
        (2.0, 1023.0, 2f64.powi(1023)),
        (2.0, 1024.0, infinity),
        (-2.0, 1025.0, -infinity),
        (-2.0, -1077.0, -0.0),
        (TINY, 0.5, 2f64.powi(-537)),
        (TINY, -1.0, infinity),
        (f64::MAX, 1.0, f64::MAX),
        (1.0 + f64::EPSILON, infinity, infinity),
        (3.0, TINY, 1.0),
        (3.0, 1e308, infinity),
        (3.0, -1e308, 0.0),
        (10.0, 2.0, 100.0),
    ] {
        let found = binary(BinaryOp::Power, Literal::new(x), Literal::new(y)).unwrap();
        assert_eq!(
            found.bits,
            expected.to_bits(),
            "{x:e} ^ {y:e} = {:e}",
            f64::from_bits(found.bits)
        );
    }
    for (x, y) in [(nan, 1.0), (2.0, nan), (-2.0, 0.5), (-TINY, TINY), (nan, infinity)] {
        let found = binary(BinaryOp::Power, Literal::new(x), Literal::new(y)).unwrap();
        assert_eq!(found.bits, 0x7fff_ffff_ffff_ffff, "{x:e} ^ {y:e}");
    }
}

#[test]
fn powers_of_f16_are_those_of_f32_rounded() {
    for x in (0..=u16::MAX).step_by(97).map(f16::from_bits) {
        for y in [0.5, -1.0, 2.0, 3.0, -7.5].map(f16::from_f32) {
            let [wide_x, wide_y] = [x, y].map(|v| Literal::new(v.to_f32()));
            let wide = binary(BinaryOp::Power, wide_x, wide_y).unwrap();
            let expected = from_f32(ElementType::F16, to_f32(wide).unwrap());
            let found = binary(BinaryOp::Power, Literal::new(x), Literal::new(y));
            assert_eq!(found, Some(expected), "{x} ^ {y}");
        }
    }
}
