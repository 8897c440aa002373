// 1024 programs.
// scatter_rows: 256 threads per program, 1 programs per block, 1 blocks per program, 4 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Pointer(2).
// Argument 3: Symbol(Extent { tensor: 0, axis: 0 }).
extern "C" __global__ void __launch_bounds__(256) tilewright_scatter_rows(
    unsigned short* __restrict__ p_dst,
    const unsigned short* __restrict__ p_src,
    const int* __restrict__ p_index,
    const long long extent_p_dst_0) {
  const long long program = (long long)blockIdx.x;
  const int worker = (int)threadIdx.x;
#line 31 "dp/src/kernels/scatter.rs"
  const int v1 = p_index[program];
#line 32 "dp/src/kernels/scatter.rs"
#line 33 "dp/src/kernels/scatter.rs"
  {
    unsigned short* const row2 = p_dst + ((long long)v1 * (7168LL));
    const bool ok3 = (unsigned long long)v1 < (unsigned long long)extent_p_dst_0;
    const unsigned short* const row4 = p_src + ((long long)program * (7168LL));
    {
      const int base = worker;
      tw_vec<unsigned short, 8> out[4];
      #pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int q = base + u * 256;
        if (q < 896) {
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row4 + c);
        }
      }
      #pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int q = base + u * 256;
        if (q < 896) {
          const int c = q * 8;
          if (ok3) {
            tw_store<1, unsigned short, 8>(row2 + c, out[u]);
          }
        }
      }
    }
  }
}
