//! Exponential functions, logarithms, sine and cosine as fixed sequences of IEEE operations, so that they have the same
//! bits wherever they are computed. `cuda/prelude/functions.rs` is the same text for the GPU: change both.
//!
//! Each function reduces its argument to a short interval around 0 and sums the power series there.

use super::real::Real;

/// 1/k! for k = 0, 1, …
const INVERSE_FACTORIALS: [f64; 18] = {
    let mut table = [1.0; 18];
    let mut factorial = 1u64;
    let mut k = 1;
    while k < 18 {
        factorial *= k as u64;
        table[k] = 1.0 / factorial as f64;
        k += 1;
    }
    table
};

/// `sum of coefficient(k) * x^k` for k below `terms`.
fn polynomial<R: Real>(x: R, terms: usize, coefficient: impl Fn(usize) -> f64) -> R {
    (0..terms - 1).rev().fold(R::of(coefficient(terms - 1)), |sum, k| {
        sum.mul_add(x, R::of(coefficient(k)))
    })
}

/// `e^(high + low) * 2^exponent` for |high| up to ln(2)/2 and a tiny `low`.
fn scaled_exp<R: Real>(high: R, low: R, exponent: i32) -> R {
    let terms = R::TERMS[0];
    // 1 + x + x^2 * (1/2! + x/3! + …)
    let tail = polynomial(high, terms - 2, |k| INVERSE_FACTORIALS[k + 2]);
    let value = R::ONE + (high + (high * high).mul_add(tail, low));
    // In two steps, each by a normal number: only the second can round, where the result is subnormal.
    let half = exponent >> 1;
    value * R::power_of_two(half) * R::power_of_two(exponent - half)
}

pub(super) fn exp<R: Real>(x: R) -> R {
    let [(infinite, zero), _] = R::EXP_RANGE;
    if x.is_nan() || x >= infinite {
        return x + R::INFINITY;
    }
    if x <= zero {
        return R::ZERO;
    }
    let n = (x * R::LOG2E[0]).round_ties_even();
    let rest = n.mul_add(-R::LN2[0], x);
    let high = n.mul_add(-R::LN2[1], rest);
    scaled_exp(high, n.mul_add(-R::LN2[1], rest - high), n.to_i32())
}

pub(super) fn exp2<R: Real>(x: R) -> R {
    let [_, (infinite, zero)] = R::EXP_RANGE;
    if x.is_nan() || x >= infinite {
        return x + R::INFINITY;
    }
    if x <= zero {
        return R::ZERO;
    }
    let n = x.round_ties_even();
    let rest = x - n;
    let high = rest.mul_add(R::LN2[0], rest * R::LN2[1]);
    let low = rest.mul_add(R::LN2[0], -high) + rest * R::LN2[1];
    scaled_exp(high, low, n.to_i32())
}

/// `x = 2^n * (1 + f)`: n and the natural logarithm of 1 + f as a sum of two, the second tiny.
fn split_ln<R: Real>(x: R) -> (R, R, R) {
    let (normal, shift) = if x < R::power_of_two(1 - R::BIAS) {
        (x * R::power_of_two(R::MANTISSA), R::MANTISSA)
    } else {
        (x, 0)
    };
    let (m, exponent) = normal.split();
    let f = m - R::ONE;
    // With s = f / (2 + f), ln(1 + f) = 2 (s + s^3/3 + s^5/5 + …) = f - f^2/2 + s (f^2/2 + 2 (s^2/3 + s^4/5 + …)).
    let s = f / (R::of(2.0) + f);
    let z = s * s;
    let series = z * polynomial(z, R::TERMS[1], |k| 2.0 / (2 * k + 3) as f64);
    let half_square = R::of(0.5) * f * f;
    let high = f - half_square;
    let low = s.mul_add(half_square + series, (f - high) - half_square);
    (R::of(f64::from(exponent - shift)), high, low)
}

/// What a logarithm of x is where no number is its logarithm, or x is infinite.
fn special_logarithm<R: Real>(x: R) -> Option<R> {
    if x.is_nan() || x < R::ZERO {
        Some(R::NAN)
    } else if x == R::ZERO {
        Some(-R::INFINITY)
    } else if x == R::INFINITY {
        Some(x)
    } else {
        None
    }
}

pub(super) fn ln<R: Real>(x: R) -> R {
    if let Some(special) = special_logarithm(x) {
        return special;
    }
    let (n, high, low) = split_ln(x);
    n.mul_add(R::LN2[0], high + n.mul_add(R::LN2[1], low))
}

pub(super) fn log2<R: Real>(x: R) -> R {
    if let Some(special) = special_logarithm(x) {
        return special;
    }
    let (n, high, low) = split_ln(x);
    n + high.mul_add(R::LOG2E[0], low.mul_add(R::LOG2E[0], high * R::LOG2E[1]))
}

/// The bits of 2/pi, after 64 zeros.
pub(crate) const TWO_OVER_PI: [u64; 20] = [
    0x0000000000000000,
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
];

/// A finite |x| as `quadrant * pi/2 + high + low` with |high| up to pi/4 and a tiny `low`.
fn quadrant<R: Real>(x: R) -> (u64, R, R) {
    let (m, exponent) = x.integer_and_exponent();
    // The bits of 2/pi before `first` only add multiples of 4 to x * 2/pi. Of the product with the next 192 bits, modulo
    // 2^192, the upper two are the quadrant, and of the rest 126 are as good as exact.
    let first = (exponent + 62) as usize;
    let (word, shift) = (first / 64, first as u32 % 64);
    let window = |k: usize| {
        let next = TWO_OVER_PI[word + k + 1];
        (TWO_OVER_PI[word + k] << shift) | (next >> 1 >> (63 - shift))
    };
    let (w0, w1, w2) = (window(0), window(1), window(2));
    let high_of = |word: u64| ((u128::from(m) * u128::from(word)) >> 64) as u64;
    let middle = m.wrapping_mul(w1);
    let (middle, carry) = middle.overflowing_add(high_of(w2));
    let upper = m.wrapping_mul(w0).wrapping_add(high_of(w1)).wrapping_add(carry.into());
    let fraction = [(upper << 2) | (middle >> 62), middle << 2];
    // From a half on, the distance to the next quadrant, which is negative.
    let is_negative = fraction[0] >> 63 == 1;
    let [high, low] = if is_negative {
        [!fraction[0], !fraction[1]]
    } else {
        fraction
    };
    let zeros = high.leading_zeros().min(63);
    let digits = (high << zeros) | (low >> 1 >> (63 - zeros));
    let unit = R::power_of_two(-64 - zeros as i32);
    let unit = if is_negative { -unit } else { unit };
    let lost = digits & ((1 << (63 - R::MANTISSA)) - 1);
    let (digits, lost) = (R::from_u64(digits - lost) * unit, R::from_u64(lost) * unit);
    let high = digits * R::HALF_PI[0];
    let low = digits.mul_add(R::HALF_PI[0], -high) + digits.mul_add(R::HALF_PI[1], lost * R::HALF_PI[0]);
    ((upper >> 62) + u64::from(is_negative), high, low)
}

/// The sine of |x| shifted by a number of quadrants.
fn sine_from<R: Real>(x: R, shift: u64) -> R {
    // Not of the infinite, nor of NaN.
    if x.is_nan() || x.abs() == R::INFINITY {
        return R::NAN;
    }
    let (quadrant, r, low) = if x.abs() <= R::of(0.75) {
        (0, x.abs(), R::ZERO)
    } else {
        quadrant(x)
    };
    let z = r * r;
    let quadrant = quadrant + shift;
    let value = if quadrant.is_multiple_of(2) {
        let series = polynomial(z, R::TERMS[2] - 1, |k| alternating(k + 1, 2 * k + 3));
        r + (r * z).mul_add(series, low)
    } else {
        let series = polynomial(z, R::TERMS[3] - 1, |k| alternating(k + 1, 2 * k + 2));
        R::ONE + z.mul_add(series, -(r * low))
    };
    if quadrant % 4 >= 2 { -value } else { value }
}

/// The inverse factorial of `of`, negative for odd k.
fn alternating(k: usize, of: usize) -> f64 {
    if k % 2 == 1 {
        -INVERSE_FACTORIALS[of]
    } else {
        INVERSE_FACTORIALS[of]
    }
}

pub(super) fn sin<R: Real>(x: R) -> R {
    let value = sine_from(x, 0);
    if x.is_sign_negative() { -value } else { value }
}

pub(super) fn cos<R: Real>(x: R) -> R {
    sine_from(x, 1)
}
