//! `arithmetic/functions.rs` for the GPU, operation by operation: change both.

pub(super) const FUNCTIONS: &str = r#"template <class T> struct tw_real;
template <> struct tw_real<float> {
  static constexpr int mantissa = 23, bias = 127, exp_terms = 8, ln_terms = 5, sin_terms = 5, cos_terms = 6;
  static constexpr float exp_infinite = 89.0f, exp_zero = -104.0f, exp2_infinite = 128.0f, exp2_zero = -150.0f;
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float log2e_high = 0x1.715476p+0f, log2e_low = 0x1.4ae0cp-26f;
  static constexpr float half_pi_high = 0x1.921fb6p+0f, half_pi_low = -0x1.777a5cp-25f;
  static constexpr float third_high = 0x1.555556p-2f, third_low = -0x1.555556p-27f, tanh_one = 9.25f;
};
template <> struct tw_real<double> {
  static constexpr int mantissa = 52, bias = 1023, exp_terms = 14, ln_terms = 11, sin_terms = 9, cos_terms = 9;
  static constexpr double exp_infinite = 710.0, exp_zero = -746.0, exp2_infinite = 1024.0, exp2_zero = -1075.0;
  static constexpr double ln2_high = 0x1.62e42fefa2p-1, ln2_low = 0x1.9ef35793c7673p-41;
  static constexpr double log2e_high = 0x1.71547652b82fep+0, log2e_low = 0x1.777d0ffda0d24p-56;
  static constexpr double half_pi_high = 0x1.921fb54442d18p+0, half_pi_low = 0x1.1a62633145c07p-54;
  static constexpr double third_high = 0x1.5555555555555p-2, third_low = 0x1.5555555555555p-56, tanh_one = 20.0;
};
static __device__ __forceinline__ float tw_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
static __device__ __forceinline__ double tw_fma(double a, double b, double c) { return __fma_rn(a, b, c); }
static __device__ __forceinline__ float tw_rint(float x) { return rintf(x); }
static __device__ __forceinline__ double tw_rint(double x) { return rint(x); }
static __device__ __forceinline__ int tw_bits(float x) { return __float_as_int(x); }
static __device__ __forceinline__ long long tw_bits(double x) { return __double_as_longlong(x); }
static __device__ __forceinline__ float tw_from_bits(int b) { return __int_as_float(b); }
static __device__ __forceinline__ double tw_from_bits(long long b) { return __longlong_as_double(b); }
template <class T> static __device__ __forceinline__ T tw_infinity() { return sizeof(T) == 4 ? (T)__int_as_float(0x7f800000) : (T)__longlong_as_double(0x7ff0000000000000LL); }
template <class T> static __device__ __forceinline__ T tw_power_of_two(int exponent) {
  return tw_from_bits((decltype(tw_bits((T)0)))(exponent + tw_real<T>::bias) << tw_real<T>::mantissa);
}
static __device__ const double tw_inverse_factorials[18] = {
  1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40320.0, 1.0 / 362880.0,
  1.0 / 3628800.0, 1.0 / 39916800.0, 1.0 / 479001600.0, 1.0 / 6227020800.0, 1.0 / 87178291200.0, 1.0 / 1307674368000.0,
  1.0 / 20922789888000.0, 1.0 / 355687428096000.0
};
template <int TERMS, class T, class C> static __device__ __forceinline__ T tw_polynomial(T x, C coefficient) {
  T sum = (T)coefficient(TERMS - 1);
#pragma unroll
  for (int k = TERMS - 2; k >= 0; --k) sum = tw_fma(sum, x, (T)coefficient(k));
  return sum;
}
template <class T> static __device__ __forceinline__ T tw_scaled_exp(T high, T low, int exponent) {
  const T tail = tw_polynomial<tw_real<T>::exp_terms - 2>(high, [](int k) { return tw_inverse_factorials[k + 2]; });
  const T value = (T)1 + (high + tw_fma(high * high, tail, low));
  const int half = exponent >> 1;
  return value * tw_power_of_two<T>(half) * tw_power_of_two<T>(exponent - half);
}
template <class T> static __device__ __forceinline__ T tw_exp(T x) {
  typedef tw_real<T> R;
  if (x != x || x >= R::exp_infinite) return x + tw_infinity<T>();
  if (x <= R::exp_zero) return (T)0;
  const T n = tw_rint(x * R::log2e_high);
  const T rest = tw_fma(n, -R::ln2_high, x);
  const T high = tw_fma(n, -R::ln2_low, rest);
  return tw_scaled_exp(high, tw_fma(n, -R::ln2_low, rest - high), (int)n);
}
template <class T> static __device__ __forceinline__ T tw_exp2(T x) {
  typedef tw_real<T> R;
  if (x != x || x >= R::exp2_infinite) return x + tw_infinity<T>();
  if (x <= R::exp2_zero) return (T)0;
  const T n = tw_rint(x), rest = x - n;
  const T high = tw_fma(rest, R::ln2_high, rest * R::ln2_low);
  const T low = tw_fma(rest, R::ln2_high, -high) + rest * R::ln2_low;
  return tw_scaled_exp(high, low, (int)n);
}
template <class T> static __device__ __forceinline__ void tw_split_ln(T x, T& n, T& high, T& low) {
  typedef tw_real<T> R;
  const bool subnormal = x < tw_power_of_two<T>(1 - R::bias);
  const auto bits = tw_bits(subnormal ? x * tw_power_of_two<T>(R::mantissa) : x);
  const auto sqrt_half = sizeof(T) == 4 ? (decltype(bits))0x3f3504f3 : (decltype(bits))0x3fe6a09e667f3bcdLL;
  const auto exponent = (bits - sqrt_half) >> R::mantissa;
  const T f = tw_from_bits(bits - exponent * ((decltype(bits))1 << R::mantissa)) - (T)1;
  const T s = f / ((T)2 + f);
  const T z = s * s;
  const T series = z * tw_polynomial<R::ln_terms>(z, [](int k) { return 2.0 / (2 * k + 3); });
  const T half_square = (T)0.5 * f * f;
  n = (T)((int)exponent - (subnormal ? R::mantissa : 0));
  high = f - half_square;
  low = tw_fma(s, half_square + series, (f - high) - half_square);
}
template <class T> static __device__ __forceinline__ bool tw_special_logarithm(T x, T& special) {
  special = x == (T)0 ? -tw_infinity<T>() : x == tw_infinity<T>() ? x : tw_infinity<T>() - tw_infinity<T>();
  return !(x > (T)0 && x < tw_infinity<T>());
}
template <class T> static __device__ __forceinline__ T tw_ln(T x) {
  T special, n, high, low;
  if (tw_special_logarithm(x, special)) return special;
  tw_split_ln(x, n, high, low);
  return tw_fma(n, tw_real<T>::ln2_high, high + tw_fma(n, tw_real<T>::ln2_low, low));
}
template <class T> static __device__ __forceinline__ T tw_log2(T x) {
  typedef tw_real<T> R;
  T special, n, high, low;
  if (tw_special_logarithm(x, special)) return special;
  tw_split_ln(x, n, high, low);
  return n + tw_fma(high, R::log2e_high, tw_fma(low, R::log2e_high, high * R::log2e_low));
}
"#;

pub(super) const POWERS: &str = r#"template <class T> struct tw_pair {
  T high, low;
};
template <class T> static __device__ __forceinline__ tw_pair<T> tw_sum(T high, T low) {
  const T whole = high + low;
  return {whole, (high - whole) + low};
}
template <class T> static __device__ __forceinline__ tw_pair<T> tw_product(tw_pair<T> a, tw_pair<T> b) {
  const T whole = a.high * b.high;
  return {whole, tw_fma(a.high, b.high, -whole) + tw_fma(a.high, b.low, a.low * b.high)};
}
template <class T> static __device__ __forceinline__ bool tw_signbit(T x) { return tw_bits(x) < 0; }
template <class T> static __device__ __forceinline__ T tw_magnitude(T x) { return tw_signbit(x) ? -x : x; }
template <class T> static __device__ __forceinline__ T tw_tanh(T x) {
  typedef tw_real<T> R;
  if (x != x) return x + tw_infinity<T>();
  const T magnitude = tw_magnitude(x);
  T value = (T)1;
  if (magnitude < R::tanh_one) {
    const T twice = magnitude + magnitude;
    const T n = tw_rint(twice * R::log2e_high);
    const T rest = tw_fma(n, -R::ln2_high, twice);
    const T r = tw_fma(n, -R::ln2_low, rest);
    const T lacks = tw_fma(n, -R::ln2_low, rest - r);
    const T tail = tw_polynomial<R::exp_terms - 2>(r, [](int k) { return tw_inverse_factorials[k + 2]; });
    const tw_pair<T> e = tw_sum(r, tw_fma(r * r, tail, lacks));
    const T scale = tw_power_of_two<T>((int)n);
    const tw_pair<T> scaled = tw_sum(scale - (T)1, scale * e.high);
    const tw_pair<T> t = n == (T)0 ? e : tw_pair<T>{scaled.high, scaled.low + scale * e.low};
    const tw_pair<T> over = t.high > (T)2 ? tw_sum(t.high, (T)2) : tw_sum((T)2, t.high);
    const T quotient = t.high / over.high;
    const T left = tw_fma(quotient, -over.high, t.high) + tw_fma(quotient, -(over.low + t.low), t.low);
    value = quotient + left / over.high;
  }
  return tw_signbit(x) ? -value : value;
}
template <class T> static __device__ __forceinline__ tw_pair<T> tw_precise_log2(T x) {
  typedef tw_real<T> R;
  const bool subnormal = x < tw_power_of_two<T>(1 - R::bias);
  const auto bits = tw_bits(subnormal ? x * tw_power_of_two<T>(R::mantissa) : x);
  const auto sqrt_half = sizeof(T) == 4 ? (decltype(bits))0x3f3504f3 : (decltype(bits))0x3fe6a09e667f3bcdLL;
  const auto exponent = (bits - sqrt_half) >> R::mantissa;
  const T n = (T)((int)exponent - (subnormal ? R::mantissa : 0));
  const T f = tw_from_bits(bits - exponent * ((decltype(bits))1 << R::mantissa)) - (T)1;
  const tw_pair<T> over = tw_sum((T)2, f);
  const T quotient = f / over.high;
  const tw_pair<T> s = {quotient, tw_fma(quotient, -over.low, tw_fma(quotient, -over.high, f)) / over.high};
  const tw_pair<T> z = tw_product(s, s);
  const T tail = tw_polynomial<R::ln_terms>(z.high, [](int k) { return 1.0 / (2 * k + 5); });
  const tw_pair<T> term = tw_product(z, tw_pair<T>{tail, (T)0});
  const tw_pair<T> third = tw_sum(R::third_high, term.high);
  const tw_pair<T> series = tw_product(s, tw_product(z, tw_pair<T>{third.high, third.low + (term.low + R::third_low)}));
  const tw_pair<T> ln = tw_sum(s.high, series.high);
  const tw_pair<T> half = tw_product(tw_pair<T>{ln.high, ln.low + (s.low + series.low)}, tw_pair<T>{R::log2e_high, R::log2e_low});
  const tw_pair<T> log = tw_sum(n, half.high + half.high);
  return {log.high, log.low + (half.low + half.low)};
}
template <class T> static __device__ __noinline__ T tw_power(T x, T y) {
  typedef tw_real<T> R;
  if (x == (T)1 || y == (T)0) return (T)1;
  if (x != x || y != y) return x + y;
  const T magnitude = tw_magnitude(x), infinity = tw_infinity<T>();
  const bool integer = y == tw_rint(y);
  const T half = (T)0.5 * y;
  const bool odd = integer && half != tw_rint(half);
  T value;
  if (magnitude == (T)0 || magnitude == infinity || tw_magnitude(y) == infinity) {
    value = magnitude == (T)1 ? (T)1 : (magnitude < (T)1) == (y < (T)0) ? infinity : (T)0;
  } else if (x < (T)0 && !integer) {
    return infinity - infinity;
  } else {
    const tw_pair<T> log = tw_precise_log2(magnitude);
    const T whole = y * log.high;
    if (whole >= R::exp2_infinite + (T)1) {
      value = infinity;
    } else if (whole <= R::exp2_zero - (T)1) {
      value = (T)0;
    } else {
      const T low = tw_fma(y, log.high, -whole) + y * log.low;
      const T n = tw_rint(whole);
      const tw_pair<T> rest = tw_sum(whole - n, low);
      const T high = tw_fma(rest.high, R::ln2_high, rest.high * R::ln2_low);
      const T lacks = tw_fma(rest.high, R::ln2_high, -high) + tw_fma(rest.high, R::ln2_low, rest.low * R::ln2_high);
      value = tw_scaled_exp(high, lacks, (int)n);
    }
  }
  return tw_signbit(x) && odd ? -value : value;
}
"#;

pub(super) const TRIGONOMETRY: &str = r#"static __device__ const unsigned long long tw_two_over_pi[20] = {
  0x0000000000000000ULL, 0xa2f9836e4e441529ULL, 0xfc2757d1f534ddc0ULL, 0xdb6295993c439041ULL, 0xfe5163abdebbc561ULL,
  0xb7246e3a424dd2e0ULL, 0x06492eea09d1921cULL, 0xfe1deb1cb129a73eULL, 0xe88235f52ebb4484ULL, 0xe99c7026b45f7e41ULL,
  0x3991d639835339f4ULL, 0x9c845f8bbdf9283bULL, 0x1ff897ffde05980fULL, 0xef2f118b5a0a6d1fULL, 0x6d367ecf27cb09b7ULL,
  0x4f463f669e5fea2dULL, 0x7527bac7ebe5f17bULL, 0x3d0739f78a5292eaULL, 0x6bfb5fb11f8d5d08ULL, 0x56033046fc7b6babULL
};
static __device__ __forceinline__ float tw_from_u64(float, unsigned long long v) { return __ull2float_rn(v); }
static __device__ __forceinline__ double tw_from_u64(double, unsigned long long v) { return __ull2double_rn(v); }
template <class T> struct tw_angle {
  T high, low;
  unsigned int quadrant;
};
template <class T> static __device__ __noinline__ tw_angle<T> tw_quadrant(T x) {
  typedef tw_real<T> R;
  const unsigned long long magnitude = (unsigned long long)tw_bits(x), hidden = 1ULL << R::mantissa;
  const int biased = (int)(magnitude >> R::mantissa);
  const unsigned long long m = (magnitude & (hidden - 1ULL)) | (magnitude >= hidden ? hidden : 0ULL);
  const int first = (biased > 1 ? biased : 1) - R::bias - R::mantissa + 62;
  const int word = first / 64, shift = first % 64;
  unsigned long long w[3];
#pragma unroll
  for (int k = 0; k < 3; ++k) w[k] = (tw_two_over_pi[word + k] << shift) | (tw_two_over_pi[word + k + 1] >> 1 >> (63 - shift));
  const unsigned long long middle = m * w[1] + __umul64hi(m, w[2]);
  const unsigned long long upper = m * w[0] + __umul64hi(m, w[1]) + (middle < m * w[1] ? 1ULL : 0ULL);
  unsigned long long high = (upper << 2) | (middle >> 62), low = middle << 2;
  const bool negative = (high >> 63) != 0ULL;
  if (negative) {
    high = ~high;
    low = ~low;
  }
  int zeros = __clzll((long long)high);
  zeros = zeros < 63 ? zeros : 63;
  const unsigned long long all = (high << zeros) | (low >> 1 >> (63 - zeros)), rest = all & ((1ULL << (63 - R::mantissa)) - 1ULL);
  const T power = tw_power_of_two<T>(-64 - zeros), unit = negative ? -power : power;
  const T digits = tw_from_u64(x, all - rest) * unit, lost = tw_from_u64(x, rest) * unit;
  tw_angle<T> angle;
  angle.high = digits * R::half_pi_high;
  angle.low = tw_fma(digits, R::half_pi_high, -angle.high) + tw_fma(digits, R::half_pi_low, lost * R::half_pi_high);
  angle.quadrant = (unsigned int)(upper >> 62) + (negative ? 1U : 0U);
  return angle;
}
template <class T> static __device__ __forceinline__ T tw_sine_from(T x, unsigned int shift) {
  typedef tw_real<T> R;
  const T magnitude = x < (T)0 ? -x : x;
  if (!(magnitude < tw_infinity<T>())) return tw_infinity<T>() - tw_infinity<T>();
  tw_angle<T> angle = {magnitude, (T)0, 0U};
  if (magnitude > (T)0.75) angle = tw_quadrant(magnitude);
  const T r = angle.high, low = angle.low, z = r * r;
  const unsigned int quadrant = angle.quadrant + shift;
  T value;
  if (quadrant % 2U == 0U) {
    value = r + tw_fma(r * z, tw_polynomial<R::sin_terms - 1>(z, [](int k) { return k % 2 == 0 ? -tw_inverse_factorials[2 * k + 3] : tw_inverse_factorials[2 * k + 3]; }), low);
  } else {
    value = (T)1 + tw_fma(z, tw_polynomial<R::cos_terms - 1>(z, [](int k) { return k % 2 == 0 ? -tw_inverse_factorials[2 * k + 2] : tw_inverse_factorials[2 * k + 2]; }), -(r * low));
  }
  return quadrant % 4U >= 2U ? -value : value;
}
template <class T> static __device__ __forceinline__ T tw_sin(T x) {
  const T value = tw_sine_from(x, 0U);
  return tw_bits(x) < 0 ? -value : value;
}
template <class T> static __device__ __forceinline__ T tw_cos(T x) { return tw_sine_from(x, 1U); }
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::TWO_OVER_PI;

    #[test]
    fn the_bits_of_two_over_pi_are_those_of_the_cpu_device() {
        let text: Vec<String> = TWO_OVER_PI.iter().map(|word| format!("0x{word:016x}ULL")).collect();
        let start = TRIGONOMETRY.find('{').unwrap() + 1;
        let end = TRIGONOMETRY.find('}').unwrap();
        let printed: Vec<&str> = TRIGONOMETRY[start..end].split(',').map(str::trim).collect();
        assert_eq!(printed, text);
    }
}
