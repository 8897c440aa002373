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
#line 126 "dp/src/kernels/pad.rs"
#line 129 "dp/src/kernels/pad.rs"
  const bool v1 = (program >= 0LL);
  const bool v2 = (program < 2LL);
  const bool v3 = (v1 & v2);
  if (v3) {
#line 130 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row4 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row5 = p_segments_0 + ((long long)program * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row5 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row4 + c, out[u]);
        }
      }
    }
#line 131 "dp/src/kernels/pad.rs"
    return;
  }
#line 128 "dp/src/kernels/pad.rs"
  const long long v6 = (long long)((unsigned long long)program - (unsigned long long)2LL);
#line 129 "dp/src/kernels/pad.rs"
  const bool v7 = (v6 >= 0LL);
  const bool v8 = (v6 < 1LL);
  const bool v9 = (v7 & v8);
  if (v9) {
#line 130 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row10 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row11 = p_segments_1 + ((long long)v6 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row11 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row10 + c, out[u]);
        }
      }
    }
#line 131 "dp/src/kernels/pad.rs"
    return;
  }
#line 128 "dp/src/kernels/pad.rs"
  const long long v12 = (long long)((unsigned long long)program - (unsigned long long)4LL);
#line 129 "dp/src/kernels/pad.rs"
  const bool v13 = (v12 >= 0LL);
  const bool v14 = (v12 < 0LL);
  const bool v15 = (v13 & v14);
  if (v15) {
#line 130 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row16 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row17 = p_segments_2 + ((long long)v12 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row17 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row16 + c, out[u]);
        }
      }
    }
#line 131 "dp/src/kernels/pad.rs"
    return;
  }
#line 128 "dp/src/kernels/pad.rs"
  const long long v18 = (long long)((unsigned long long)program - (unsigned long long)6LL);
#line 129 "dp/src/kernels/pad.rs"
  const bool v19 = (v18 >= 0LL);
  const bool v20 = (v18 < 2LL);
  const bool v21 = (v19 & v20);
  if (v21) {
#line 130 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row22 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row23 = p_segments_3 + ((long long)v18 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row23 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row22 + c, out[u]);
        }
      }
    }
#line 131 "dp/src/kernels/pad.rs"
    return;
  }
#line 134 "dp/src/kernels/pad.rs"
  {
    unsigned short* const row24 = p_out + ((long long)program * (7168LL));
    {
      const int base = worker;
      tw_vec<unsigned short, 8> out[1];
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        #pragma unroll
        for (int v = 0; v < 8; ++v) {
          const unsigned short t25 = (unsigned short)0x0000U;
          out[u].e[v] = t25;
        }
      }
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        tw_store<1, unsigned short, 8>(row24 + c, out[u]);
      }
    }
  }
}
