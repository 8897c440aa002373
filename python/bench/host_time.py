"""Host time of a call with 3 and with 8 tensors of torch on a GPU, beside Triton, torch and bare conversions, in one
run.

`python host_time.py [--json FILE]`. Times are microseconds of the host for one call: the median and the 99th percentile
of bursts of calls that the GPU keeps up with, each kind in turn so that all see the same machine.
"""

import argparse
import ctypes
import itertools
import json
import statistics
import time

import torch
import triton
import triton.language as tl

import tilewright
import tilewright.torch as ops

BURST, BURSTS = 50, 200
HIDDEN = 512


@triton.jit
def gather_kernel(out, src, index, HIDDEN: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, HIDDEN)
    source = tl.load(index + row)
    tl.store(out + row * HIDDEN + cols, tl.load(src + source * HIDDEN + cols))


@triton.jit
def pad_kernel(a_out, b_out, c_out, d_out, a, b, c, d, count, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, real = at < size, at < count
    tl.store(a_out + at, tl.load(a + at, mask=real, other=0), mask=inside)
    tl.store(b_out + at, tl.load(b + at, mask=real, other=0), mask=inside)
    tl.store(c_out + at, tl.load(c + at, mask=real, other=0), mask=inside)
    tl.store(d_out + at, tl.load(d + at, mask=real, other=1), mask=inside)


def driver_launch(compiled, tensors, numbers):
    """A launch of a compiled kernel by the driver alone, with arguments that were made before."""
    driver = ctypes.CDLL("libcuda.so.1")
    values = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors] + [ctypes.c_int32(number) for number in numbers]
    # What Triton adds behind: scratch memory, of which there is none.
    values += [ctypes.c_void_p(0)] * 2
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    function, stream = ctypes.c_void_p(compiled.function), ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    launch, threads, shared = driver.cuLaunchKernel, 32 * compiled.metadata.num_warps, compiled.metadata.shared

    def run(keep=(values, pointers)):
        launch(function, 1, 1, 1, threads, 1, 1, shared, stream, pointers, None)

    return run


def measured(kinds):
    """Times of every kind, in turn."""
    times = {name: [] for name in kinds}
    for name, run in kinds.items():
        for _ in range(200):
            run()
        torch.cuda.synchronize()
    tilewright.settle(30)
    for _ in range(BURSTS):
        for name, run in kinds.items():
            torch.cuda.synchronize()
            begun = time.perf_counter_ns()
            for _ in range(BURST):
                run()
            times[name].append((time.perf_counter_ns() - begun) / BURST / 1000)
    torch.cuda.synchronize()
    return {
        name: {"p50": statistics.median(found), "p99": sorted(found)[len(found) * 99 // 100]}
        for name, found in times.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also writes the times there")
    arguments = parser.parse_args()
    gpu = torch.device("cuda", 0)
    src, out = torch.randn(64, HIDDEN, device=gpu), torch.empty(16, HIDDEN, device=gpu)
    index = torch.randint(0, 64, (16,), device=gpu)
    srcs = [torch.arange(24, device=gpu, dtype=dtype) for dtype in [torch.int64, torch.int64, torch.int32, torch.int32]]
    outs = [torch.empty(32, device=gpu, dtype=source.dtype) for source in srcs]
    entries = [tilewright.Pad(out, src, 24, fill) for out, src, fill in zip(outs, srcs, [0, 0, 0, 1])]
    eight = [*outs, *srcs]
    # So many that no launch of one of them is kept.
    places = torch.zeros(2000, 4, 64, device=gpu, dtype=torch.int32)
    others = itertools.cycle(
        [
            [(out, place.view(out.dtype)[:24], 24, fill) for out, place, fill in zip(outs, four, [0, 0, 0, 1])]
            for four in places
        ]
    )
    pads = [([32], 0), ([32], 0), ([32], 0), ([32], 1)]

    def torch_pads():
        for source, ((size,), fill) in zip(srcs, pads):
            torch.cat([source, source.new_full((size - 24,), fill)])

    def triton_pad():
        return pad_kernel[(1,)](*outs, *srcs, 24, 32, BLOCK=32)

    def triton_gather():
        return gather_kernel[(16,)](out, src, index, HIDDEN=HIDDEN)

    gathered, padded = triton_gather(), triton_pad()
    kinds = {
        "3 tensors: tilewright.gather_rows": lambda: tilewright.gather_rows(out, src, index),
        "3 tensors: torch.ops.tilewright.gather_rows": lambda: ops.gather_rows(out, src, index),
        "3 tensors: Triton kernel[grid]": triton_gather,
        "3 tensors: torch.index_select(out=)": lambda: torch.index_select(src, 0, index, out=out),
        "3 tensors: the driver's launch by ctypes": driver_launch(gathered, [out, src, index], []),
        "3 tensors: tilewright, nothing to launch": lambda: tilewright.gather_rows(out[:0], src, index[:0]),
        "3 tensors: __dlpack__": lambda: [tensor.__dlpack__() for tensor in (out, src, index)],
        "8 tensors: tilewright.pad_batch": lambda: tilewright.pad_batch(entries),
        "8 tensors: tilewright.pad_batch, other sources": lambda: tilewright.pad_batch(next(others)),
        "8 tensors: torch.ops.tilewright.pad_batch": lambda: ops.pad_batch(entries),
        "8 tensors: Triton kernel[grid]": triton_pad,
        "8 tensors: torch, as SGLang pads": torch_pads,
        "8 tensors: the driver's launch by ctypes": driver_launch(padded, eight, [24, 32]),
        "8 tensors: __dlpack__": lambda: [tensor.__dlpack__() for tensor in eight],
    }
    times = measured(kinds)
    triton_pad()
    expected = [output.clone() for output in outs]
    for output in outs:
        output.fill_(9)
    tilewright.pad_batch(entries)
    assert all(torch.equal(one, other) for one, other in zip(outs, expected)), "the two do not pad alike"
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, Triton {triton.__version__}")
    for name, found in times.items():
        print(f"{name:48} {found['p50']:8.2f} {found['p99']:8.2f}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(
                {
                    "gpu": torch.cuda.get_device_name(0),
                    "torch": torch.__version__,
                    "triton": triton.__version__,
                    "us": times,
                },
                file,
            )


if __name__ == "__main__":
    main()
