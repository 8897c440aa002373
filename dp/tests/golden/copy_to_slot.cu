// 1024 programs.
// copy_to_slot: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Symbol(Count(2)).
extern "C" __global__ void __launch_bounds__(224) tilewright_copy_to_slot(
    unsigned short* __restrict__ p_dst,
    const unsigned short* __restrict__ p_src,
    const long long count_p_offset) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
#line 33 "dp/src/kernels/slot.rs"
#line 34 "dp/src/kernels/slot.rs"
  const long long v1 = (long long)((unsigned long long)count_p_offset + (unsigned long long)program);
  {
    unsigned short* const row2 = p_dst + ((long long)v1 * (7168LL));
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
}
