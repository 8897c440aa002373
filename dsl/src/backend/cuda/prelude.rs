//! Device functions that texts may call: what an operation of the IR means, where C++ has no expression for it. Only
//! those that are needed are printed.

/// A function or a few. They print in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Arguments of several bytes.
    Bytes,
    /// The one NaN.
    Canonical,
    /// f16 to f32 and back.
    F16,
    /// bf16 to f32 and back.
    BF16,
    /// 8-bit floats to f32 and back.
    F8,
    /// Minimum and maximum of floats.
    FloatMinMax,
    /// Floats divided by one of them.
    Quotients,
    /// Absolute values of integers.
    IntegerAbs,
    /// Minimum and maximum of 8-bit signed integers.
    MinMaxI8,
    /// Integer division by zero gives zero.
    Division,
    /// What the threads of a warp have, combined.
    WarpReduce,
    /// The time.
    Timer,
    /// Printing.
    Print,
    /// Reports of what goes wrong.
    Report,
}

impl Need {
    /// What must be printed before it.
    pub(super) const fn requires(self) -> Option<Need> {
        match self {
            Need::F8 => Some(Need::F16),
            Need::Quotients => Some(Need::Canonical),
            _ => None,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Need::Bytes => BYTES,
            Need::Canonical => CANONICAL,
            Need::F16 => F16,
            Need::BF16 => BF16,
            Need::F8 => F8,
            Need::FloatMinMax => FLOAT_MIN_MAX,
            Need::Quotients => QUOTIENTS,
            Need::IntegerAbs => INTEGER_ABS,
            Need::MinMaxI8 => MIN_MAX_I8,
            Need::Division => DIVISION,
            Need::WarpReduce => WARP_REDUCE,
            Need::Timer => TIMER,
            Need::Print => PRINT,
            Need::Report => REPORT,
        }
    }
}

const BYTES: &str = r#"template <int BYTES, int ALIGNMENT> struct alignas(ALIGNMENT) tw_bytes { unsigned char at[BYTES]; };
"#;

// One instruction from compute capability 8.0 on.
const WARP_REDUCE: &str = r#"#if __CUDA_ARCH__ >= 800
#define TW_WARP(NAME, T, OF, BOTH) static __device__ __forceinline__ T tw_warp_##NAME(T x) { return (T)__reduce_##NAME##_sync(0xffffffffU, (OF)x); }
#else
#define TW_WARP(NAME, T, OF, BOTH) static __device__ __forceinline__ T tw_warp_##NAME(T x) { \
  for (int apart = 16; apart > 0; apart /= 2) { const T y = __shfl_xor_sync(0xffffffffU, x, apart); x = BOTH; } \
  return x; \
}
#endif
TW_WARP(add, int, int, (int)((unsigned int)x + (unsigned int)y))
TW_WARP(add, unsigned int, unsigned int, x + y)
TW_WARP(min, int, int, y < x ? y : x)
TW_WARP(min, unsigned int, unsigned int, y < x ? y : x)
TW_WARP(max, int, int, x < y ? y : x)
TW_WARP(max, unsigned int, unsigned int, x < y ? y : x)
TW_WARP(and, int, unsigned int, x & y)
TW_WARP(and, unsigned int, unsigned int, x & y)
TW_WARP(or, int, unsigned int, x | y)
TW_WARP(or, unsigned int, unsigned int, x | y)
TW_WARP(xor, int, unsigned int, x ^ y)
TW_WARP(xor, unsigned int, unsigned int, x ^ y)
"#;

const TIMER: &str = r#"static __device__ __forceinline__ unsigned long long tw_timer() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now) : : "memory");
    return now;
}
"#;

const CANONICAL: &str = r#"static __device__ __forceinline__ float tw_canonical(float x) { return x != x ? __int_as_float(0x7fffffff) : x; }
static __device__ __forceinline__ double tw_canonical(double x) { return x != x ? __longlong_as_double(0x7fffffffffffffffLL) : x; }
"#;

// What converts to narrow floats makes of every NaN the canonical one.
const F16: &str = r#"static __device__ __forceinline__ float tw_f16_to_f32(unsigned short h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
static __device__ __forceinline__ unsigned int tw_f32s_to_f16s(float low, float high) {
  unsigned int pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
static __device__ __forceinline__ unsigned short tw_f32_to_f16(float f) { return (unsigned short)tw_f32s_to_f16s(f, 0.0f); }
"#;

const BF16: &str = r#"static __device__ __forceinline__ float tw_bf16_to_f32(unsigned short h) { return __int_as_float((int)((unsigned int)h << 16)); }
static __device__ __forceinline__ unsigned int tw_f32s_to_bf16s(float low, float high) {
  unsigned int pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
static __device__ __forceinline__ unsigned short tw_f32_to_bf16(float f) { return (unsigned short)tw_f32s_to_bf16s(f, 0.0f); }
"#;

// Where the architecture has no instruction, what `arithmetic` does. E4M3 is one byte of 4 exponent bits and 3 of
// mantissa, its exponents displaced by 8 from those of f16; E5M2 is the upper byte of an f16.
const F8: &str = r#"static __device__ __forceinline__ float tw_e4m3_to_f32(unsigned char b) {
  const float f = tw_f16_to_f32((unsigned short)((b & 0x80U) << 8 | (b & 0x7fU) << 7)) * 256.0f;
  return (b & 0x7fU) == 0x7fU ? __int_as_float(0x7fffffff) : f;
}
static __device__ __forceinline__ float tw_e5m2_to_f32(unsigned char b) { return tw_f16_to_f32((unsigned short)(b << 8)); }
#if __CUDA_ARCH__ >= 890
template <int MANTISSA> static __device__ __forceinline__ unsigned int tw_f32s_to_f8s(float low, float high) {
  unsigned short pair;
  if constexpr (MANTISSA == 3) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
template <int MANTISSA> static __device__ __forceinline__ unsigned char tw_f32_to_f8(float f) { return (unsigned char)tw_f32s_to_f8s<MANTISSA>(f, 0.0f); }
#else
template <int MANTISSA> static __device__ __forceinline__ unsigned char tw_f32_to_f8(float f) {
  if (f != f) return 0x7fU;
  constexpr unsigned int bias = (1U << (6 - MANTISSA)) - 1U, cut = 23U - MANTISSA;
  const unsigned int largest = MANTISSA == 3 ? 0x43e00000U : 0x47600000U;
  const unsigned int sign = __float_as_uint(f) >> 24 & 0x80U;
  unsigned int bits = __float_as_uint(f) & 0x7fffffffU;
  bits = bits < largest ? bits : largest;
  if (bits >= (128U - bias) << 23) {
    bits = ((bits + (1U << (cut - 1U)) - 1U + (bits >> cut & 1U)) >> cut) - ((127U - bias) << MANTISSA);
  } else {
    const unsigned int anchor = (151U - bias - MANTISSA) << 23;
    bits = __float_as_uint(__uint_as_float(bits) + __uint_as_float(anchor)) - anchor;
  }
  return (unsigned char)(bits | sign);
}
template <int MANTISSA> static __device__ __forceinline__ unsigned int tw_f32s_to_f8s(float low, float high) {
  return (unsigned int)tw_f32_to_f8<MANTISSA>(low) | (unsigned int)tw_f32_to_f8<MANTISSA>(high) << 8;
}
#endif
"#;

const FLOAT_MIN_MAX: &str = r#"template <class T> static __device__ __forceinline__ bool tw_negative(T x) {
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
// One instruction for these, which knows that -0 is smaller than +0; the compiler's own functions need not.
template <> __device__ __forceinline__ float tw_fmin(float l, float r) {
  float least;
  asm("min.f32 %0, %1, %2;" : "=f"(least) : "f"(l), "f"(r));
  return least;
}
template <> __device__ __forceinline__ float tw_fmax(float l, float r) {
  float most;
  asm("max.f32 %0, %1, %2;" : "=f"(most) : "f"(l), "f"(r));
  return most;
}
template <class T> static __device__ __forceinline__ T tw_fminimum(T l, T r) { return l != l || r != r ? l + r : tw_fmin(l, r); }
template <class T> static __device__ __forceinline__ T tw_fmaximum(T l, T r) { return l != l || r != r ? l + r : tw_fmax(l, r); }
#if __CUDA_ARCH__ >= 800
template <> __device__ __forceinline__ float tw_fminimum(float l, float r) {
  float least;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(least) : "f"(l), "f"(r));
  return least;
}
template <> __device__ __forceinline__ float tw_fmaximum(float l, float r) {
  float most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(l), "f"(r));
  return most;
}
#endif
"#;

// The quotients are exactly rounded, as those of `/`. Where neither is very large or small, which all are asked at once, three
// operations make one of the reciprocal, which is found once: the compiler asks for each whether it may, and finds it again. Of
// zeros, of which twice their bits less two are more than of any other number, they keep the sign, as a positive divisor does. What is known
// to be from 0 to 1 or NaN has no sign, and nobody asks whether it is large. Of dividends below
// 2⁻⁸⁰ those below 2⁻³⁶ come, rounded somehow, of the right sign: where these become zeros in any case nobody asks. Elsewhere
// one division stands in a loop, so that what is hardly ever done is short. What multiplies and adds f32 makes the canonical NaN of
// any (CUDA C++ Programming Guide, floating-point standard), and of operations with a divisor compilers leave none out.
const QUOTIENTS: &str = r#"template <bool EXACT_IF_TINY, bool FRACTIONS, int N> static __device__ __forceinline__ bool tw_is_near(const float (&x)[N], float y) {
  unsigned int least = 0xffffffffU;
  float most[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (EXACT_IF_TINY && FRACTIONS) least = min(least, __float_as_uint(x[i]) - 1U);
    if (EXACT_IF_TINY && !FRACTIONS) least = min(least, 2U * __float_as_uint(x[i]) - 2U);
    most[i] = FRACTIONS ? 0.0f : fabsf(x[i]);
  }
#pragma unroll
  for (int left = N; left > 1; left = (left + 1) / 2) {
#pragma unroll
    for (int i = 0; i < left / 2; ++i) most[i] = fmaxf(most[i], most[left - 1 - i]);
  }
  return (least >= (FRACTIONS ? 0x17800000U : 0x2f000000U)) & (most[0] <= 0x1p80f) & (y >= 0x1p-44f) & (y <= 0x1p44f);
}
template <int N> static __device__ __forceinline__ void tw_near_quotients(const float (&x)[N], float y, float (&quotients)[N]) {
  float near;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(near) : "f"(y));
  const float reciprocal = __fmaf_rn(near, __fmaf_rn(-y, near, 1.0f), near);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float quotient = __fmul_rn(x[i], reciprocal);
    quotients[i] = __fmaf_rn(-reciprocal, __fmaf_rn(y, quotient, -x[i]), quotient);
  }
}
template <int N> static __device__ __forceinline__ void tw_far_quotients(const float (&x)[N], float y, float (&quotients)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) quotients[i] = x[i];
#pragma unroll 1
  for (int done = 0; done < N; ++done) {
    const float quotient = tw_canonical(quotients[0] / y);
#pragma unroll
    for (int i = 1; i < N; ++i) quotients[i - 1] = quotients[i];
    quotients[N - 1] = quotient;
  }
}
"#;

// The smallest integer stays itself: the assembler takes what `abs` gives for not negative, so it sees none.
const INTEGER_ABS: &str = r#"template <class T> static __device__ __forceinline__ T tw_abs(T x) {
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

// NVRTC 13.0 loses the sign extension of an 8-bit sum whose minimum it takes in 16 bits; it does not look into this.
const MIN_MAX_I8: &str = r#"static __device__ __forceinline__ signed char tw_min_i8(signed char l, signed char r) {
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

const DIVISION: &str = r#"template <class T> static __device__ __forceinline__ T tw_div(T l, T r) {
  if (r == 0) return 0;
  if ((T)-1 < 0 && r == (T)-1) return (T)(0ULL - (unsigned long long)l);
  return (T)(l / r);
}
template <class T> static __device__ __forceinline__ T tw_rem(T l, T r) {
  if (r == 0 || ((T)-1 < 0 && r == (T)-1)) return 0;
  return (T)(l % r);
}
"#;

const PRINT: &str = r#"extern "C" __device__ int vprintf(const char*, void*);
"#;

// The record is the host's memory, which the host reads at any time: the number of the report that is wanted, the
// place, the program, a value, what was met, and the number again once all is there. Atomic operations do not reach the
// host's memory reliably, so who makes a report is settled in the GPU's.
const REPORT: &str = r#"static __device__ unsigned long long tw_begun = 0ULL;
static __device__ __noinline__ void tw_report(unsigned long long record, unsigned long long site, long long program, long long value, unsigned long long met) {
  unsigned long long wanted, before;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(wanted) : "l"(record) : "memory");
  asm volatile("atom.relaxed.gpu.global.max.u64 %0, [%1], %2;" : "=l"(before) : "l"(&tw_begun), "l"(wanted) : "memory");
  if (before < wanted) {
    unsigned long long* const at = (unsigned long long*)record;
    at[1] = site;
    at[2] = (unsigned long long)program;
    at[3] = (unsigned long long)value;
    at[4] = met;
    asm volatile("st.release.sys.global.u64 [%0], %1;" :: "l"(record + 40ULL), "l"(wanted) : "memory");
  }
}
"#;
