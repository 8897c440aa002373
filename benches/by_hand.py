"""The same work in CUDA C++, as somebody writes it who knows the width of rows: whole rows of 16-byte vectors, in every one of some
numbers of threads and blocks. What a generator of code is to be as fast as. It takes CuPy, which compiles it, and rows that begin
at multiples of 16 bytes.
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


def launches(b: Buffers) -> Iterator[tuple[str, Callable[[int], None]]]:
    """Every configuration, if somebody can write this by hand."""
    case = b.case
    row = case.columns * case.element_bytes
    if cupy is None or case.op not in INDEXED or row % VECTOR_BYTES or case.misaligned != "none":
        return
    vectors = row // VECTOR_BYTES
    indexed = INDEXED[case.op]
    index = b.index32 if indexed else [b.offset] * case.sets
    first = case.offset * row if case.op == "slot" else 0
    few = 1 << (vectors - 1).bit_length()
    side = 256 // few if few < THREADS[0] else 1
    for threads in (few,) if side > 1 else THREADS:
        for split, hints in ((split, hints) for split in SPLITS for hints in (0, 1)):
            # No block without work, and no thread with more than 16 vectors.
            if (split > 1 and vectors <= (split - 1) * threads) or -(-vectors // (split * threads)) > 16 or (split > 1 and side > 1):
                continue
            defines = {"THREADS": threads, "SIDE": side, "SPLIT": split, "VECTORS": vectors, "INDEXED": indexed, "HINTS": hints}
            options = tuple(f"-D{name}={value}" for name, value in defines.items())
            kernel = cupy.RawKernel(SOURCE, "move", options=options)
            grid, block = (-(-case.rows // side) * split,), (threads * side,)

            def launch(i: int, kernel=kernel, grid=grid, block=block) -> None:
                with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
                    to, source = b.output[i].data_ptr() + first, b.source[i].data_ptr()
                    kernel(grid, block, (to, source, index[i].data_ptr(), case.rows))

            yield f"{side} x {split} x {threads} threads, {'streaming' if hints else 'cached'}", launch
