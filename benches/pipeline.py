#!/usr/bin/env python3
"""What a gather's cache hints cost the kernels around it: one that writes its rows, the gather, and one that reads what it wrote.

    pipeline.py --out pipeline.jsonl

A launch by itself, over rows that L2 does not hold, is fastest if it leaves the caches alone (`schedules.py`). In an engine the rows
have just been written, and are read next. So the same gather, in CUDA C++ by hand, has each hint in turn, in graphs of many layers
over the same buffers, which take turns; a figure is the device time of a layer. The numbers `kept_from`, `kept_until` and
`written_until` of `dsl/src/schedule/machine.rs` come from its readings.
"""

import argparse
import json
import sys
from collections.abc import Callable
from statistics import median

sys.dont_write_bytecode = True

import cupy
import torch

from compare import describe
from replay import Replay

COLUMNS = 7168
LAYERS = 24
WEIGHTS = 8  # matrices that the products take in turn
STALE_BYTES = 128 << 20  # of others, which L2 holds before
LOADS = {"cached": "ld.global.nc", "streaming": "ld.global.nc.L1::no_allocate"}
STORES = {"cached": "st.global", "streaming": "st.global.cs"}
SOURCE = r"""
extern "C" __global__ void __launch_bounds__(448) gather(char* out, const char* source, const int* index) {
  const long long row = blockIdx.x / 2, at = blockIdx.x % 2 * 448 + threadIdx.x;
  const uint4* from = (const uint4*)source + index[row] * 896LL + at;
  uint4 v;
  asm volatile(LOAD ".v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  asm volatile(STORE ".v4.u32 [%0], {%1, %2, %3, %4};" :: "l"((uint4*)out + row * 896 + at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w));
}
"""


def main() -> int:
    options = parse()
    weights = torch.randn(WEIGHTS, COLUMNS, 512, device="cuda", dtype=torch.bfloat16)
    stale = torch.zeros(STALE_BYTES, device="cuda", dtype=torch.int8)
    with open(options.out, "w", encoding="utf-8") as out:
        out.write(json.dumps({"kind": "machine", **describe(None), "rounds": options.rounds, "layers": LAYERS}) + "\n")
        for rows in options.rows:
            for around, steps in around_a_gather(rows, weights).items():
                us = {name: [] for name in steps}
                graphs = {name: Replay(step, LAYERS, LAYERS) for name, step in steps.items()}
                for _ in range(options.rounds):
                    for name, graph in graphs.items():
                        stale.add_(1)
                        torch.cuda.synchronize()
                        us[name] += graph.measure(1, warm_up=1)
                line = {"kind": "pipeline", "rows": rows, "columns": COLUMNS, "around": around}
                line["us"] = {name: round(median(times), 3) for name, times in us.items()}
                out.write(json.dumps(line) + "\n")
                print(f"{rows:>6} {around:28} " + "  ".join(f"{name} {time:8.2f}" for name, time in line["us"].items()), flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pipeline.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", type=int, default=(64, 256, 512, 750, 1000, 1500, 2000, 3000, 4096))
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args()


def around_a_gather(rows: int, weights: torch.Tensor) -> dict[str, dict[str, Callable[[int], None]]]:
    """A layer with each pair of hints, by what stands around the gather."""
    fresh = torch.randn(rows, COLUMNS, device="cuda", dtype=torch.bfloat16)
    source, gathered = torch.empty_like(fresh), torch.empty_like(fresh)
    product = torch.empty(rows, weights.shape[2], device="cuda", dtype=torch.bfloat16)
    norms = torch.empty(rows, device="cuda")
    index = torch.randperm(rows, device="cuda").int()
    arguments = (gathered.data_ptr(), source.data_ptr(), index.data_ptr())

    def norms_of(tensor: torch.Tensor) -> None:
        torch.linalg.vector_norm(tensor, dim=1, dtype=torch.float32, out=norms)

    def norms_of_both(_: int) -> None:
        norms_of(gathered)
        norms_of(source)

    readers = {
        "nothing": None,
        "written, then a product": lambda layer: torch.mm(gathered, weights[layer % WEIGHTS], out=product),
        "written, then norms of rows": lambda _: norms_of(gathered),
        "written, then norms of rows and of the source": norms_of_both,
    }

    def step(kernel, read) -> Callable[[int], None]:
        def layer(number: int) -> None:
            if read:
                torch.mul(fresh, 1.5, out=source)
            with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
                kernel((2 * rows,), (448,), arguments)
            if read:
                read(number)

        return layer

    kernels = {
        f"{load}/{store}": cupy.RawKernel(SOURCE, "gather", options=(f'-DLOAD="{LOADS[load]}"', f'-DSTORE="{STORES[store]}"'))
        for load in LOADS
        for store in STORES
    }
    return {around: {name: step(kernel, read) for name, kernel in kernels.items()} for around, read in readers.items()}


if __name__ == "__main__":
    sys.exit(main())
