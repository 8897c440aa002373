#!/usr/bin/env python3
"""Gathers and sums between the GPUs of a host in Tilewright, NCCL, torch and by hand, side by side in one run.

    peers_gather.py --ours PATH/libmovement.so --gpus 2 --out peers-gather.jsonl

A process for each GPU. Every contestant's collectives are captured in CUDA graphs, whose replays begin on all ranks together, at
a gate in the stream, and take turns. Results are compared before anything is timed. A figure is the median over the replays on
the rank where it is the longest; of the kernel by hand that of the best of eighteen shapes counts. *Ragged* ranks have as many
rows together as equal ones, the last one the most; *largest* are equal ranks that have as many each as the last one of those.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from statistics import median

# NVLink multicast is off on many hosts, and is measured on none.
os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
sys.dont_write_bytecode = True

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from ours import Ours, OursError
from replay import in_turn

WARM_UP = 20  # eager calls before those that are timed, as those of the library are
ROWS = (1, 4, 8, 32, 128, 512, 1024, 2048, 8192)
COLUMNS = 7168
PARTS = {"all_gather": ("equal", "ragged", "largest"), "reduce_scatter": ("equal", "ragged"), "all_reduce": ("equal",)}
SHAPES = [(blocks, threads) for blocks in (4, 8, 16, 32, 64, 128) for threads in (128, 256, 512)]
# The most bytes of a buffer that one shot is tried on.
MOST_ONE_SHOT = 8 << 20


def counts(parts: str, rows: int, ranks: int) -> list[int]:
    """The rows of each rank."""
    total = rows * ranks
    ends = [total * rank * (rank + 1) // (ranks * (ranks + 1)) for rank in range(ranks + 1)]
    ragged = [end - start for start, end in zip(ends, ends[1:])]
    return {"equal": [rows] * ranks, "ragged": ragged, "largest": [max(ragged)] * ranks}[parts]


@dataclass
class Contestant:
    """Somebody who has a graph ready."""

    who: str
    role: str
    label: str
    host_us: float
    replay: object  # microseconds of one collective


class Rank:
    """This process."""

    def __init__(self, rank: int, options: argparse.Namespace):
        self.rank, self.ranks, self.options = rank, options.gpus, options
        self.ours = Ours(options.ours)
        self.stream = torch.cuda.Stream()
        self.side = dist.new_group(backend="gloo")
        most = max(sum(counts(parts, rows, self.ranks)) for rows in options.rows for parts in PARTS["all_gather"])
        self.ask(what="join", rank=rank, ranks=self.ranks, port=options.port, rows=most, columns=COLUMNS)
        shape = (most, COLUMNS)
        self.buffer = torch.zeros(shape, dtype=torch.bfloat16, device="cuda")
        self.local = torch.full(shape, rank + 1.0, dtype=torch.bfloat16, device="cuda")
        backend = dist.group.WORLD._get_backend(torch.device("cuda", rank))
        self.pool = torch.cuda.MemPool(backend.mem_allocator)
        with torch.cuda.use_mem_pool(self.pool):
            self.window = torch.zeros(shape, dtype=torch.bfloat16, device="cuda")
            self.source = torch.full(shape, rank + 1.0, dtype=torch.bfloat16, device="cuda")
        backend.register_mem_pool(self.pool, symm=True)

    def ask(self, **request) -> dict:
        return self.ours.ask(do="rank", **request)

    def told(self, mine: object) -> list:
        """What every rank says."""
        all_of_them = [None] * self.ranks
        dist.all_gather_object(all_of_them, mine, group=self.side)
        return all_of_them

    def ours_of(self, who: str, way: object, case: list[int], role: str = "ours", label: str = "", tuning: bool = False):
        name, options = who + label, self.options
        answer = self.ask(
            what="prepare", name=name, way=way, counts=case, batch=options.batch,
            calls=0 if tuning else options.calls, check=not tuning,
        )  # fmt: skip
        return Contestant(who, role, label, answer["host_us"], lambda: self.ask(what="replay", name=name)["us"])

    def by_hand(self, case: list[int]) -> Contestant:
        """The best of all shapes: every rank takes the same."""
        best = None
        for blocks, threads in SHAPES:
            if blocks * threads > 4 * max(case) * COLUMNS // 8 + 512:
                continue
            way = {"limit": {"blocks": blocks, "threads": threads}}
            shape = self.ours_of("by hand", way, case, tuning=True)
            us = max(self.told(median(shape.replay() for _ in range(5))))
            if best is None or us < best[0]:
                best = us, way, f"{blocks} x {threads}"
        assert best is not None, "four blocks do for a row"
        # As all of these have one place for flags, the one that stays is made last.
        found = self.ours_of("by hand", best[1], case, role="limit")
        found.label = best[2]
        return found

    def torch_of(self, who: str, collective: str, case: list[int], symmetric: bool) -> Contestant:
        """What torch has, over NCCL."""
        total, mine, start = sum(case), case[self.rank], sum(case[: self.rank])
        buffer, local = (self.window, self.source) if symmetric else (self.buffer, self.local)
        rows, own = buffer[:total], local[:mine]
        equal = len(set(case)) == 1
        sums = self.ranks * (self.ranks + 1) / 2

        def gathered() -> None:
            if equal:
                dist.all_gather_into_tensor(rows, own)
            else:
                dist.all_gather(list(rows.split(case)), own)

        def scattered() -> None:
            if equal:
                dist.reduce_scatter_tensor(rows[start : start + mine], local[:total])
            else:
                dist.reduce_scatter(rows[start : start + mine], list(local[:total].split(case)))

        call = {"all_gather": gathered, "reduce_scatter": scattered, "all_reduce": lambda: dist.all_reduce(rows)}[collective]
        with torch.cuda.stream(self.stream):
            rows.zero_()
            if collective == "all_reduce":
                rows += local[:total]
            call()
            self.stream.synchronize()
            if collective == "all_gather":
                right = all((part == rank + 1).all() for rank, part in enumerate(rows.split(case)) if len(part))
            else:
                right = bool((rows[start : start + mine] == sums).all())
            assert right, "wrong result"
            host = []
            for _ in range(WARM_UP + self.options.calls):
                dist.barrier(group=self.side)
                began = time.perf_counter()
                call()
                host.append((time.perf_counter() - began) * 1e6)
                self.stream.synchronize()
            host = host[WARM_UP:]
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                for _ in range(self.options.batch):
                    call()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def replay() -> float:
            with torch.cuda.stream(self.stream):
                self.ask(what="gate", stream=self.stream.cuda_stream)
                begin.record(self.stream)
                graph.replay()
                end.record(self.stream)
            end.synchronize()
            return begin.elapsed_time(end) * 1e3 / self.options.batch

        return Contestant(who, "peer", "", median(host), replay)

    def all_of(self, collective: str, parts: str, rows: int, case: list[int]):
        """Whoever can do it, and how each is made ready."""
        bytes_of_all = 2 * COLUMNS * sum(case)
        if collective == "all_gather":
            yield "Tilewright push", lambda: self.ours_of("Tilewright push", "push", case)
            yield "Tilewright push, bound", lambda: self.ours_of("Tilewright push, bound", "push_bound", case)
            yield "by hand", lambda: self.by_hand(case)
            if parts == "largest":
                return
            yield "Tilewright group", lambda: self.ours_of("Tilewright group", "peers_gather", case)
            yield "Tilewright push, 8 bits", lambda: self.ours_of("Tilewright push, 8 bits", "push_quantized", case, "wire")
        elif collective == "reduce_scatter":
            yield "Tilewright group", lambda: self.ours_of("Tilewright group", "peers_scatter", case)
        else:
            if bytes_of_all <= MOST_ONE_SHOT:
                yield "Tilewright one shot", lambda: self.ours_of("Tilewright one shot", "peers_one_shot", case)
            yield "Tilewright two shots", lambda: self.ours_of("Tilewright two shots", "peers_two_shots", case)
        way = {"all_gather": "nccl_gather", "reduce_scatter": "nccl_scatter", "all_reduce": "nccl_reduce"}[collective]
        yield "NCCL", lambda: self.ours_of("NCCL", way, case, "peer")
        yield "torch", lambda: self.torch_of("torch", collective, case, False)
        if parts == "equal":
            yield "NCCL symmetric", lambda: self.torch_of("NCCL symmetric", collective, case, True)

    def measure(self, collective: str, parts: str, rows: int) -> list[dict]:
        """The lines of one case, the same on all ranks."""
        case = counts(parts, rows, self.ranks)
        about = {"collective": collective, "parts": parts, "rows": rows, "counts": case, "columns": COLUMNS}
        lines, ready = [], []
        for who, prepare in self.all_of(collective, parts, rows, case):
            try:
                found, wrong = prepare(), None
            except (OursError, RuntimeError, AssertionError) as error:
                found, wrong = None, str(error)[:300]
            failed = [reason for reason in self.told(wrong) if reason]
            if failed:
                lines.append({"kind": "error", **about, "who": who, "reason": failed[0]})
            else:
                ready.append(found)
        times: dict[str, list[float]] = {found.who: [] for found in ready}
        for turn in range(self.options.rounds):
            for found in in_turn(ready, turn):
                found.replay()
                times[found.who] += [found.replay() for _ in range(self.options.replays)]
        mine = {found.who: (median(times[found.who]), found.host_us) for found in ready}
        of_ranks = self.told(mine)
        for found in ready:
            us, host = (max(of_rank[found.who][i] for of_rank in of_ranks) for i in (0, 1))
            lines.append({
                "kind": "peers", **about, "who": found.who, "role": found.role, "configuration": found.label,
                "us": round(us, 3), "host_us": round(host, 2),
            })  # fmt: skip
        self.ask(what="clear")
        return lines


def run(rank: int, options: argparse.Namespace) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(options.port + 3))
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", rank=rank, world_size=options.gpus, device_id=device)
    this = Rank(rank, options)
    launch = this.ask(what="launch", calls=options.calls)["host_us"]
    lines, began = [], time.monotonic()

    def write(line: dict) -> None:
        lines.append(line)
        if rank == 0:
            with open(options.out, "a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")

    gpu = torch.cuda.get_device_properties(0)
    write({
        "kind": "machine", "name": gpu.name, "gpus": options.gpus, "cuda": torch.version.cuda,
        "torch": torch.__version__, "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "batch": options.batch, "rounds": options.rounds,
        "replays": options.replays, "launch_host_us": round(max(this.told(launch)), 2),
    })  # fmt: skip
    for rows in options.rows:
        for collective, all_parts in PARTS.items():
            for parts in all_parts:
                # All ranks stop together.
                if max(this.told(time.monotonic() - began)) > options.seconds:
                    write({"kind": "error", "collective": collective, "parts": parts, "rows": rows, "reason": "no time left"})
                    continue
                for line in this.measure(collective, parts, rows):
                    write(line)
        if rank == 0:
            print(f"{rows} rows: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if rank == 0:
        print_tables([line for line in lines if line["kind"] == "peers"])
        for line in lines:
            if line["kind"] == "error":
                print(json.dumps(line))
    this.ask(what="leave")
    dist.barrier()
    torch.cuda.synchronize()
    sys.stdout.flush()
    # Windows of NCCL and graphs have no order in which Python lets them go.
    os._exit(0)


def print_tables(lines: list[dict]) -> None:
    """Microseconds of everyone, by the rows of a rank."""
    for collective, parts in dict.fromkeys((line["collective"], line["parts"]) for line in lines):
        of_case = [line for line in lines if (line["collective"], line["parts"]) == (collective, parts)]
        names = list(dict.fromkeys(line["who"] for line in of_case))
        print(f"\n{collective}, {parts}\n{'rows':>6} " + " ".join(f"{name:>24}" for name in names))
        for rows in dict.fromkeys(line["rows"] for line in of_case):
            found = {line["who"]: line for line in of_case if line["rows"] == rows}
            cells = [f"{found[name]['us']:.2f} ({found[name]['host_us']:.1f})" if name in found else "-" for name in names]
            print(f"{rows:>6} " + " ".join(f"{cell:>24}" for cell in cells))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches, feature `nccl`)")
    parser.add_argument("--out", default="peers-gather.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, help="rows of a rank (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=20, help="collectives of a graph (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=8, help="replays a round (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=30, help="eager calls, timed on the host (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=480, help="begin nothing after (default: %(default)s)")
    parser.add_argument("--port", type=int, default=20000 + os.getpid() % 20000, help="the first of four")
    options = parser.parse_args()
    found = torch.cuda.device_count()
    if found < options.gpus or options.gpus < 2:
        print(f"{found} GPUs are here, of {options.gpus} asked for, and two are needed", file=sys.stderr)
        return 2
    open(options.out, "w", encoding="utf-8").close()
    processes.spawn(run, args=(options,), nprocs=options.gpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
