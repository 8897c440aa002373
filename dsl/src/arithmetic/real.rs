//! The numbers that functions are made of: floats of the CPU, or values that a kernel is to compute. Whatever they are,
//! a [function](super::functions) does the same operations on them.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use super::series::{EXP_SERIES, NEAR_EXP, of_base_2};

/// What functions need to know of a float. A pair of numbers is one of more bits than a float has: the first of the
/// pair, and what that lacks.
#[derive(Debug)]
pub(crate) struct Format {
    /// Bits after the point.
    pub(crate) mantissa: u32,
    /// What is added to an exponent.
    pub(crate) bias: i64,
    /// The bits of the square root of a half.
    pub(crate) sqrt_half: i64,
    /// Where the exponential functions are infinite, and below which they are 0: of base e, then of base 2.
    pub(crate) exp_range: [(f64, f64); 2],
    /// The first has so few bits that its product with an exponent is exact.
    pub(crate) ln2: [f64; 2],
    pub(crate) log2e: [f64; 2],
    pub(crate) half_pi: [f64; 2],
    pub(crate) third: [f64; 2],
    /// A number so large that none around it is between integers, and whose low bits count them.
    pub(crate) anchor: f64,
    /// From where on 1 is nearest to the hyperbolic tangent.
    pub(crate) tanh_one: f64,
    /// How many terms of its power series each of e^x, the logarithm, the sine and the cosine needs.
    pub(crate) terms: [usize; 4],
    /// The coefficients of polynomials for e^x where |x| is up to ln(2)/2, and for 2^x where it is up to a half.
    pub(crate) exp: [&'static [f64]; 2],
}

pub(crate) static SINGLE: Format = Format {
    mantissa: 23,
    bias: 127,
    sqrt_half: std::f32::consts::FRAC_1_SQRT_2.to_bits() as i64,
    exp_range: [(89.0, -104.0), (128.0, -150.0)],
    ln2: [0.693_145_75_f32 as f64, 1.428_606_8e-6_f32 as f64],
    log2e: [std::f32::consts::LOG2_E as f64, 1.925_963e-8_f32 as f64],
    half_pi: [std::f32::consts::FRAC_PI_2 as f64, -4.371_139e-8_f32 as f64],
    third: [0.333_333_34_f32 as f64, -9.934_108e-9_f32 as f64],
    anchor: 12_582_912.0,
    tanh_one: 9.25,
    terms: [8, 5, 5, 6],
    exp: [&NEAR_EXP, &const { of_base_2(NEAR_EXP) }],
};

pub(crate) static DOUBLE: Format = Format {
    mantissa: 52,
    bias: 1023,
    sqrt_half: std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64,
    exp_range: [(710.0, -746.0), (1024.0, -1075.0)],
    ln2: [0.693_147_180_559_208_2, 7.371_002_565_167_799e-13],
    log2e: [std::f64::consts::LOG2_E, 2.035_527_374_093_103_3e-17],
    half_pi: [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17],
    third: [1.0 / 3.0, 1.850_371_707_708_594e-17],
    anchor: 6_755_399_441_055_744.0,
    tanh_one: 20.0,
    terms: [14, 11, 9, 9],
    exp: [&EXP_SERIES, &const { of_base_2(EXP_SERIES) }],
};

/// Whether something holds.
pub(crate) trait Truth:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
}

impl Truth for bool {}

/// An integer. Sums, differences and products wrap.
pub(crate) trait Integer: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> {
    type Truth: Truth;

    /// The low bits of a constant, as a number of this type.
    fn of(self, value: u64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// The high half of the product.
    fn times_high(self, other: Self) -> Self;
    /// Shifted toward the high bits, by less than there are.
    fn up(self, by: Self) -> Self;
    /// Shifted toward the low bits, by less than there are; what has a sign keeps it.
    fn down(self, by: Self) -> Self;
    fn leading_zeros(self) -> Self;
    fn less(self, other: Self) -> Self::Truth;
    fn equals(self, other: Self) -> Self::Truth;
    fn select(condition: Self::Truth, accept: Self, reject: Self) -> Self;
    /// The word of a table at this place, which it has.
    fn look_up(self, table: &'static [u64]) -> Self;
}

/// An IEEE float. Comparisons with NaN do not hold.
pub(crate) trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    type Truth: Truth;
    /// As wide as the float, with a sign.
    type Integer: Integer<Truth = Self::Truth>;
    /// 64 bits without a sign.
    type Word: Integer<Truth = Self::Truth>;

    fn format(self) -> &'static Format;
    /// The nearest float of this type to a constant.
    fn of(self, value: f64) -> Self;
    fn abs(self) -> Self;
    /// The nearest number from `low` to `high`; of NaN, NaN.
    fn clamp(self, low: Self, high: Self) -> Self;
    /// The larger of two numbers; NaN if one is.
    fn maximum(self, other: Self) -> Self;
    fn round_ties_even(self) -> Self;
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    fn less(self, other: Self) -> Self::Truth;
    fn at_most(self, other: Self) -> Self::Truth;
    fn equals(self, other: Self) -> Self::Truth;
    fn to_bits(self) -> Self::Integer;
    fn from_bits(bits: Self::Integer) -> Self;
    /// The nearest float of this type to an integer.
    fn from_integer(value: Self::Integer) -> Self;
    /// The integer that a float is, or whichever is in its stead if none is.
    fn to_integer(self) -> Self::Integer;
    /// The bits as a word.
    fn to_word(self) -> Self::Word;
    /// The nearest float of this type to a word.
    fn of_word(self, word: Self::Word) -> Self;
    /// A word that is small.
    fn small(self, word: Self::Word) -> Self::Integer;
    fn select(condition: Self::Truth, accept: Self, reject: Self) -> Self;
    /// What one of two computes, and the other one need not.
    fn choose(
        condition: Self::Truth,
        accept: impl FnOnce() -> (Self::Word, Self, Self),
        reject: impl FnOnce() -> (Self::Word, Self, Self),
    ) -> (Self::Word, Self, Self);

    /// 2^exponent, if it is a normal number; else whatever.
    fn power_of_two(self, exponent: Self::Integer) -> Self {
        let Format { mantissa, bias, .. } = *self.format();
        let (place, one) = (exponent.of(mantissa.into()), exponent.of((bias as u64) << mantissa));
        Self::from_bits(exponent.up(place).plus(one))
    }

    fn is_sign_negative(self) -> Self::Truth {
        let bits = self.to_bits();
        bits.less(bits.of(0))
    }
}

/// A float of the CPU.
pub(super) trait Native: Real<Truth = bool> + PartialOrd {
    fn is_nan(self) -> bool;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn sqrt(self) -> Self;
}

macro_rules! integer {
    ($($integer:ident in $wide:ident),*) => {$(
        impl Integer for $integer {
            type Truth = bool;

            fn of(self, value: u64) -> Self {
                value as $integer
            }
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn times_high(self, other: Self) -> Self {
                (($wide::from(self) * $wide::from(other)) >> $integer::BITS) as $integer
            }
            fn up(self, by: Self) -> Self {
                self.wrapping_shl(by as u32)
            }
            fn down(self, by: Self) -> Self {
                self.wrapping_shr(by as u32)
            }
            fn leading_zeros(self) -> Self {
                $integer::leading_zeros(self) as $integer
            }
            fn less(self, other: Self) -> bool {
                self < other
            }
            fn equals(self, other: Self) -> bool {
                self == other
            }
            fn select(condition: bool, accept: Self, reject: Self) -> Self {
                if condition { accept } else { reject }
            }
            fn look_up(self, table: &'static [u64]) -> Self {
                table[self as usize] as $integer
            }
        }
    )*};
}

integer!(i32 in i64, i64 in i128, u64 in u128);

macro_rules! real {
    ($float:ident, $bits:ident, $signed:ident, $format:ident) => {
        impl Real for $float {
            type Truth = bool;
            type Integer = $signed;
            type Word = u64;

            fn format(self) -> &'static Format {
                &$format
            }
            fn of(self, value: f64) -> Self {
                value as $float
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn clamp(self, low: Self, high: Self) -> Self {
                self.clamp(low, high)
            }
            fn maximum(self, other: Self) -> Self {
                if other < self || self.is_nan() {
                    self
                } else {
                    other
                }
            }
            fn round_ties_even(self) -> Self {
                self.round_ties_even()
            }
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            fn less(self, other: Self) -> bool {
                self < other
            }
            fn at_most(self, other: Self) -> bool {
                self <= other
            }
            fn equals(self, other: Self) -> bool {
                self == other
            }
            fn to_bits(self) -> $signed {
                self.to_bits() as $signed
            }
            fn from_bits(bits: $signed) -> Self {
                $float::from_bits(bits as $bits)
            }
            fn from_integer(value: $signed) -> Self {
                value as $float
            }
            fn to_integer(self) -> $signed {
                self as $signed
            }
            fn to_word(self) -> u64 {
                self.to_bits().into()
            }
            fn of_word(self, word: u64) -> Self {
                word as $float
            }
            fn small(self, word: u64) -> $signed {
                word as $signed
            }
            fn select(condition: bool, accept: Self, reject: Self) -> Self {
                if condition { accept } else { reject }
            }
            fn choose(
                condition: bool,
                accept: impl FnOnce() -> (u64, Self, Self),
                reject: impl FnOnce() -> (u64, Self, Self),
            ) -> (u64, Self, Self) {
                if condition { accept() } else { reject() }
            }
        }

        impl Native for $float {
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            fn floor(self) -> Self {
                self.floor()
            }
            fn ceil(self) -> Self {
                self.ceil()
            }
            fn trunc(self) -> Self {
                self.trunc()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
        }
    };
}

real!(f32, u32, i32, SINGLE);
real!(f64, u64, i64, DOUBLE);
