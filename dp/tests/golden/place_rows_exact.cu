// 1024 programs.
// place_rows: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Symbol(Extent { tensor: 1, axis: 0 }).
extern "C" __global__ void __launch_bounds__(224) tilewright_place_rows(
    unsigned short* __restrict__ p_out,
    const unsigned short* __restrict__ p_src,
    const long long extent_p_src_0) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
#line 123 "dp/src/kernels/place.rs"
  const long long v1 = (long long)((unsigned long long)program - (unsigned long long)2LL);
#line 124 "dp/src/kernels/place.rs"
  const long long v2 = (long long)((unsigned long long)v1 + (unsigned long long)1LL);
#line 125 "dp/src/kernels/place.rs"
#line 126 "dp/src/kernels/place.rs"
  const bool v3 = (v1 >= 0LL);
  const bool v4 = (v2 < 3LL);
  const bool v5 = (v3 & v4);
  if (v5) {
#line 127 "dp/src/kernels/place.rs"
    {
      unsigned short* const row6 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row7 = p_src + ((long long)v2 * (7168LL));
      const bool ok8 = (long long)v2 >= 0LL;
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_vec<unsigned short, 8>{};
          if (ok8) {
            out[u] = tw_load<2, unsigned short, 8>(row7 + c);
          }
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row6 + c, out[u]);
        }
      }
    }
  } else {
#line 129 "dp/src/kernels/place.rs"
    {
      unsigned short* const row9 = p_out + ((long long)program * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          #pragma unroll
          for (int v = 0; v < 8; ++v) {
            const unsigned short t10 = (unsigned short)0x0000U;
            out[u].e[v] = t10;
          }
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row9 + c, out[u]);
        }
      }
    }
  }
}
