//! Device functions that generated text may call. Only those that are needed are printed.

mod functions;
mod numbers;

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
    /// The same NaN for what an atomic addition of f64 leaves in memory.
    SettleNan,
    /// f16 to f32 and back.
    F16,
    /// bf16 to f32 and back.
    BF16,
    /// 8-bit floats to f32 and back.
    F8,
    /// What is wider than f32 to an f32 that can be rounded again.
    RoundToOdd,
    /// Minimum and maximum of floats.
    FloatMinMax,
    /// Absolute values of integers.
    IntegerAbs,
    /// Minimum and maximum of 8-bit signed integers.
    MinMaxI8,
    /// Exponential functions and logarithms.
    Functions,
    /// Sine and cosine.
    Trigonometry,
    /// The hyperbolic tangent, and powers.
    Powers,
    /// Integer division by zero gives zero.
    Division,
    /// Saturating conversion.
    FloatToInteger,
    /// The part of a row that is in bounds.
    Clip,
    /// Values of other threads of the warp.
    Shuffle,
    /// Printing.
    Print,
    /// Who touched an element.
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
            Need::F8 => &[Need::F16],
            Need::Trigonometry | Need::Powers => &[Need::Functions],
            _ => &[],
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Need::Vector => VECTOR,
            Need::Load => LOAD,
            Need::Realign => REALIGN,
            Need::Store => STORE,
            Need::Canonical => numbers::CANONICAL,
            Need::SettleNan => numbers::SETTLE_NAN,
            Need::F16 => numbers::F16,
            Need::BF16 => numbers::BF16,
            Need::F8 => numbers::F8,
            Need::RoundToOdd => numbers::ROUND_TO_ODD,
            Need::FloatMinMax => numbers::FLOAT_MIN_MAX,
            Need::IntegerAbs => numbers::INTEGER_ABS,
            Need::MinMaxI8 => numbers::MIN_MAX_I8,
            Need::Functions => functions::FUNCTIONS,
            Need::Trigonometry => functions::TRIGONOMETRY,
            Need::Powers => functions::POWERS,
            Need::Division => numbers::DIVISION,
            Need::FloatToInteger => numbers::FLOAT_TO_INTEGER,
            Need::Clip => CLIP,
            Need::Shuffle => SHUFFLE,
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

// All threads of the warp take part.
const SHUFFLE: &str = r#"template <class T> union tw_word {
  T t;
  unsigned int w;
  unsigned long long d;
};
#define TW_SHUFFLE(NAME, INSTRUCTION) \
  template <class T> static __device__ __forceinline__ T NAME(T value, int by) { \
    tw_word<T> x; \
    x.d = 0ULL; \
    x.t = value; \
    if constexpr (sizeof(T) == 8) x.d = INSTRUCTION(0xffffffffU, x.d, by); \
    else x.w = INSTRUCTION(0xffffffffU, x.w, by); \
    return x.t; \
  }
TW_SHUFFLE(tw_shuffle, __shfl_sync)
TW_SHUFFLE(tw_shuffle_up, __shfl_up_sync)
TW_SHUFFLE(tw_shuffle_down, __shfl_down_sync)
#undef TW_SHUFFLE
"#;

const CLIP: &str = r#"static __device__ __forceinline__ int tw_clip(long long x, int n) { return x < 0 ? 0 : x > n ? n : (int)x; }
"#;

const PRINT: &str = r#"extern "C" __device__ int vprintf(const char*, void*);
"#;

// A mark is, from the highest bit: the number of the program and one, the place, whether the store promises to be disjoint,
// whether it was an atomic operation, and the number of the program's store. Of several programs that change an element
// atomically, and of several that read it, it names none or the first. What is given back is the mark of who was met, if it
// must not have been. A reader marks first and looks for a writer then, and a writer the other way around, so that one of
// them sees the other.
const MARK: &str = r#"#define TW_DISJOINT (1ULL << 21)
#define TW_ATOMIC (1ULL << 20)
#define TW_STORE 0xfffffULL
#define TW_NOBODY 0xffffffffffc00000ULL
static __device__ __forceinline__ unsigned long long tw_mark(long long program, unsigned long long rest) {
  return (unsigned long long)(program + 1LL) << 32 | rest;
}
static __device__ __forceinline__ unsigned long long tw_mark_swap(unsigned long long* mark, unsigned long long from, unsigned long long to) {
  unsigned long long found;
  asm volatile("atom.relaxed.gpu.global.cas.b64 %0, [%1], %2, %3;" : "=l"(found) : "l"(mark), "l"(from), "l"(to) : "memory");
  return found;
}
static __device__ __forceinline__ unsigned long long tw_mark_other(unsigned long long* mark) {
  unsigned long long found;
  asm volatile("fence.sc.gpu;" ::: "memory");
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(found) : "l"(mark) : "memory");
  return found;
}
template <bool FREE, bool READ> static __device__ unsigned long long tw_mark_write(unsigned long long* mark, unsigned long long own) {
  unsigned long long before = 0ULL, met;
  while (true) {
    unsigned long long after = own;
    met = 0ULL;
    if (before != 0ULL) {
      const bool promised = (before & own & TW_DISJOINT) != 0ULL;
      if (before >> 32 == own >> 32) {
        const bool again = (before & TW_STORE) == (own & TW_STORE) && (own & TW_STORE) != TW_STORE;
        // Of a scatter the place stays, since only another scatter breaks its promise.
        if (promised) met = before;
        else if (again) met = own;
        if (own & TW_ATOMIC) after = before;
        else if (before & ~own & TW_DISJOINT) after = (before & ~TW_STORE) | (own & TW_STORE);
      } else if (before & own & TW_ATOMIC) {
        after = before | 0xffffffffULL << 32;
      } else if (promised || FREE) {
        met = before;
      }
    }
    const unsigned long long found = tw_mark_swap(mark, before, after);
    if (found == before) break;
    before = found;
  }
  if (READ && met == 0ULL) {
    const unsigned long long reader = tw_mark_other(mark + 1);
    if (reader != 0ULL && reader >> 32 != own >> 32) met = reader;
    else if (reader & TW_DISJOINT) met = TW_NOBODY;
  }
  return met;
}
static __device__ unsigned long long tw_mark_read(unsigned long long* mark, unsigned long long own) {
  unsigned long long before = 0ULL;
  while (true) {
    // Of a reader the bit says that there were others.
    unsigned long long after = own;
    if (before != 0ULL) after = before >> 32 == own >> 32 ? before : before | TW_DISJOINT;
    const unsigned long long found = tw_mark_swap(mark + 1, before, after);
    if (found == before) break;
    before = found;
  }
  const unsigned long long writer = tw_mark_other(mark);
  return writer >> 32 == own >> 32 ? 0ULL : writer;
}
"#;

// The record is the host's memory, which the host reads at any time: the number of the report that is wanted, the place, the
// program, a value, what was met, and the number again once all is there. Atomic operations do not reach the host's memory reliably, so who
// makes a report is settled in the GPU's.
const TRAP: &str = r#"static __device__ unsigned long long tw_begun = 0ULL;
static __device__ __noinline__ void tw_trap(unsigned long long* record, unsigned long long site, long long program, long long index, unsigned long long met) {
  unsigned long long wanted, before;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(wanted) : "l"(record) : "memory");
  asm volatile("atom.relaxed.gpu.global.max.u64 %0, [%1], %2;" : "=l"(before) : "l"(&tw_begun), "l"(wanted) : "memory");
  if (before < wanted) {
    record[1] = site;
    record[2] = (unsigned long long)program;
    record[3] = (unsigned long long)index;
    record[4] = met;
    asm volatile("st.release.sys.global.u64 [%0], %1;" :: "l"(record + 5), "l"(wanted) : "memory");
  }
}
"#;
