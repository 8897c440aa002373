"""The same work in CUDA C++, as somebody writes it who knows the width of rows: whole rows of 16-byte vectors, in every one of some
numbers of threads and blocks. Vectors of rows that begin anywhere are put together of two, with single elements before and behind
them. What a generator of code is to be as fast as. It takes CuPy, which compiles it.
"""

from collections.abc import Callable, Iterator

import torch

try:
    import cupy
except ImportError:
    cupy = None

from cases import Buffers

VECTOR_BYTES = 16
INDEXED = {"slot": 0, "gather": 1, "scatter": 2}  # by operation: whose rows an index names, the source's or the output's
THREADS = (64, 128, 224, 256, 448)
SPLITS = (1, 2, 4, 7)

# A block has SIDE rows beside each other, or one of the SPLIT parts of a row. VECTORS is how many of a row.
SOURCE = r"""
extern "C" __global__ void __launch_bounds__(THREADS * SIDE) move(
    char* out, const char* source, const int* index, long long rows
) {
  const long long row = (long long)(blockIdx.x / SPLIT) * SIDE + threadIdx.x / THREADS;
  if (row >= rows) return;
  constexpr int part = (VECTORS + SPLIT - 1) / SPLIT, trips = (part + THREADS - 1) / THREADS;
  const int begin = (blockIdx.x % SPLIT) * part + threadIdx.x % THREADS;
  const int end = min((int)(blockIdx.x % SPLIT + 1) * part, VECTORS);
  const long long at = INDEXED ? index[row] : row;
  const uint4* from = (const uint4*)source + (INDEXED == 1 ? at : row) * VECTORS;
  uint4* to = (uint4*)out + (INDEXED == 2 ? at : row) * VECTORS;
  uint4 held[trips];
#pragma unroll
  for (int k = 0; k < trips; ++k)
    if (begin + k * THREADS < end) held[k] = HINTS ? __ldcs(from + begin + k * THREADS) : from[begin + k * THREADS];
#pragma unroll
  for (int k = 0; k < trips; ++k)
    if (begin + k * THREADS < end) {
      if (HINTS) __stcs(to + begin + k * THREADS, held[k]);
      else to[begin + k * THREADS] = held[k];
    }
}
"""

# The same of rows that begin anywhere: vectors are those of the output.
ANYWHERE = r"""
__device__ uint4 shifted(uint4 low, uint4 high, unsigned by) {
  unsigned w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 6; ++i) w[i] = by & 8 ? w[i + 2] : w[i];
#pragma unroll
  for (int i = 0; i < 5; ++i) w[i] = by & 4 ? w[i + 1] : w[i];
  const unsigned bits = by % 4 * 8;
  return {__funnelshift_r(w[0], w[1], bits), __funnelshift_r(w[1], w[2], bits),
          __funnelshift_r(w[2], w[3], bits), __funnelshift_r(w[3], w[4], bits)};
}

extern "C" __global__ void __launch_bounds__(THREADS * SIDE) move(
    char* out, const char* source, const int* index, long long rows
) {
  const long long row = (long long)(blockIdx.x / SPLIT) * SIDE + threadIdx.x / THREADS;
  if (row >= rows) return;
  constexpr int part = (VECTORS + SPLIT - 1) / SPLIT, trips = (part + THREADS - 1) / THREADS;
  const long long at = INDEXED ? index[row] : row;
  const char* from = source + (INDEXED == 1 ? at : row) * ROW;
  char* to = out + (INDEXED == 2 ? at : row) * ROW;
  const int head = -(unsigned long long)to & 15, vectors = (ROW - head) / 16, ends = ROW - vectors * 16;
  const int begin = (blockIdx.x % SPLIT) * part + threadIdx.x % THREADS;
  const int limit = min((int)(blockIdx.x % SPLIT + 1) * part, vectors);
  const unsigned by = (unsigned long long)(from + head) & 15;
  const uint4* words = (const uint4*)(from + head - by);
  const int element = begin * (int)sizeof(ELEMENT), end = element < head ? element : element + vectors * 16;
  ELEMENT held_end;
  if (element < ends) held_end = *(const ELEMENT*)(from + end);
  uint4 low[trips], high[trips];
#pragma unroll
  for (int k = 0; k < trips; ++k)
    if (begin + k * THREADS < limit) {
      low[k] = HINTS ? __ldcs(words + begin + k * THREADS) : __ldg(words + begin + k * THREADS);
      if (by) high[k] = HINTS ? __ldcs(words + begin + k * THREADS + 1) : __ldg(words + begin + k * THREADS + 1);
    }
#pragma unroll
  for (int k = 0; k < trips; ++k)
    if (begin + k * THREADS < limit) {
      uint4* vector = (uint4*)(to + head) + begin + k * THREADS;
      if (HINTS) __stcs(vector, shifted(low[k], high[k], by));
      else *vector = shifted(low[k], high[k], by);
    }
  if (element < ends) *(ELEMENT*)(to + end) = held_end;
}
"""
ELEMENTS = {1: "char", 2: "short", 4: "int"}  # by bytes


def launches(b: Buffers) -> Iterator[tuple[str, Callable[[int], None]]]:
    """Every configuration, if somebody can write this by hand."""
    case = b.case
    row = case.columns * case.element_bytes
    if cupy is None or case.op not in INDEXED or row < VECTOR_BYTES:
        return
    anywhere = bool(row % VECTOR_BYTES) or case.misaligned != "none"
    vectors = row // VECTOR_BYTES
    indexed = INDEXED[case.op]
    index = b.index32 if indexed else [b.offset] * case.sets
    first = case.offset * row if case.op == "slot" else 0
    few = 1 << (vectors - 1).bit_length()
    # Ends are of fewer than two vectors.
    few = max(few, 2 * VECTOR_BYTES // case.element_bytes) if anywhere else few
    shapes = [(few, block // few) for block in (128, 256)] if few < THREADS[0] else [*((threads, 1) for threads in THREADS), (64, 2)]
    for threads, side in shapes:
        for split, hints in ((split, hints) for split in SPLITS for hints in (0, 1)):
            # No block without work, and no thread with more than 16 vectors.
            if (split > 1 and vectors <= (split - 1) * threads) or -(-vectors // (split * threads)) > 16 or (split > 1 and side > 1):
                continue
            defines = {"THREADS": threads, "SIDE": side, "SPLIT": split, "VECTORS": vectors, "INDEXED": indexed, "HINTS": hints}
            defines |= {"ROW": row, "ELEMENT": ELEMENTS[case.element_bytes]} if anywhere else {}
            options = tuple(f"-D{name}={value}" for name, value in defines.items())
            kernel = cupy.RawKernel(ANYWHERE if anywhere else SOURCE, "move", options=options)
            grid, block = (-(-case.rows // side) * split,), (threads * side,)

            def launch(i: int, kernel=kernel, grid=grid, block=block) -> None:
                with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
                    to, source = b.output[i].data_ptr() + first, b.source[i].data_ptr()
                    kernel(grid, block, (to, source, index[i].data_ptr(), case.rows))

            yield f"{side} x {split} x {threads} threads, {'streaming' if hints else 'cached'}", launch
