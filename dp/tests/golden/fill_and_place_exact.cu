// 1024 programs.
// fill_and_place: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Pointer(2).
// Argument 3: Pointer(3).
// Argument 4: Pointer(4).
extern "C" __global__ void __launch_bounds__(224) tilewright_fill_and_place(
    unsigned short* __restrict__ p_out,
    const unsigned short* __restrict__ p_segments_0,
    const unsigned short* __restrict__ p_segments_1,
    const unsigned short* __restrict__ p_segments_2,
    const unsigned short* __restrict__ p_segments_3) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
#line 205 "dp/src/kernels/pad.rs"
#line 209 "dp/src/kernels/pad.rs"
  const bool v1 = (program < 2LL);
  if (v1) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row2 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row3 = p_segments_0 + ((long long)program * (7168LL));
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
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v4 = (long long)((unsigned long long)program - (unsigned long long)2LL);
#line 209 "dp/src/kernels/pad.rs"
  const bool v5 = (v4 >= 0LL);
  const bool v6 = (v4 < 1LL);
  const bool v7 = (v5 & v6);
  if (v7) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row8 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row9 = p_segments_1 + ((long long)v4 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row9 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row8 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v10 = (long long)((unsigned long long)program - (unsigned long long)4LL);
#line 209 "dp/src/kernels/pad.rs"
  const bool v11 = (v10 >= 0LL);
  const bool v12 = (v10 < 0LL);
  const bool v13 = (v11 & v12);
  if (v13) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row14 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row15 = p_segments_2 + ((long long)v10 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row15 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row14 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v16 = (long long)((unsigned long long)program - (unsigned long long)6LL);
#line 209 "dp/src/kernels/pad.rs"
  const bool v17 = (v16 >= 0LL);
  if (v17) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row18 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row19 = p_segments_3 + ((long long)v16 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row19 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row18 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 214 "dp/src/kernels/pad.rs"
  {
    unsigned short* const row20 = p_out + ((long long)program * (7168LL));
    {
      const int base = worker;
      tw_vec<unsigned short, 8> out[1];
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        #pragma unroll
        for (int v = 0; v < 8; ++v) {
          const unsigned short t21 = (unsigned short)0x0000U;
          out[u].e[v] = t21;
        }
      }
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        tw_store<1, unsigned short, 8>(row20 + c, out[u]);
      }
    }
  }
}
