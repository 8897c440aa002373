// 1024 programs.
// pad_rows: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Symbol(Count(2)).
extern "C" __global__ void __launch_bounds__(224) tilewright_pad_rows(
    unsigned short* __restrict__ p_out,
    const unsigned short* __restrict__ p_src,
    const long long count_p_rows) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
#line 31 "dp/src/kernels/pad.rs"
#line 32 "dp/src/kernels/pad.rs"
  const bool v1 = (program < count_p_rows);
  if (v1) {
#line 33 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row2 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row3 = p_src + ((long long)program * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row3 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row2 + c, out[u]);
        }
      }
    }
  } else {
#line 35 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row4 = p_out + ((long long)program * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          #pragma unroll
          for (int v = 0; v < 8; ++v) {
            const unsigned short t5 = (unsigned short)0x0000U;
            out[u].e[v] = t5;
          }
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row4 + c, out[u]);
        }
      }
    }
  }
}
