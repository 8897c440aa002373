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

/// `high + low` for a `high` that is not smaller, as the nearest number and what that lacks.
fn sum<R: Real>(high: R, low: R) -> (R, R) {
    let whole = high + low;
    (whole, (high - whole) + low)
}

/// The product of two such sums.
fn product<R: Real>(a: (R, R), b: (R, R)) -> (R, R) {
    let whole = a.0 * b.0;
    (whole, a.0.mul_add(b.0, -whole) + a.0.mul_add(b.1, a.1 * b.0))
}

pub(super) fn tanh<R: Real>(x: R) -> R {
    if x.is_nan() {
        return x + R::INFINITY;
    }
    let magnitude = x.abs();
    let value = if magnitude >= R::TANH_ONE {
        R::ONE
    } else {
        // t = e^(2|x|) - 1 = 2^n - 1 + 2^n * (e^r - 1), and the result t / (t + 2): both with what they lack.
        let twice = magnitude + magnitude;
        let n = (twice * R::LOG2E[0]).round_ties_even();
        let rest = n.mul_add(-R::LN2[0], twice);
        let r = n.mul_add(-R::LN2[1], rest);
        let lacks = n.mul_add(-R::LN2[1], rest - r);
        let tail = polynomial(r, R::TERMS[0] - 2, |k| INVERSE_FACTORIALS[k + 2]);
        let (high, low) = sum(r, (r * r).mul_add(tail, lacks));
        let scale = R::power_of_two(n.to_i32());
        let (t, t_low) = sum(scale - R::ONE, scale * high);
        // n is 0 for the smallest: then the larger part is not the first.
        let (t, t_low) = if n == R::ZERO {
            (high, low)
        } else {
            (t, t_low + scale * low)
        };
        let two = R::of(2.0);
        let (over, over_low) = if t > two { sum(t, two) } else { sum(two, t) };
        let quotient = t / over;
        let left = quotient.mul_add(-over, t) + quotient.mul_add(-(over_low + t_low), t_low);
        quotient + left / over
    };
    if x.is_sign_negative() { -value } else { value }
}

/// The logarithm to base 2 of a positive finite x, as the nearest number and what that lacks.
fn precise_log2<R: Real>(x: R) -> (R, R) {
    let (normal, shift) = if x < R::power_of_two(1 - R::BIAS) {
        (x * R::power_of_two(R::MANTISSA), R::MANTISSA)
    } else {
        (x, 0)
    };
    let (m, exponent) = normal.split();
    let n = R::of(f64::from(exponent - shift));
    let f = m - R::ONE;
    // As in `split_ln`, ln(1 + f) = 2 s (1 + s^2 (1/3 + s^2/5 + …)) for s = f / (2 + f), but all with what they lack.
    let (over, over_low) = sum(R::of(2.0), f);
    let s = f / over;
    let s = (s, s.mul_add(-over_low, s.mul_add(-over, f)) / over);
    let z = product(s, s);
    let series = polynomial(z.0, R::TERMS[1], |k| 1.0 / (2 * k + 5) as f64);
    let (term, term_low) = product(z, (series, R::ZERO));
    let (third, third_low) = sum(R::THIRD[0], term);
    let series = product(s, product(z, (third, third_low + (term_low + R::THIRD[1]))));
    let (ln, ln_low) = sum(s.0, series.0);
    let half = product((ln, ln_low + (s.1 + series.1)), (R::LOG2E[0], R::LOG2E[1]));
    let (log, low) = sum(n, half.0 + half.0);
    (log, low + (half.1 + half.1))
}

/// Whether y is an integer, and whether it is an odd one.
fn parity<R: Real>(y: R) -> (bool, bool) {
    let is_integer = y == y.round_ties_even();
    let half = R::of(0.5) * y;
    (is_integer, is_integer && half != half.round_ties_even())
}

pub(super) fn power<R: Real>(x: R, y: R) -> R {
    if x == R::ONE || y == R::ZERO {
        return R::ONE;
    }
    if x.is_nan() || y.is_nan() {
        return x + y;
    }
    let magnitude = x.abs();
    let (is_integer, is_odd) = parity(y);
    let value = if magnitude == R::ZERO || magnitude == R::INFINITY || y.abs() == R::INFINITY {
        if magnitude == R::ONE {
            R::ONE
        } else if (magnitude < R::ONE) == (y < R::ZERO) {
            R::INFINITY
        } else {
            R::ZERO
        }
    } else if x < R::ZERO && !is_integer {
        return R::NAN;
    } else {
        let (log, log_low) = precise_log2(magnitude);
        let high = y * log;
        let [_, (infinite, zero)] = R::EXP_RANGE;
        // Within 1 of the ends of the range, what `high` lacks decides.
        if high >= infinite + R::ONE {
            R::INFINITY
        } else if high <= zero - R::ONE {
            R::ZERO
        } else {
            let low = y.mul_add(log, -high) + y * log_low;
            let n = high.round_ties_even();
            let (rest, rest_low) = sum(high - n, low);
            let high = rest.mul_add(R::LN2[0], rest * R::LN2[1]);
            let lacks = rest.mul_add(R::LN2[0], -high) + rest.mul_add(R::LN2[1], rest_low * R::LN2[0]);
            scaled_exp(high, lacks, n.to_i32())
        }
    };
    if x.is_sign_negative() && is_odd { -value } else { value }
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
