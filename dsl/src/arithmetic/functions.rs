//! Exponential functions, logarithms, sine and cosine as fixed sequences of IEEE operations, so that they have the same
//! bits wherever they are computed: on the CPU, or by a kernel that the same text [makes](crate::thread) of them.
//!
//! Each function reduces its argument to a short interval around 0 and sums a [series](super::series) there. What has no place
//! there is computed as well, and then something else selected.

use super::real::{Format, Integer, Real};
use super::series::INVERSE_FACTORIALS;

/// `sum of coefficient(k) * x^k` for k below `terms`.
fn polynomial<R: Real>(x: R, terms: usize, coefficient: impl Fn(usize) -> f64) -> R {
    (0..terms - 1).rev().fold(x.of(coefficient(terms - 1)), |sum, k| {
        sum.mul_add(x, x.of(coefficient(k)))
    })
}

/// `1/2! + x/3! + …`, of which e^x is `1 + x + x^2 * (…)`.
fn exp_tail<R: Real>(x: R) -> R {
    polynomial(x, x.format().terms[0] - 2, |k| INVERSE_FACTORIALS[k + 2])
}

/// `e^(high + low) * 2^exponent` for |high| up to ln(2)/2 and a tiny `low`.
fn scaled_exp<R: Real>(high: R, low: R, exponent: R::Integer) -> R {
    let value = high.of(1.0) + (high + (high * high).mul_add(exp_tail(high), low));
    scaled(value, exponent)
}

/// `value * 2^exponent`, of which only the low bits count.
fn scaled<R: Real>(value: R, exponent: R::Integer) -> R {
    // In two steps, each by a normal number: only the second can round, where the result is subnormal.
    let half = exponent.down(exponent.of(1));
    value * value.power_of_two(half) * value.power_of_two(exponent.minus(half))
}

/// `x - n * ln(2)`, as the nearest number and what that lacks.
fn without_powers<R: Real>(x: R, n: R) -> (R, R) {
    let [ln2, ln2_low] = x.format().ln2.map(|part| x.of(-part));
    let rest = n.mul_add(ln2, x);
    let high = n.mul_add(ln2_low, rest);
    (high, n.mul_add(ln2_low, rest - high))
}

pub(crate) fn exp<R: Real>(x: R) -> R {
    let Format { exp_range, anchor, .. } = *x.format();
    let x = within(x, exp_range[0]);
    exp_from(x, (anchor, 1.0), |value, sum| scaled(value, sum.to_bits()))
}

pub(crate) fn exp2<R: Real>(x: R) -> R {
    let Format { exp_range, anchor, .. } = *x.format();
    let x = within(x, exp_range[1]);
    exp2_from(x, (anchor, 1.0), |value, sum| scaled(value, sum.to_bits()))
}

/// [`exp`] of an x that is at most 0 or NaN, in fewer operations: the powers of two of results are in half the range.
pub(crate) fn exp_of_nonpositive<R: Real>(x: R) -> R {
    let x = x.maximum(x.of(x.format().exp_range[0].1));
    exp_from(x, lifted(x), |value, sum| value * power_in_place(sum))
}

/// [`exp2`] of an x that is at most 0 or NaN.
pub(crate) fn exp2_of_nonpositive<R: Real>(x: R) -> R {
    let x = x.maximum(x.of(x.format().exp_range[1].1));
    exp2_from(x, lifted(x), |value, sum| value * power_in_place(sum))
}

/// e^x of an x in its range: the integer that is nearest to `x * log2(e)` stands in the low bits of its sum with `anchor`, by which `scaled`
/// makes the result of `factor`, a power of two, times e to what is left.
fn exp_from<R: Real>(x: R, (anchor, factor): (f64, f64), scaled: impl FnOnce(R, R) -> R) -> R {
    let Format { log2e, exp, .. } = *x.format();
    let anchor = x.of(anchor);
    let sum = x.mul_add(x.of(log2e[0]), anchor);
    let (rest, _) = without_powers(x, sum - anchor);
    scaled(polynomial(rest, exp[0].len(), |k| factor * exp[0][k]), sum)
}

/// 2^x, likewise.
fn exp2_from<R: Real>(x: R, (anchor, factor): (f64, f64), scaled: impl FnOnce(R, R) -> R) -> R {
    let Format { exp, .. } = *x.format();
    let anchor = x.of(anchor);
    let sum = x + anchor;
    let rest = x - (sum - anchor);
    scaled(polynomial(rest, exp[1].len(), |k| factor * exp[1][k]), sum)
}

/// The anchor by which the low bits of a sum are the exponent's of a normal number, as much larger as the second number, a power of two,
/// makes up for: multiplied by it the terms that a result is made of are normal numbers, so that all have the same bits but for the exponent.
/// It is even where the other one is: of two integers that are equally near the sum has the same one.
fn lifted<R: Real>(x: R) -> (f64, f64) {
    let Format { anchor, bias, .. } = *x.format();
    let lift = bias / 2;
    (
        anchor + (bias + lift) as f64,
        f64::from_bits(((1023 - lift) as u64) << 52),
    )
}

/// The power of two whose exponent is in a sum's low bits, as it stands in a number.
fn power_in_place<R: Real>(sum: R) -> R {
    let bits = sum.to_bits();
    R::from_bits(bits.up(bits.of(sum.format().mantissa.into())))
}

/// `x / divisor` of an x from 2⁻⁸⁰ on, by a divisor from 1 to 2⁴⁴ whose mantissa is not all ones: exactly rounded, as a quotient near
/// enough becomes by what it lacks and the nearest reciprocal (Markstein, IBM Journal of Research and Development 34, 1990).
pub(crate) fn quotient_of_large<R: Real>(x: R, divisor: f32) -> R {
    let (reciprocal, negative) = (x.of((1.0 / divisor).into()), x.of((-divisor).into()));
    let near = x * reciprocal;
    let quotient = near.mul_add(negative, x).mul_add(reciprocal, near);
    R::select(x.equals(x.of(f64::INFINITY)), x, quotient)
}

/// The nearest number in a range beyond which an exponential function has what it has at its ends: infinity, or 0.
fn within<R: Real>(x: R, (infinite, zero): (f64, f64)) -> R {
    x.clamp(x.of(zero), x.of(infinite))
}

/// A positive finite x as `2^n * m` with m between sqrt(1/2) and sqrt(2): n and m.
fn split<R: Real>(x: R) -> (R, R) {
    let Format {
        mantissa,
        bias,
        sqrt_half,
        ..
    } = *x.format();
    let power = |exponent: i64| x.of(f64::from_bits(((exponent + 1023) as u64) << 52));
    let is_subnormal = x.less(power(1 - bias));
    let normal = R::select(is_subnormal, x * power(mantissa.into()), x);
    let bits = normal.to_bits();
    let place = bits.of(mantissa.into());
    let exponent = bits.minus(bits.of(sqrt_half as u64)).down(place);
    let m = R::from_bits(bits.minus(exponent.up(place)));
    let shift = R::select(is_subnormal, x.of(mantissa.into()), x.of(0.0));
    (R::from_integer(exponent) - shift, m)
}

/// `x = 2^n * (1 + f)`: n and the natural logarithm of 1 + f as a sum of two, the second tiny.
fn split_ln<R: Real>(x: R) -> (R, R, R) {
    let (n, m) = split(x);
    let f = m - x.of(1.0);
    // With s = f / (2 + f), ln(1 + f) = 2 (s + s^3/3 + s^5/5 + …) = f - f^2/2 + s (f^2/2 + 2 (s^2/3 + s^4/5 + …)).
    let s = f / (x.of(2.0) + f);
    let z = s * s;
    let series = z * polynomial(z, x.format().terms[1], |k| 2.0 / (2 * k + 3) as f64);
    let half_square = x.of(0.5) * f * f;
    let high = f - half_square;
    let low = s.mul_add(half_square + series, (f - high) - half_square);
    (n, high, low)
}

/// `value`, which a logarithm has at x, or what it has where x is no positive number.
fn of_positive<R: Real>(x: R, value: R) -> R {
    let (zero, infinity) = (x.of(0.0), x.of(f64::INFINITY));
    let special = R::select(x.equals(infinity), x, x.of(f64::NAN));
    let special = R::select(x.equals(zero), -infinity, special);
    R::select(zero.less(x) & x.less(infinity), value, special)
}

pub(crate) fn ln<R: Real>(x: R) -> R {
    let [ln2, ln2_low] = x.format().ln2.map(|part| x.of(part));
    let (n, high, low) = split_ln(x);
    of_positive(x, n.mul_add(ln2, high + n.mul_add(ln2_low, low)))
}

pub(crate) fn log2<R: Real>(x: R) -> R {
    let [log2e, log2e_low] = x.format().log2e.map(|part| x.of(part));
    let (n, high, low) = split_ln(x);
    of_positive(x, n + high.mul_add(log2e, low.mul_add(log2e, high * log2e_low)))
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

/// `value` with its sign changed where the condition holds.
fn negated_if<R: Real>(condition: R::Truth, value: R) -> R {
    R::select(condition, -value, value)
}

pub(crate) fn tanh<R: Real>(x: R) -> R {
    let Format { log2e, tanh_one, .. } = x.format();
    let (one, two) = (x.of(1.0), x.of(2.0));
    let magnitude = x.abs();
    // t = e^(2|x|) - 1 = 2^n - 1 + 2^n * (e^r - 1), and the result t / (t + 2): both with what they lack.
    let twice = magnitude + magnitude;
    let n = (twice * x.of(log2e[0])).round_ties_even();
    let (r, lacks) = without_powers(twice, n);
    let (high, low) = sum(r, (r * r).mul_add(exp_tail(r), lacks));
    let scale = x.power_of_two(n.to_integer());
    let (t, t_low) = sum(scale - one, scale * high);
    // n is 0 for the smallest: then the larger part is not the first.
    let is_small = n.equals(x.of(0.0));
    let t_low = R::select(is_small, low, t_low + scale * low);
    let t = R::select(is_small, high, t);
    let is_large = two.less(t);
    let (over, over_low) = sum(R::select(is_large, t, two), R::select(is_large, two, t));
    let quotient = t / over;
    let left = quotient.mul_add(-over, t) + quotient.mul_add(-(over_low + t_low), t_low);
    let value = R::select(magnitude.less(x.of(*tanh_one)), quotient + left / over, one);
    let value = negated_if(x.is_sign_negative(), value);
    R::select(x.equals(x), value, x + x.of(f64::INFINITY))
}

/// The logarithm to base 2 of a positive finite x, as the nearest number and what that lacks.
fn precise_log2<R: Real>(x: R) -> (R, R) {
    let Format {
        third, log2e, terms, ..
    } = x.format();
    let (n, m) = split(x);
    let f = m - x.of(1.0);
    // As in `split_ln`, ln(1 + f) = 2 s (1 + s^2 (1/3 + s^2/5 + …)) for s = f / (2 + f), but all with what they lack.
    let (over, over_low) = sum(x.of(2.0), f);
    let s = f / over;
    let s = (s, s.mul_add(-over_low, s.mul_add(-over, f)) / over);
    let z = product(s, s);
    let series = polynomial(z.0, terms[1], |k| 1.0 / (2 * k + 5) as f64);
    let (term, term_low) = product(z, (series, x.of(0.0)));
    let (head, head_low) = sum(x.of(third[0]), term);
    let series = product(s, product(z, (head, head_low + (term_low + x.of(third[1])))));
    let (ln, ln_low) = sum(s.0, series.0);
    let half = product((ln, ln_low + (s.1 + series.1)), (x.of(log2e[0]), x.of(log2e[1])));
    let (log, low) = sum(n, half.0 + half.0);
    (log, low + (half.1 + half.1))
}

/// Whether y is an integer, and whether it is an odd one.
fn parity<R: Real>(y: R) -> (R::Truth, R::Truth) {
    let is_integer = y.equals(y.round_ties_even());
    let half = y.of(0.5) * y;
    (is_integer, is_integer & !half.equals(half.round_ties_even()))
}

/// |x|^y where x is a positive finite number and y a finite one.
fn power_of_magnitude<R: Real>(magnitude: R, y: R) -> R {
    let Format { ln2, exp_range, .. } = y.format();
    let [ln2, ln2_low] = ln2.map(|part| y.of(part));
    let (log, log_low) = precise_log2(magnitude);
    let whole = y * log;
    let low = y.mul_add(log, -whole) + y * log_low;
    let n = whole.round_ties_even();
    let (rest, rest_low) = sum(whole - n, low);
    let high = rest.mul_add(ln2, rest * ln2_low);
    let lacks = rest.mul_add(ln2, -high) + rest.mul_add(ln2_low, rest_low * ln2);
    let value = scaled_exp(high, lacks, n.to_integer());
    // Within 1 of the ends of the range, what `whole` lacks decides.
    let (infinite, zero) = exp_range[1];
    let value = R::select(whole.at_most(y.of(zero - 1.0)), y.of(0.0), value);
    R::select(y.of(infinite + 1.0).at_most(whole), y.of(f64::INFINITY), value)
}

pub(crate) fn power<R: Real>(x: R, y: R) -> R {
    let (zero, one, infinity) = (x.of(0.0), x.of(1.0), x.of(f64::INFINITY));
    let magnitude = x.abs();
    let (is_integer, is_odd) = parity(y);
    let is_extreme = magnitude.equals(zero) | magnitude.equals(infinity) | y.abs().equals(infinity);
    let grows = !(magnitude.less(one) ^ y.less(zero));
    let extreme = R::select(magnitude.equals(one), one, R::select(grows, infinity, zero));
    let value = R::select(is_extreme, extreme, power_of_magnitude(magnitude, y));
    let value = negated_if(x.is_sign_negative() & is_odd, value);
    let value = R::select(x.less(zero) & !is_integer & !is_extreme, x.of(f64::NAN), value);
    let value = R::select(x.equals(x) & y.equals(y), value, x + y);
    R::select(x.equals(one) | y.equals(zero), one, value)
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

/// A finite x of more than a half as `quadrant * pi/2 + high + low` with |high| up to pi/4 and a tiny `low`.
fn quadrant<R: Real>(x: R) -> (R::Word, R, R) {
    let Format {
        mantissa,
        bias,
        half_pi,
        ..
    } = *x.format();
    let bits = x.to_word();
    let word = |value: u64| bits.of(value);
    let hidden = 1u64 << mantissa;
    let m = (bits & word(hidden - 1)) | word(hidden);
    // The bits of 2/pi before `first` only add multiples of 4 to x * 2/pi. Of the product with the next 192 bits,
    // modulo 2^192, the upper two are the quadrant, and of the rest 126 are as good as exact.
    let first = bits
        .down(word(mantissa.into()))
        .plus(word((62 - bias - i64::from(mantissa)) as u64));
    let (at, shift) = (first.down(word(6)), first & word(63));
    let opposite = word(63).minus(shift);
    let table = [0, 1, 2, 3].map(|k| at.plus(word(k)).look_up(&TWO_OVER_PI));
    let window = |k: usize| table[k].up(shift) | table[k + 1].down(word(1)).down(opposite);
    let (w0, w1, w2) = (window(0), window(1), window(2));
    let lower = m.times(w1);
    let middle = lower.plus(m.times_high(w2));
    let carry = R::Word::select(middle.less(lower), word(1), word(0));
    let upper = m.times(w0).plus(m.times_high(w1)).plus(carry);
    let (high, low) = (upper.up(word(2)) | middle.down(word(62)), middle.up(word(2)));
    // From a half on, the distance to the next quadrant, which is negative.
    let is_negative = !high.less(word(1 << 63));
    let high = R::Word::select(is_negative, !high, high);
    let low = R::Word::select(is_negative, !low, low);
    let zeros = high.leading_zeros();
    let zeros = R::Word::select(zeros.less(word(63)), zeros, word(63));
    let digits = high.up(zeros) | low.down(word(1)).down(word(63).minus(zeros));
    let exponent = x.small(word(64).plus(zeros));
    let unit = x.power_of_two(exponent.of(0).minus(exponent));
    let unit = negated_if(is_negative, unit);
    let lost = digits & word((1 << (63 - mantissa)) - 1);
    let (digits, lost) = (x.of_word(digits.minus(lost)) * unit, x.of_word(lost) * unit);
    let [half_pi, half_pi_low] = half_pi.map(|part| x.of(part));
    let high = digits * half_pi;
    let low = digits.mul_add(half_pi, -high) + digits.mul_add(half_pi_low, lost * half_pi);
    let next = R::Word::select(is_negative, word(1), word(0));
    (upper.down(word(62)).plus(next), high, low)
}

/// The sine of |x| shifted by a number of quadrants.
fn sine_from<R: Real>(x: R, shift: u64) -> R {
    let magnitude = x.abs();
    let zero = x.to_word().of(0);
    let (quadrant, r, low) = R::choose(
        magnitude.at_most(x.of(0.75)),
        || (zero, magnitude, x.of(0.0)),
        || quadrant(magnitude),
    );
    let z = r * r;
    let [_, _, sine_terms, cosine_terms] = x.format().terms;
    let sine = polynomial(z, sine_terms - 1, |k| alternating(k + 1, 2 * k + 3));
    let sine = r + (r * z).mul_add(sine, low);
    let cosine = polynomial(z, cosine_terms - 1, |k| alternating(k + 1, 2 * k + 2));
    let cosine = x.of(1.0) + z.mul_add(cosine, -(r * low));
    let quadrant = quadrant.plus(zero.of(shift));
    let is_zero = |bit: u64| (quadrant & zero.of(bit)).equals(zero);
    let value = R::select(is_zero(1), sine, cosine);
    let value = negated_if(!is_zero(2), value);
    // Not of the infinite, nor of NaN.
    R::select(magnitude.less(x.of(f64::INFINITY)), value, x.of(f64::NAN))
}

/// The inverse factorial of `of`, negative for odd k.
fn alternating(k: usize, of: usize) -> f64 {
    if k % 2 == 1 {
        -INVERSE_FACTORIALS[of]
    } else {
        INVERSE_FACTORIALS[of]
    }
}

pub(crate) fn sin<R: Real>(x: R) -> R {
    negated_if(x.is_sign_negative(), sine_from(x, 0))
}

pub(crate) fn cos<R: Real>(x: R) -> R {
    sine_from(x, 1)
}
