#!/usr/bin/env python3
"""Padding all tensors of a decode batch, by one fused launch and by torch, side by side in one run on one GPU.

    batch.py --ours PATH/libmovement.so --out batch.jsonl

Eleven tensors of five types for 20 requests become as long as for 24, as a data-parallel engine pads them before a forward.
Three figures for each: the host's time until the launches are made, the time until they are done, both one batch at a time,
and the device's time for a batch in a CUDA graph of launches over rotating batches, which together are larger than the L2
cache. Contestants take turns: a figure is the median over the rounds of the medians over the repetitions.
"""

import argparse
import json
import sys
import time
from statistics import median

sys.dont_write_bytecode = True

import torch

from compare import describe
from ours import Ours, OursError
from replay import Replay, in_turn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches)")
    parser.add_argument("--out", default="batch.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--real", type=int, default=20, help="requests (default: %(default)s)")
    parser.add_argument("--length", type=int, default=24, help="requests afterwards (default: %(default)s)")
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--launches", type=int, default=200, help="a round (default: %(default)s)")
    parser.add_argument("--replays", type=int, default=20, help="a round (default: %(default)s)")
    options = parser.parse_args()
    ours = Ours(options.ours)
    machine = describe(ours)
    real, length = options.real, options.length
    row = 3 * 8 + 4 * 4 + 3 * 8 + 4 * 4 + 4 * 8 + 2 * options.columns
    sets = max(8, -(-4 * machine["l2_bytes"] // (row * (real + length))))
    about = {"tensors": 11, "real": real, "length": length, "columns": options.columns}
    method = {name: getattr(options, name) for name in ("rounds", "launches", "replays")}

    batches = [tensors(real, options.columns) for _ in range(sets)]
    contestants = {
        "torch cat": ("peer", torch_side(pad_by_cat, batches, real, length, options)),
        "torch pad": ("peer", torch_side(pad_by_pad, batches, real, length, options)),
    }
    for binding in ours.hello()["variants"]:
        contestants[f"Tilewright {binding}"] = ("ours", our_side(ours, binding, sets, about, options))

    rounds: dict[str, list[dict]] = {name: [] for name in contestants}
    for turn in range(options.rounds):
        for name in in_turn(contestants, turn):
            torch.cuda.synchronize()
            rounds[name].append(contestants[name][1]())
    with open(options.out, "w", encoding="utf-8") as out:
        out.write(json.dumps({"kind": "machine", **machine, **method, "sets": sets}) + "\n")
        for name, (role, _) in contestants.items():
            figures = {}
            for figure in rounds[name][0]:
                medians = [median(turn[figure]) for turn in rounds[name]]
                figures[figure] = round(median(medians), 3)
                figures[f"{figure[:-3]}_rounds_us"] = [round(value, 3) for value in medians]
            line = {"kind": "batch", **about, "who": name, "role": role, **figures}
            out.write(json.dumps(line) + "\n")
            print(f"{name:20} host {figures['host_us']:8.2f}  done {figures['total_us']:8.2f}  graph {figures['graph_us']:7.2f} us")
    return 0


def tensors(real: int, columns: int) -> list[torch.Tensor]:
    """The tensors of a batch."""

    def random(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.randint(1, 9, shape, device="cuda").to(dtype)

    return (
        [random((real,), torch.int64) for _ in range(3)]
        + [random((real,), torch.int32) for _ in range(4)]
        + [random((3, real), torch.int64), random((real, 4), torch.float32), random((real, 4), torch.int64)]
        + [random((real, columns), torch.bfloat16)]
    )


def axis_of(tensor: torch.Tensor, real: int) -> int:
    return 0 if tensor.shape[0] == real else 1


def pad_by_cat(batch: list[torch.Tensor], real: int, length: int) -> list[torch.Tensor]:
    """As SGLang does: a concatenation with zeros."""
    padded = []
    for tensor in batch:
        axis = axis_of(tensor, real)
        shape = list(tensor.shape)
        shape[axis] = length - real
        padded.append(torch.cat([tensor, tensor.new_zeros(shape)], dim=axis))
    return padded


def pad_by_pad(batch: list[torch.Tensor], real: int, length: int) -> list[torch.Tensor]:
    """What torch has for it."""
    padded = []
    for tensor in batch:
        behind = [0] * (2 * tensor.dim())
        behind[2 * (tensor.dim() - 1 - axis_of(tensor, real)) + 1] = length - real
        padded.append(torch.nn.functional.pad(tensor, behind))
    return padded


def torch_side(pad, batches, real, length, options):
    kept: list = [None] * len(batches)

    def into_graph(i: int) -> None:
        kept[i] = pad(batches[i], real, length)  # or the graph's memory would be used again

    replay = Replay(into_graph, len(batches), len(batches))

    def measure() -> dict:
        host, total = [], []
        for i in range(20 + options.launches):
            begin = time.perf_counter_ns()
            pad(batches[i % len(batches)], real, length)
            launched = time.perf_counter_ns()
            torch.cuda.synchronize()
            if i >= 20:
                host.append((launched - begin) / 1e3)
                total.append((time.perf_counter_ns() - begin) / 1e3)
        return {"host_us": host, "total_us": total, "graph_us": replay.measure(options.replays)}

    return measure


def our_side(ours: Ours, binding: str, sets: int, about: dict, options):
    case = {name: about[name] for name in ("real", "length", "columns")}

    def measure() -> dict:
        ours.ask(do="prepare_batch", sets=sets, binding=binding, **case)
        return ours.ask(do="measure_batch", launches=options.launches, replays=options.replays, warm_up=20)

    return measure


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OursError as error:
        print(f"this cannot be measured: {error}", file=sys.stderr)
        sys.exit(2)
