//! What f32 and f64 have in common.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// An IEEE float with the constants of its [functions](super::functions). A pair of constants is a number of more bits
/// than a float has: the first of the pair, and what that lacks.
pub(super) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    const NAN: Self;
    const INFINITY: Self;
    /// Bits after the point.
    const MANTISSA: i32;
    /// What is added to an exponent.
    const BIAS: i32;
    /// Where the exponential functions are infinite, and below which they are 0: of base e, then of base 2.
    const EXP_RANGE: [(Self, Self); 2];
    /// The first has so few bits that its product with an exponent is exact.
    const LN2: [Self; 2];
    const LOG2E: [Self; 2];
    const HALF_PI: [Self; 2];
    const THIRD: [Self; 2];
    /// From where on 1 is nearest to the hyperbolic tangent.
    const TANH_ONE: Self;
    /// How many terms of its power series each of e^x, the logarithm, the sine and the cosine needs.
    const TERMS: [usize; 4];

    fn of(value: f64) -> Self;
    fn from_u64(value: u64) -> Self;
    fn to_i32(self) -> i32;
    fn is_nan(self) -> bool;
    fn is_sign_negative(self) -> bool;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn trunc(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// 2^exponent, a normal number.
    fn power_of_two(exponent: i32) -> Self;
    /// A positive normal number as `m * 2^e` with m between sqrt(1/2) and sqrt(2).
    fn split(self) -> (Self, i32);
    /// A finite number's magnitude as `m * 2^e` with an integer m.
    fn integer_and_exponent(self) -> (u64, i32);
}

macro_rules! real {
    ($float:ident, $bits:ident, $signed:ident, $mantissa:literal, $bias:literal; $($constants:tt)*) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $float::NAN;
            const INFINITY: Self = $float::INFINITY;
            const MANTISSA: i32 = $mantissa;
            const BIAS: i32 = $bias;
            $($constants)*

            fn of(value: f64) -> Self {
                value as $float
            }
            fn from_u64(value: u64) -> Self {
                value as $float
            }
            fn to_i32(self) -> i32 {
                self as i32
            }
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            fn is_sign_negative(self) -> bool {
                self.is_sign_negative()
            }
            fn floor(self) -> Self {
                self.floor()
            }
            fn ceil(self) -> Self {
                self.ceil()
            }
            fn round_ties_even(self) -> Self {
                self.round_ties_even()
            }
            fn trunc(self) -> Self {
                self.trunc()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            fn power_of_two(exponent: i32) -> Self {
                $float::from_bits(((exponent + $bias) as $bits) << $mantissa)
            }
            fn split(self) -> (Self, i32) {
                let bits = self.to_bits();
                let above = bits.wrapping_sub(std::$float::consts::FRAC_1_SQRT_2.to_bits());
                let exponent = (above as $signed) >> $mantissa;
                ($float::from_bits(bits.wrapping_sub((exponent << $mantissa) as $bits)), exponent as i32)
            }
            fn integer_and_exponent(self) -> (u64, i32) {
                let magnitude = self.abs().to_bits();
                let hidden: $bits = 1 << $mantissa;
                let exponent = (magnitude >> $mantissa).max(1) as i32 - $bias - $mantissa;
                let mantissa = magnitude & (hidden - 1);
                let normal = if magnitude >= hidden { hidden } else { 0 };
                ((mantissa | normal) as u64, exponent)
            }
        }
    };
}

real! {
    f32, u32, i32, 23, 127;
    const EXP_RANGE: [(f32, f32); 2] = [(89.0, -104.0), (128.0, -150.0)];
    const LN2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    const LOG2E: [f32; 2] = [std::f32::consts::LOG2_E, 1.925_963e-8];
    const HALF_PI: [f32; 2] = [std::f32::consts::FRAC_PI_2, -4.371_139e-8];
    const THIRD: [f32; 2] = [0.333_333_34, -9.934_108e-9];
    const TANH_ONE: f32 = 9.25;
    const TERMS: [usize; 4] = [8, 5, 5, 6];
}
real! {
    f64, u64, i64, 52, 1023;
    const EXP_RANGE: [(f64, f64); 2] = [(710.0, -746.0), (1024.0, -1075.0)];
    const LN2: [f64; 2] = [0.693_147_180_559_208_2, 7.371_002_565_167_799e-13];
    const LOG2E: [f64; 2] = [std::f64::consts::LOG2_E, 2.035_527_374_093_103_3e-17];
    const HALF_PI: [f64; 2] = [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17];
    const THIRD: [f64; 2] = [1.0 / 3.0, 1.850_371_707_708_594e-17];
    const TANH_ONE: f64 = 20.0;
    const TERMS: [usize; 4] = [14, 11, 9, 9];
}
