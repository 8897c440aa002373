// 1024 programs.
// gather_rows: 256 threads per program, 1 programs per block, 1 blocks per program, 4 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_load_any, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Pointer(2).
// Argument 3: Symbol(Extent { tensor: 1, axis: 0 }).
extern "C" __global__ void __launch_bounds__(256) tilewright_gather_rows(
    unsigned short* __restrict__ p_out,
    const unsigned short* __restrict__ p_src,
    const int* __restrict__ p_index,
    const long long extent_p_src_0) {
  const long long program = (long long)blockIdx.x;
  const int worker = (int)threadIdx.x;
#line 30 "dp/src/kernels/gather.rs"
  const int v1 = p_index[program];
#line 31 "dp/src/kernels/gather.rs"
#line 32 "dp/src/kernels/gather.rs"
  {
    unsigned short* const row2 = p_out + ((long long)program * (7167LL));
    const unsigned short* const row3 = p_src + ((long long)v1 * (7167LL));
    const bool ok4 = (unsigned long long)v1 < (unsigned long long)extent_p_src_0;
    const int head = (int)((16U - ((unsigned int)(unsigned long long)row2 & 15U)) & 15U) / 2;
    const int vectors = (7167 - head) / 8;
    {
      const int base = worker;
      tw_vec<unsigned short, 8> out[4];
      #pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int q = base + u * 256;
        if (q < vectors) {
          const int c = head + q * 8;
          out[u] = tw_vec<unsigned short, 8>{};
          if (ok4) {
            out[u] = tw_load_any<2, unsigned short, 8>(row3 + c);
          }
        }
      }
      #pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int q = base + u * 256;
        if (q < vectors) {
          const int c = head + q * 8;
          tw_store<1, unsigned short, 8>(row2 + c, out[u]);
        }
      }
    }
    const int rest = 7167 - vectors * 8;
    #pragma unroll 1
    for (int e = worker; e < rest; e += 256) {
      const int c = e < head ? e : e + vectors * 8;
      const long long t5 = (long long)c;
      const unsigned short t6 = ((unsigned long long)v1 < (unsigned long long)extent_p_src_0 ? p_src[(long long)v1 * (7167LL) + t5] : (unsigned short)0);
      p_out[(long long)program * (7167LL) + t5] = t6;
    }
  }
}
