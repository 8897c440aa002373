//! Device functions that generated text may call. Only those that are needed are printed.

use crate::ir::CacheHint;

/// A part of the prelude. Parts print in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Several elements that move together.
    Vector,
    /// Loads of up to 16 bytes that are aligned.
    Load,
    /// Loads of 16 bytes at any address.
    Realign,
    /// Stores of up to 16 bytes that are aligned.
    Store,
    /// Loads of up to 16 bytes with a hint of the author's, from memory that no one writes or any other.
    CachedLoad { hint: CacheHint, constant: bool },
    /// Stores of up to 16 bytes with a hint of the author's.
    CachedStore(CacheHint),
    /// One NaN for all that arithmetic makes.
    Canonical,
    /// f16 to f32 and back.
    F16,
    /// bf16 to f32 and back.
    BF16,
    /// f64 to 16 bits with one rounding.
    NarrowF64,
    /// Minimum and maximum of floats.
    FloatMinMax,
    /// Integer division by zero gives zero.
    Division,
    /// Saturating conversion.
    FloatToInteger,
    /// The part of a row that is in bounds.
    Clip,
    /// Printing.
    Print,
    /// Which elements a scatter has written.
    Mark,
    /// Reports of what goes wrong.
    Trap,
}

impl Need {
    /// What must be printed before this part.
    pub(super) fn requires(self) -> &'static [Need] {
        match self {
            Need::Load | Need::Store | Need::CachedLoad { .. } | Need::CachedStore(_) => &[Need::Vector],
            Need::Realign => &[Need::Vector, Need::Load],
            Need::NarrowF64 => &[Need::F16, Need::BF16],
            _ => &[],
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Need::Vector => VECTOR,
            Need::Load => LOAD,
            Need::Realign => REALIGN,
            Need::Store => STORE,
            Need::Canonical => CANONICAL,
            Need::F16 => F16,
            Need::BF16 => BF16,
            Need::NarrowF64 => NARROW_F64,
            Need::FloatMinMax => FLOAT_MIN_MAX,
            Need::Division => DIVISION,
            Need::FloatToInteger => FLOAT_TO_INTEGER,
            Need::Clip => CLIP,
            // Made for the hint.
            Need::CachedLoad { .. } | Need::CachedStore(_) => "",
            Need::Print => PRINT,
            Need::Mark => MARK,
            Need::Trap => TRAP,
        }
    }
}

const VECTOR: &str = r#"template <class T, int N> union alignas(16) tw_vec {
  T e[N];
  uint4 q[(N * sizeof(T) + 15) / 16];
  unsigned long long d;
  unsigned int w;
  unsigned short h;
};
"#;

// HINT 0: memory that the kernel writes; 1: read-only; 2: read-only and read once; 3: as 2, and a strong load, which the
// assembler does not move below a condition that only the store has.
const LOAD: &str = r#"template <int HINT> static __device__ __forceinline__ uint4 tw_load16(const void* p) {
  uint4 q;
  if constexpr (HINT == 3)
    asm volatile("ld.relaxed.gpu.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(q.x), "=r"(q.y), "=r"(q.z), "=r"(q.w) : "l"(p));
  else if constexpr (HINT == 2)
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(q.x), "=r"(q.y), "=r"(q.z), "=r"(q.w) : "l"(p));
  else if constexpr (HINT == 1)
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(q.x), "=r"(q.y), "=r"(q.z), "=r"(q.w) : "l"(p));
  else
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(q.x), "=r"(q.y), "=r"(q.z), "=r"(q.w) : "l"(p) : "memory");
  return q;
}
template <int HINT, class T, int N> static __device__ __forceinline__ tw_vec<T, N> tw_load(const T* p) {
  tw_vec<T, N> v;
  if constexpr (sizeof(T) * N >= 16) {
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) * N / 16); ++i) v.q[i] = tw_load16<HINT>((const char*)p + 16 * i);
  } else if constexpr (sizeof(T) * N == 8) v.d = *(const unsigned long long*)p;
  else if constexpr (sizeof(T) * N == 4) v.w = *(const unsigned int*)p;
  else if constexpr (sizeof(T) * N == 2) v.h = *(const unsigned short*)p;
  else v.e[0] = *p;
  return v;
}
"#;

// Sixteen bytes at any address from the one or two aligned words that hold them. Each word read holds at least one byte
// that is asked for, so no page is touched that is not the tensor's.
const REALIGN: &str = r#"template <int HINT, class T, int N> static __device__ __forceinline__ tw_vec<T, N> tw_load_any(const T* p) {
  static_assert(sizeof(T) * N == 16, "realigned loads are 16 bytes");
  const unsigned long long address = (unsigned long long)p;
  const unsigned int bytes = (unsigned int)address & 15U;
  const char* aligned = (const char*)(address - bytes);
  tw_vec<T, N> v;
  uint4 a = tw_load16<HINT>(aligned);
  if (bytes != 0U) {
    const uint4 b = tw_load16<HINT>(aligned + 16);
    unsigned int w0 = a.x, w1 = a.y, w2 = a.z, w3 = a.w, w4 = b.x, w5 = b.y, w6 = b.z;
    if (bytes & 8U) { w0 = w2; w1 = w3; w2 = w4; w3 = w5; w4 = w6; w5 = b.w; }
    if (bytes & 4U) { w0 = w1; w1 = w2; w2 = w3; w3 = w4; w4 = w5; }
    const unsigned int bits = (bytes & 3U) * 8U;
    a.x = __funnelshift_r(w0, w1, bits);
    a.y = __funnelshift_r(w1, w2, bits);
    a.z = __funnelshift_r(w2, w3, bits);
    a.w = __funnelshift_r(w3, w4, bits);
  }
  v.q[0] = a;
  return v;
}
"#;

// HINT 0: keep in L2; 1: written once.
const STORE: &str = r#"template <int HINT> static __device__ __forceinline__ void tw_store16(void* p, uint4 q) {
  if constexpr (HINT == 1)
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" :: "l"(p), "r"(q.x), "r"(q.y), "r"(q.z), "r"(q.w) : "memory");
  else
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" :: "l"(p), "r"(q.x), "r"(q.y), "r"(q.z), "r"(q.w) : "memory");
}
template <int HINT, class T, int N> static __device__ __forceinline__ void tw_store(T* p, const tw_vec<T, N>& v) {
  if constexpr (sizeof(T) * N >= 16) {
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) * N / 16); ++i) tw_store16<HINT>((char*)p + 16 * i, v.q[i]);
  } else if constexpr (sizeof(T) * N == 8) *(unsigned long long*)p = v.d;
  else if constexpr (sizeof(T) * N == 4) *(unsigned int*)p = v.w;
  else if constexpr (sizeof(T) * N == 2) *(unsigned short*)p = v.h;
  else *p = v.e[0];
}
"#;

const CANONICAL: &str = r#"static __device__ __forceinline__ float tw_canonical(float x) { return x != x ? __int_as_float(0x7fffffff) : x; }
static __device__ __forceinline__ double tw_canonical_f64(double x) { return x != x ? __longlong_as_double(0x7fffffffffffffffLL) : x; }
"#;

const F16: &str = r#"static __device__ __forceinline__ float tw_f16_to_f32(unsigned short h) {
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

const BF16: &str = r#"static __device__ __forceinline__ float tw_bf16_to_f32(unsigned short h) { return __int_as_float((int)((unsigned int)h << 16)); }
static __device__ __forceinline__ unsigned short tw_f32_to_bf16(float f) {
  const unsigned int bits = (unsigned int)__float_as_int(f);
  return f != f ? (unsigned short)0x7fffU : (unsigned short)((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
"#;

// Rounding to odd in f32 first keeps what the second rounding needs to know.
const NARROW_F64: &str = r#"static __device__ __forceinline__ float tw_round_to_odd(double d) {
  float f;
  asm("cvt.rz.f32.f64 %0, %1;" : "=f"(f) : "d"(d));
  const bool finite = (__float_as_int(f) & 0x7f800000) != 0x7f800000;
  return finite && (double)f != d ? __int_as_float(__float_as_int(f) | 1) : f;
}
static __device__ __forceinline__ unsigned short tw_f64_to_f16(double d) { return d != d ? (unsigned short)0x7fffU : tw_f32_to_f16(tw_round_to_odd(d)); }
static __device__ __forceinline__ unsigned short tw_f64_to_bf16(double d) { return d != d ? (unsigned short)0x7fffU : tw_f32_to_bf16(tw_round_to_odd(d)); }
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

const FLOAT_TO_INTEGER: &str = r#"template <class T> static __device__ __forceinline__ T tw_float_to_integer(double v) {
  const bool is_signed = (T)-1 < 0;
  const int bits = (int)sizeof(T) * 8 - (is_signed ? 1 : 0);
  const T most = is_signed ? (T)((1ULL << (bits & 63)) - 1ULL) : (T)~0ULL;
  const T least = is_signed ? (T)(-most - 1) : (T)0;
  const double end = (double)(1ULL << (bits - 1)) * 2.0;
  if (v != v) return 0;
  if (v >= end) return most;
  if (v <= (is_signed ? -end : 0.0)) return least;
  return (T)v;
}
"#;

const CLIP: &str = r#"static __device__ __forceinline__ int tw_clip(long long x, int n) { return x < 0 ? 0 : x > n ? n : (int)x; }
"#;

const PRINT: &str = r#"extern "C" __device__ int vprintf(const char*, void*);
"#;

const MARK: &str = r#"static __device__ __forceinline__ bool tw_mark(unsigned int* marks, long long element) {
  unsigned int before;
  const unsigned int bit = 1U << (element & 31);
  asm volatile("atom.relaxed.gpu.global.or.b32 %0, [%1], %2;" : "=r"(before) : "l"(marks + (element >> 5)), "r"(bit) : "memory");
  return (before & bit) != 0U;
}
"#;

// The first to trap keeps the record, in memory that the host reads at any time: 1 + the number of the place, the program,
// a value, and the first word again once all is there.
const TRAP: &str = r#"static __device__ __noinline__ void tw_trap(unsigned long long* record, unsigned long long site, long long program, long long index) {
  unsigned long long before;
  asm volatile("atom.global.cas.b64 %0, [%1], 0, %2;" : "=l"(before) : "l"(record), "l"(site + 1ULL) : "memory");
  if (before == 0ULL) {
    record[1] = (unsigned long long)program;
    record[2] = (unsigned long long)index;
    asm volatile("st.release.sys.global.u64 [%0], %1;" :: "l"(record + 3), "l"(site + 1ULL) : "memory");
  }
}
"#;
