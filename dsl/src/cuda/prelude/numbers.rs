//! Conversions and operators that C++ lacks or defines otherwise. What they compute is said by `arithmetic`.

pub(super) const CANONICAL: &str = r#"static __device__ __forceinline__ float tw_canonical(float x) { return x != x ? __int_as_float(0x7fffffff) : x; }
static __device__ __forceinline__ double tw_canonical_f64(double x) { return x != x ? __longlong_as_double(0x7fffffffffffffffLL) : x; }
"#;

// Once an element is NaN every later sum is, so the canonical one may come a moment later.
pub(super) const SETTLE_NAN: &str = r#"static __device__ __noinline__ void tw_settle_nan(const double* p) {
  const unsigned long long canonical = 0x7fffffffffffffffULL;
  unsigned long long seen, found;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(seen) : "l"(p) : "memory");
  while (seen != canonical && (seen & canonical) > 0x7ff0000000000000ULL) {
    asm volatile("atom.relaxed.sys.global.cas.b64 %0, [%1], %2, %3;" : "=l"(found) : "l"(p), "l"(seen), "l"(canonical) : "memory");
    if (found == seen) break;
    seen = found;
  }
}
"#;

pub(super) const F16: &str = r#"static __device__ __forceinline__ float tw_f16_to_f32(unsigned short h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
static __device__ __forceinline__ unsigned short tw_f32_to_f16(float f) {
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return f != f ? (unsigned short)0x7fffU : h;
}
"#;

pub(super) const BF16: &str = r#"static __device__ __forceinline__ float tw_bf16_to_f32(unsigned short h) { return __int_as_float((int)((unsigned int)h << 16)); }
static __device__ __forceinline__ unsigned short tw_f32_to_bf16(float f) {
  const unsigned int bits = (unsigned int)__float_as_int(f);
  return f != f ? (unsigned short)0x7fffU : (unsigned short)((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
"#;

// Where the architecture has no instruction, what `arithmetic` does. E4M3 is one byte of 4 exponent bits and 3 of mantissa,
// its exponents displaced by 8 from those of f16; E5M2 is the upper byte of an f16.
pub(super) const F8: &str = r#"static __device__ __forceinline__ float tw_e4m3_to_f32(unsigned char b) {
  const float f = tw_f16_to_f32((unsigned short)((b & 0x80U) << 8 | (b & 0x7fU) << 7)) * 256.0f;
  return (b & 0x7fU) == 0x7fU ? __int_as_float(0x7fffffff) : f;
}
static __device__ __forceinline__ float tw_e5m2_to_f32(unsigned char b) { return tw_f16_to_f32((unsigned short)(b << 8)); }
template <int MANTISSA> static __device__ __forceinline__ unsigned char tw_f32_to_f8(float f) {
  if (f != f) return 0x7fU;
#if __CUDA_ARCH__ >= 890
  unsigned short pair;
  if constexpr (MANTISSA == 3) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(f));
  else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(f));
  return (unsigned char)pair;
#else
  constexpr unsigned int bias = (1U << (6 - MANTISSA)) - 1U, cut = 23U - MANTISSA;
  const unsigned int largest = MANTISSA == 3 ? 0x43e00000U : 0x47600000U;
  const unsigned int sign = (unsigned int)__float_as_int(f) >> 24 & 0x80U;
  unsigned int bits = (unsigned int)__float_as_int(f) & 0x7fffffffU;
  bits = bits < largest ? bits : largest;
  if (bits >= (128U - bias) << 23) {
    bits = ((bits + (1U << (cut - 1U)) - 1U + (bits >> cut & 1U)) >> cut) - ((127U - bias) << MANTISSA);
  } else {
    const int anchor = (int)((151U - bias - MANTISSA) << 23);
    bits = (unsigned int)(__float_as_int(__int_as_float((int)bits) + __int_as_float(anchor)) - anchor);
  }
  return (unsigned char)(bits | sign);
#endif
}
"#;

// Toward zero, with the last bit set if anything was lost: the rounding that follows then has all that it needs to know.
pub(super) const ROUND_TO_ODD: &str = r#"static __device__ __forceinline__ float tw_odd(float f, bool inexact) { return inexact ? __int_as_float(__float_as_int(f) | 1) : f; }
static __device__ __forceinline__ float tw_to_odd(double v) {
  const float f = __double2float_rz(v);
  return tw_odd(f, v == v && (double)f != v);
}
static __device__ __forceinline__ float tw_to_odd(int v) {
  const float f = __int2float_rz(v);
  return tw_odd(f, (int)f != v);
}
static __device__ __forceinline__ float tw_to_odd(unsigned int v) {
  const float f = __uint2float_rz(v);
  return tw_odd(f, (unsigned int)f != v);
}
static __device__ __forceinline__ float tw_to_odd(long long v) {
  const float f = __ll2float_rz(v);
  return tw_odd(f, (long long)f != v);
}
static __device__ __forceinline__ float tw_to_odd(unsigned long long v) {
  const float f = __ull2float_rz(v);
  return tw_odd(f, (unsigned long long)f != v);
}
"#;

pub(super) const FLOAT_MIN_MAX: &str = r#"template <class T> static __device__ __forceinline__ bool tw_negative(T x) {
  if constexpr (sizeof(T) == 4) return __float_as_int(x) < 0;
  else return __double_as_longlong(x) < 0;
}
template <class T> static __device__ __forceinline__ T tw_fmin(T l, T r) {
  if (l != l) return r;
  return (r != r || l < r || (l == r && tw_negative(l))) ? l : r;
}
template <class T> static __device__ __forceinline__ T tw_fmax(T l, T r) {
  if (l != l) return r;
  return (r != r || l > r || (l == r && !tw_negative(l))) ? l : r;
}
template <class T> static __device__ __forceinline__ T tw_fminimum(T l, T r) { return l != l || r != r ? l + r : tw_fmin(l, r); }
template <class T> static __device__ __forceinline__ T tw_fmaximum(T l, T r) { return l != l || r != r ? l + r : tw_fmax(l, r); }
"#;

// The smallest integer stays itself: the assembler takes what `abs` gives for not negative, so it sees none.
pub(super) const INTEGER_ABS: &str = r#"template <class T> static __device__ __forceinline__ T tw_abs(T x) {
  if constexpr (sizeof(T) == 8) {
    long long negative;
    asm("neg.s64 %0, %1;" : "=l"(negative) : "l"((long long)x));
    return x < 0 ? negative : x;
  } else {
    int negative;
    asm("neg.s32 %0, %1;" : "=r"(negative) : "r"((int)x));
    return x < 0 ? (T)negative : x;
  }
}
"#;

pub(super) const MIN_MAX_I8: &str = r#"static __device__ __forceinline__ signed char tw_min_i8(signed char l, signed char r) {
  int least;
  asm("min.s32 %0, %1, %2;" : "=r"(least) : "r"((int)l), "r"((int)r));
  return (signed char)least;
}
static __device__ __forceinline__ signed char tw_max_i8(signed char l, signed char r) {
  int most;
  asm("max.s32 %0, %1, %2;" : "=r"(most) : "r"((int)l), "r"((int)r));
  return (signed char)most;
}
"#;

pub(super) const DIVISION: &str = r#"template <class T> static __device__ __forceinline__ T tw_div(T l, T r) {
  if (r == 0) return 0;
  if ((T)-1 < 0 && r == (T)-1) return (T)(0ULL - (unsigned long long)l);
  return (T)(l / r);
}
template <class T> static __device__ __forceinline__ T tw_rem(T l, T r) {
  if (r == 0 || ((T)-1 < 0 && r == (T)-1)) return 0;
  return (T)(l % r);
}
"#;

pub(super) const FLOAT_TO_INTEGER: &str = r#"template <class T, class F> static __device__ __forceinline__ T tw_float_to_integer(F v) {
  const bool is_signed = (T)-1 < 0;
  const int bits = (int)sizeof(T) * 8 - (is_signed ? 1 : 0);
  const T most = is_signed ? (T)((1ULL << (bits & 63)) - 1ULL) : (T)~0ULL;
  const T least = is_signed ? (T)(-most - 1) : (T)0;
  const F end = (F)(1ULL << (bits - 1)) * (F)2;
  if (v != v) return 0;
  if (v >= end) return most;
  if (v <= (is_signed ? -end : (F)0)) return least;
  return (T)v;
}
"#;
