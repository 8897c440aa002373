#!/usr/bin/env python3
"""Rows whose elements meet, in Tilewright, Triton and torch, side by side in one run on one GPU.

    collectives.py --ours PATH/libmovement.so --out collectives.jsonl

Sorts, the largest elements, softmax, sums, the place of the largest, cumulative sums, histograms, RMS norms and 8-bit floats
of rows. Every contestant's launches are captured in a CUDA graph over the same rotating sets of rows, and results are compared
with torch's before anything is timed. Of Triton the best number of warps counts. Contestants take turns; a figure is the median
over the rounds of the medians over the replays. What has to be compiled is compiled before, by many processes. With `--spreads`
ours is also measured under other numbers of threads and programs.
"""

import argparse
import gc
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from statistics import median

# Processes that compile ahead leave here what they made.
for cache in ("TRITON_CACHE_DIR", "TILEWRIGHT_CACHE"):
    os.environ.setdefault(cache, tempfile.mkdtemp())
sys.dont_write_bytecode = True

import torch
import triton
import triton.language as tl

from compare import describe
from ours import Ours, OursError
from replay import Replay, best_of, in_turn

OPS = ("sort", "top_k", "softmax", "rms_norm", "sum", "argmax", "cumulative_sum", "histogram", "quantize")
COLUMNS = (8, 64, 131, 256, 512, 2048, 7168)
ROWS = (1, 64, 4096, 65536)
WARPS = (1, 2, 4, 8, 16)
BINS = 256
GROUP = 128  # elements that share a scale
LARGEST, SMALLEST = 448.0, 1e-10  # of an 8-bit float, and of what a scale is made of
MOST_SETS = 64
MOST_BYTES = 8 << 30
LEAST_TRAFFIC = 240_000_000
LONGEST_TRITON_SORT = 2048  # Triton's compiler takes minutes for longer ones
LONG_US = 20_000  # device time that a contestant has in a round, so that what is slow is measured less often
THREADS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
BESIDE = (1, 4, 8, 32)
SPREADS = [(threads, beside) for threads in THREADS for beside in BESIDE if 32 <= threads * beside <= max(512, threads)]


@triton.jit
def triton_sort(out, src, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=float("inf"))
    tl.store(out + r * E + c, tl.sort(v), mask=c < E)


@triton.jit
def triton_top_k(weights, ids, src, E: tl.constexpr, B: tl.constexpr, K: tl.constexpr, P: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=0.0)
    bits = v.to(tl.int32, bitcast=True).to(tl.int64)  # positive floats order as integers
    t = tl.topk((bits << 32) | (B - 1 - c).to(tl.int64), P)  # of two or more
    k = tl.arange(0, P)
    s = tl.where(k < K, (t >> 32).to(tl.int32).to(tl.float32, bitcast=True), 0.0)
    tl.store(ids + r * K + k, (B - 1 - (t & 0xFFFFFFFF)).to(tl.int32), mask=k < K)
    tl.store(weights + r * K + k, s / tl.sum(s, 0), mask=k < K)


# ANCHOR: softmax
@triton.jit
def triton_softmax(out, src, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=float("-inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + r * E + c, e / tl.sum(e, 0), mask=c < E)
# ANCHOR_END: softmax


@triton.jit
def triton_rms_norm(out, src, weights, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=0.0).to(tl.float32)
    s = tl.sum(v * v, 0) / E + 1e-6
    w = tl.load(weights + c, mask=c < E, other=0.0).to(tl.float32)
    tl.store(out + r * E + c, (v * tl.rsqrt(s) * w).to(tl.bfloat16), mask=c < E)


@triton.jit
def triton_sum(out, src, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    tl.store(out + r, tl.sum(tl.load(src + r * E + c, mask=c < E, other=0.0).to(tl.float32), 0))


@triton.jit
def triton_argmax(out, src, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=float("-inf"))
    tl.store(out + r, tl.argmax(v, 0).to(tl.int64))


@triton.jit
def triton_cumulative_sum(out, src, E: tl.constexpr, B: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=0)
    tl.store(out + r * E + c, tl.cumsum(v, 0), mask=c < E)


@triton.jit
def triton_histogram(out, src, E: tl.constexpr, B: tl.constexpr, N: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    v = tl.load(src + r * E + c, mask=c < E, other=0)
    tl.store(out + r * N + tl.arange(0, N), tl.histogram(v, N, mask=c < E))


@triton.jit
def triton_quantize(out, scales, src, E: tl.constexpr, B: tl.constexpr, GROUP: tl.constexpr, LARGEST: tl.constexpr, SMALLEST: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, B)
    groups: tl.constexpr = B // GROUP
    v = tl.load(src + r * E + c, mask=c < E, other=0.0).to(tl.float32)
    v = tl.reshape(v, [groups, GROUP])
    scale = tl.maximum(tl.max(tl.abs(v), 1), SMALLEST) / LARGEST
    g = tl.arange(0, groups)
    tl.store(scales + r * (E // GROUP) + g, scale, mask=g < E // GROUP)
    q = tl.reshape(v / scale[:, None], [B]).to(tl.float8e4nv)
    tl.store(out + r * E + c, q, mask=c < E)


@dataclass
class Case:
    """An operation on rows, with the sets that all contestants share."""

    op: str
    rows: int
    columns: int
    k: int = 0
    sets: int = 0
    launches: int = 0
    bytes: int = 0  # that a launch must read and write
    source: list = field(default_factory=list)
    outs: list = field(default_factory=list)
    weights: object = None

    @property
    def is_any(self) -> bool:
        """Whether there is such a case."""
        return self.k <= self.columns and (self.op != "quantize" or self.columns % GROUP == 0)

    def make(self, traffic: int, most_sets: int = MOST_SETS) -> None:
        """Allocates rows and results, all sets one behind the other."""
        narrow = dict.fromkeys(("rms_norm", "sum", "quantize"), torch.bfloat16)
        source = {**narrow, "cumulative_sum": torch.int32, "histogram": torch.int32}.get(self.op, torch.float32)
        bytes_of_set = self.rows * self.columns * source.itemsize * (1 if self.op in ("sum", "argmax", "top_k", "histogram") else 2)
        self.sets = max(1, min(most_sets, -(-traffic // bytes_of_set)))
        self.launches = max(self.sets, 20 if bytes_of_set < 1 << 28 else 2)
        shape = (self.sets, self.rows, self.columns)
        if source == torch.int32:
            self.source = torch.randint(0, BINS, shape, dtype=torch.int32, device="cuda")
        else:
            self.source = torch.rand(shape, device="cuda").add_(0.001).to(source)
        results = {
            "top_k": [(self.k, torch.float32), (self.k, torch.int32)],
            "sum": [(None, torch.float32)],
            "argmax": [(None, torch.int64)],
            "histogram": [(BINS, torch.int32)],
            "quantize": [(self.columns, torch.float8_e4m3fn), (self.columns // GROUP, torch.float32)],
        }.get(self.op, [(self.columns, source)])
        self.outs = [
            torch.zeros(shape[:2] if of is None else (*shape[:2], of), dtype=dtype, device="cuda") for of, dtype in results
        ]
        self.bytes = sum(tensor[0].nbytes for tensor in (self.source, *self.outs))
        if self.op == "rms_norm":
            self.weights = torch.rand(self.columns, device="cuda").bfloat16()

    def request(self) -> dict:
        """As the other side reads it."""
        return {
            "op": self.op,
            "rows": self.rows,
            "columns": self.columns,
            "results": self.outs[0].shape[-1] if self.outs[0].dim() == 3 else 0,
            "sets": self.sets,
            "launches": self.launches,
            "source": self.source.data_ptr(),
            "weights": self.weights.data_ptr() if self.weights is not None else 0,
            "out": self.outs[0].data_ptr(),
            "beside": self.outs[1].data_ptr() if len(self.outs) > 1 else 0,
        }

    def torch_side(self, i: int) -> list:
        """What torch has for it, of one set."""
        x = self.source[i]
        match self.op:
            case "sort":
                return [torch.sort(x, dim=1).values]
            case "top_k":
                values, ids = torch.topk(x, self.k, dim=1)
                return [values / values.sum(1, keepdim=True), ids]
            case "softmax":
                return [torch.softmax(x, 1)]
            case "rms_norm":
                return [torch.nn.functional.rms_norm(x, (self.columns,), self.weights, 1e-6)]
            case "sum":
                return [torch.sum(x, 1, dtype=torch.float32)]
            case "argmax":
                return [torch.argmax(x, 1)]
            case "cumulative_sum":
                return [torch.cumsum(x, 1, dtype=torch.int32)]
            case "histogram":
                rows = torch.arange(self.rows, device="cuda", dtype=torch.int64)[:, None] * BINS
                return [torch.bincount((x + rows).flatten(), minlength=self.rows * BINS).view(self.rows, BINS)]
            case "quantize":
                groups = x.view(self.rows, -1, GROUP).float()
                scales = groups.abs().amax(2).clamp(min=SMALLEST) / LARGEST
                return [(groups / scales[:, :, None]).to(torch.float8_e4m3fn).view(self.rows, -1), scales]
        raise AssertionError(self.op)

    def triton_side(self) -> list:
        """Each number of warps, and how it launches a set."""
        block = triton.next_power_of_2(self.columns)
        if self.op in ("sort", "top_k") and self.columns > LONGEST_TRITON_SORT:
            return []

        def launch(warps: int):
            def run(i: int) -> None:
                x, grid = self.source[i], (self.rows,)
                outs = [out[i] for out in self.outs]
                about = {"E": self.columns, "B": block, "num_warps": warps}
                match self.op:
                    case "top_k":
                        power = max(2, triton.next_power_of_2(self.k))
                        triton_top_k[grid](outs[0], outs[1], x, K=self.k, P=power, **about)
                    case "rms_norm":
                        triton_rms_norm[grid](outs[0], x, self.weights, **about)
                    case "quantize":
                        triton_quantize[grid](
                            outs[0], outs[1], x, GROUP=GROUP, LARGEST=LARGEST, SMALLEST=SMALLEST, **about
                        )
                    case "histogram":
                        triton_histogram[grid](outs[0], x, N=BINS, **about)
                    case op:
                        globals()[f"triton_{op}"][grid](outs[0], x, **about)

            return run

        return [(f"{warps} warps", launch(warps)) for warps in WARPS]

    def wrong(self) -> str | None:
        """What is wrong with the results of the first set, if anything is."""
        expected = self.torch_side(0)
        found = [out[0] for out in self.outs]
        if self.op == "top_k":
            # Of equal elements torch takes any; the others have to be those at the indices.
            at_ids = torch.gather(self.source[0], 1, found[1].long())
            values = torch.topk(self.source[0], self.k, dim=1).values
            if not torch.equal(at_ids, values):
                return "the indices are not those of the largest"
            found, expected = found[:1], expected[:1]
        if self.op == "argmax":
            found = [torch.gather(self.source[0], 1, found[0][:, None])]
            expected = [torch.gather(self.source[0], 1, expected[0][:, None])]
        # One unit of the last place of what is rounded.
        units = {torch.bfloat16: 2**-7, torch.float8_e4m3fn: 2**-3}
        for found, expected in zip(found, expected):
            exact = self.op in ("sort", "argmax", "cumulative_sum", "histogram")
            tolerance = 0.0 if exact else units.get(found.dtype, 2e-5)
            if exact and torch.equal(found, expected):
                continue
            if not torch.allclose(found.float(), expected.float(), rtol=tolerance, atol=0.0):
                return f"differs from torch's by {(found.float() - expected.float()).abs().max().item()}"
        return None


def contestants(case: Case, ours: Ours, options: argparse.Namespace, write) -> dict:
    """Whoever does it right, and how each is measured."""
    about = {"op": case.op, "rows": case.rows, "columns": case.columns, "k": case.k}
    found = {}

    def checked(who: str, measure) -> None:
        measure(1)
        torch.cuda.synchronize()
        wrong = case.wrong()
        if wrong is None:
            found[who] = measure
        else:
            write({"kind": "error", **about, "who": who, "reason": wrong})
        for out in case.outs:
            out.zero_()
        torch.cuda.synchronize()

    for spread in [None, *options.spreads]:
        name = "Tilewright" if spread is None else f"Tilewright {spread[0]} x {spread[1]}"
        try:
            ours.prepare_meeting(name, case.request(), [case.source, case.outs, case.weights], spread)
        except OursError as error:
            write({"kind": "error", **about, "who": name, "reason": str(error)})
            continue
        checked(name, lambda replays, name=name: ours.measure_meeting(name, replays))
    if options.peers:
        configurations = case.triton_side()
        if configurations:
            try:
                label, replay = best_of(configurations, case.sets, case.launches, 2, case.bytes)
                checked(f"Triton, {label}", replay.measure)
            except Exception as error:
                write({"kind": "error", **about, "who": "Triton", "reason": repr(error)[:200]})
        if case.op != "histogram":
            kept = [None] * case.sets

            def by_torch(i: int) -> None:
                kept[i] = case.torch_side(i)  # or the graph's memory would be used again

            if 3 * case.source.numel() * case.source.itemsize < MOST_BYTES:
                found["torch"] = Replay(by_torch, case.sets, case.launches).measure
    return found


def spread(text: str) -> list:
    """Threads of a program and programs of a block."""
    return SPREADS if text == "all" else [tuple(int(number) for number in text.split("x"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches)")
    parser.add_argument("--out", default="collectives.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--columns", nargs="+", type=int, default=COLUMNS)
    parser.add_argument("--k", nargs="+", type=int, default=(1, 2, 6, 8), help="the largest elements that `top_k` finds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=10, help="replays a round (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3600, help="after which nothing more is measured (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that compile ahead (default: %(default)s)")
    parser.add_argument(
        "--spreads",
        nargs="+",
        type=spread,
        default=(),
        metavar="THREADSxPROGRAMS",
        help="schedules that ours is measured under too; `all` for every one that is of use",
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()
    options.spreads = [one for some in options.spreads for one in some]
    torch.manual_seed(7)
    ours = Ours(options.ours)
    machine = describe(ours)
    print(machine, flush=True)
    traffic = max(LEAST_TRAFFIC, 4 * machine["l2_bytes"])
    cases = [
        Case(op, rows, columns, k)
        for op, columns, rows in itertools.product(options.ops, options.columns, options.rows)
        for k in (options.k if op == "top_k" else (0,))
    ]
    cases = [case for case in cases if case.is_any]
    compile_ahead(cases, options)
    errors, began = 0, time.monotonic()
    with open(options.out, "w", encoding="utf-8") as out:

        def write(line: dict) -> None:
            nonlocal errors
            if line["kind"] == "error":
                errors += 1
                print(line, flush=True)
            out.write(json.dumps(line) + "\n")
            out.flush()

        write({"kind": "machine", **machine, "rounds": options.rounds, "replays": options.replays, "traffic": traffic})
        for case in cases:
            if time.monotonic() - began > options.seconds:
                print(f"no time for {case.op} of {case.columns}, {case.rows} rows", flush=True)
                continue
            measure(case, ours, options, traffic, write)
            case.source, case.outs, case.weights = [], [], None
    return 1 if errors else 0


def compile_ahead(cases: list, options: argparse.Namespace) -> None:
    """Everything is compiled once, in processes of their own: whoever asks later finds it in the caches."""
    if options.jobs <= 1:
        return
    peers = sorted({(case.op, case.columns, case.k) for case in cases}, key=lambda case: -case[1]) if options.peers else []
    tasks = [("peer", (op, 1, columns, k), warps) for op, columns, k in peers for warps in range(len(WARPS))]
    tasks += [("ours", (case.op, case.rows, case.columns, case.k), options.ours) for case in cases]
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for what, reason in pool.imap_unordered(compile_one, tasks):
            if reason:
                print(f"{what} is not compiled ahead: {reason}", flush=True)
    print(f"compiled ahead in {time.monotonic() - began:.1f} s", flush=True)


def compile_one(task: tuple) -> tuple:
    """Compiles one side of a case, for sets that lie in every way."""
    side, what, how = task
    try:
        case = Case(*what)
        case.make(1 << 28, most_sets=8)  # two-byte elements begin in eight ways
        if side == "peer":
            configurations = case.triton_side()
            for i in range(case.sets if configurations else 0):
                configurations[how][1](i)
        else:
            case.launches = 1
            ours = Ours(how)
            ours.prepare_meeting("ahead", case.request(), [])
            ours.release()
        torch.cuda.synchronize()
        return what, None
    except Exception as error:
        return what, repr(error)[:200]
    finally:
        case = None
        torch.cuda.empty_cache()


def measure(case: Case, ours: Ours, options: argparse.Namespace, traffic: int, write) -> None:
    began = time.monotonic()
    case.make(traffic)
    torch.cuda.synchronize()
    found = contestants(case, ours, options, write)
    rounds, replays = {name: [] for name in found}, {}
    for turn in range(options.rounds):
        for name in in_turn(found, turn):
            times = found[name](replays.get(name, 2))
            replays[name] = max(2, min(options.replays, round(LONG_US / (median(times) * case.launches))))
            rounds[name].append(median(times))
    about = {"op": case.op, "rows": case.rows, "columns": case.columns, "k": case.k}
    figures = {name: round(median(times), 3) for name, times in rounds.items()}
    for name, us in figures.items():
        role = "ours" if name.startswith("Tilewright") else "peer"
        # Of Triton one column, whatever number of warps was best.
        who, _, configuration = name.partition(", ")
        about_it = {"who": who, "role": role, "configuration": configuration}
        write({"kind": "reading", **about, **about_it, "us": us, "bytes": case.bytes, "rounds_us": [round(us, 3) for us in rounds[name]]})
    peers = [us for name, us in figures.items() if not name.startswith("Tilewright")]
    over = f"{figures['Tilewright'] / min(peers):5.2f} x" if peers and "Tilewright" in figures else ""
    shown = "  ".join(f"{name} {us:.2f}" for name, us in sorted(figures.items(), key=lambda item: item[1])[:8])
    mine = f"{figures['Tilewright']:.2f}" if "Tilewright" in figures else "-"
    label = f"{case.op}{f' {case.k}' if case.k else ''} of {case.columns}, {case.rows} rows"
    print(f"{label:40} ours {mine:>8} us {over}  [{shown}]  {time.monotonic() - began:.1f} s", flush=True)
    ours.release()
    found.clear()
    gc.collect()
    if torch.cuda.memory_reserved() > MOST_BYTES:
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
