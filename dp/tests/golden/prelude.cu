template <class T, int N> union alignas(16) tw_vec {
  T e[N];
  uint4 q[(N * sizeof(T) + 15) / 16];
  unsigned long long d;
  unsigned int w;
  unsigned short h;
};
template <int HINT> static __device__ __forceinline__ uint4 tw_load16(const void* p) {
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
template <int HINT> static __device__ __forceinline__ void tw_store16(void* p, uint4 q) {
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
static __device__ __forceinline__ long long tw_clamp_count(long long count, long long most) {
  return count < 0 ? 0 : count > most ? most : count;
}
template <int HINT, class T, int N> static __device__ __forceinline__ tw_vec<T, N> tw_load_any(const T* p) {
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
