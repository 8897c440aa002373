// 1024 programs.
// fill_and_place: 224 threads per program, 1 programs per block, 4 blocks per program, 1 accesses in flight, Streaming loads, Streaming stores
#pragma nv_diag_suppress 177, 550
// From prelude.cu: tw_vec, tw_load16, tw_load, tw_store16, tw_store.
// Argument 0: Pointer(0).
// Argument 1: Pointer(1).
// Argument 2: Pointer(2).
// Argument 3: Pointer(3).
// Argument 4: Pointer(4).
// Argument 5: Symbol(Count(5)).
// Argument 6: Symbol(Count(6)).
// Argument 7: Symbol(Count(7)).
// Argument 8: Symbol(Count(8)).
// Argument 9: Symbol(Count(9)).
// Argument 10: Symbol(Count(10)).
// Argument 11: Symbol(Count(11)).
extern "C" __global__ void __launch_bounds__(224) tilewright_fill_and_place(
    unsigned short* __restrict__ p_out,
    const unsigned short* __restrict__ p_segments_0,
    const unsigned short* __restrict__ p_segments_1,
    const unsigned short* __restrict__ p_segments_2,
    const unsigned short* __restrict__ p_segments_3,
    const long long count_p_starts_0,
    const long long count_p_starts_1,
    const long long count_p_starts_2,
    const long long count_p_starts_3,
    const long long count_p_rows_0,
    const long long count_p_rows_1,
    const long long count_p_rows_2) {
  const long long program = (long long)(blockIdx.x / 4U);
  const int worker = (int)(threadIdx.x + blockIdx.x % 4U * 224U);
#line 205 "dp/src/kernels/pad.rs"
#line 208 "dp/src/kernels/pad.rs"
  const long long v1 = (long long)((unsigned long long)program - (unsigned long long)count_p_starts_0);
#line 209 "dp/src/kernels/pad.rs"
  const bool v2 = (v1 < count_p_rows_0);
  if (v2) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row3 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row4 = p_segments_0 + ((long long)v1 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row4 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row3 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v5 = (long long)((unsigned long long)program - (unsigned long long)count_p_starts_1);
#line 209 "dp/src/kernels/pad.rs"
  const bool v6 = (v5 >= 0LL);
  const bool v7 = (v5 < count_p_rows_1);
  const bool v8 = (v6 & v7);
  if (v8) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row9 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row10 = p_segments_1 + ((long long)v5 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row10 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row9 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v11 = (long long)((unsigned long long)program - (unsigned long long)count_p_starts_2);
#line 209 "dp/src/kernels/pad.rs"
  const bool v12 = (v11 >= 0LL);
  const bool v13 = (v11 < count_p_rows_2);
  const bool v14 = (v12 & v13);
  if (v14) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row15 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row16 = p_segments_2 + ((long long)v11 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row16 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row15 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 208 "dp/src/kernels/pad.rs"
  const long long v17 = (long long)((unsigned long long)program - (unsigned long long)count_p_starts_3);
#line 209 "dp/src/kernels/pad.rs"
  const bool v18 = (v17 >= 0LL);
  if (v18) {
#line 210 "dp/src/kernels/pad.rs"
    {
      unsigned short* const row19 = p_out + ((long long)program * (7168LL));
      const unsigned short* const row20 = p_segments_3 + ((long long)v17 * (7168LL));
      {
        const int base = worker;
        tw_vec<unsigned short, 8> out[1];
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          out[u] = tw_load<2, unsigned short, 8>(row20 + c);
        }
        #pragma unroll
        for (int u = 0; u < 1; ++u) {
          const int q = base + u * 896;
          const int c = q * 8;
          tw_store<1, unsigned short, 8>(row19 + c, out[u]);
        }
      }
    }
#line 211 "dp/src/kernels/pad.rs"
    return;
  }
#line 214 "dp/src/kernels/pad.rs"
  {
    unsigned short* const row21 = p_out + ((long long)program * (7168LL));
    {
      const int base = worker;
      tw_vec<unsigned short, 8> out[1];
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        #pragma unroll
        for (int v = 0; v < 8; ++v) {
          const unsigned short t22 = (unsigned short)0x0000U;
          out[u].e[v] = t22;
        }
      }
      #pragma unroll
      for (int u = 0; u < 1; ++u) {
        const int q = base + u * 896;
        const int c = q * 8;
        tw_store<1, unsigned short, 8>(row21 + c, out[u]);
      }
    }
  }
}
