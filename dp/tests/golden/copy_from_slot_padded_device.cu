// 1024 programs.
// copy_from_slot_padded: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store, tw_clamp_count.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: DeviceCount(2).
// Argument 3: DeviceCount(3).
// Argument 4: DeviceCountMaximum(2).
// Argument 5: DeviceCountMaximum(3).
// Argument 6: Symbol(Extent { tensor: 1, axis: 0 }).
extern "C" __global__ void __launch_bounds__(224) tilewright_copy_from_slot_padded(
    unsigned short* __restrict__ p_dst,
    const unsigned short* __restrict__ p_src,
    const int* __restrict__ at_p_offset,
    const int* __restrict__ at_p_rows,
    const long long most_p_offset,
    const long long most_p_rows,
    const long long extent_p_src_0) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
  const long long count_p_offset = tw_clamp_count((long long)*at_p_offset, most_p_offset);
  const long long count_p_rows = tw_clamp_count((long long)*at_p_rows, most_p_rows);
#line 94 "dp/src/kernels/slot.rs"
#line 95 "dp/src/kernels/slot.rs"
  const bool v1 = (program < count_p_rows);
  if (v1) {
#line 96 "dp/src/kernels/slot.rs"
    const long long v2 = (long long)((unsigned long long)count_p_offset + (unsigned long long)program);
    {
      unsigned short* const row3 = p_dst + ((long long)program * (7168LL));
      const unsigned short* const row4 = p_src + ((long long)v2 * (7168LL));
      const bool ok5 = (long long)v2 < extent_p_src_0;
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_vec<unsigned short, 8>{};
          if (ok5) {
            out[u] = tw_load<2, unsigned short, 8>(row4 + c);
          }
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row3 + c, out[u]);
        }
      }
    }
  } else {
#line 98 "dp/src/kernels/slot.rs"
    {
      unsigned short* const row6 = p_dst + ((long long)program * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          #pragma unroll
          for (int v = 0; v < 8; ++v) {
            const unsigned short t7 = (unsigned short)0x0000U;
            out[u].e[v] = t7;
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
  }
}
