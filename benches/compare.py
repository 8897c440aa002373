#!/usr/bin/env python3
"""Row movement in Tilewright, Triton, torch and CUDA C++ by hand, side by side in one run on one GPU.

    compare.py --ours PATH/libmovement.so --out reading.jsonl

Every contestant's launches are captured in a CUDA graph over the same number of rotating sets of rows, so that neither the
cost of launching nor the L2 cache flatters anyone. Results are compared bit for bit before anything is timed. Contestants
take turns: each round measures all of them, and a figure is the median over the rounds of the medians over the replays.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

# Before the imports: neither Triton's compile cache nor Python's is to leave files behind or be found from before.
os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp())
sys.dont_write_bytecode = True

import torch
import triton

from cases import COMPUTED, DTYPES, L2, MISALIGNED, MOVEMENTS, OPS, Buffers, Case
from elements import Elements, element_peers
from ours import Ours, OursError
from peers import peers
from replay import best_of, in_turn

ROWS = (1, 8, 64, 256, 1024, 4096, 16384, 65536)
LEAST_TRAFFIC = 240_000_000  # bytes, and at least four times the L2
LAUNCHES = 40_000  # in a round, up to which a graph is replayed as often as asked for; a longer one at least LEAST_REPLAYS times
LEAST_REPLAYS = 5


def main() -> int:
    options = parse()
    torch.manual_seed(options.seed)
    try:
        ours = Ours(options.ours) if options.ours else None
        machine = describe(ours)
    except (OSError, OursError) as error:
        print(f"{options.ours} cannot be measured: {error}", file=sys.stderr)
        return 2
    traffic = max(LEAST_TRAFFIC, 4 * machine["l2_bytes"])
    method = {"rounds": options.rounds, "replays": options.replays, "traffic": traffic, "seed": options.seed}
    method["configurations"] = options.configurations or "all"
    lines, wrong = [], 0
    with open(options.out, "w", encoding="utf-8") as out:

        def write(line: dict) -> None:
            lines.append(line)
            out.write(json.dumps(line) + "\n")
            out.flush()

        write({"kind": "machine", **machine, **method})
        axes = (options.ops, options.columns, options.dtypes, options.misaligned, options.l2, options.rows)
        compile_ahead(options)
        start = time.monotonic()
        for op, columns, dtype, misaligned, l2, rows in itertools.product(*axes):
            case, began = Case(op, rows, columns, traffic, dtype, misaligned, l2), time.monotonic()
            if not case.is_any or began - start > options.seconds:
                continue
            for line in measure(case, ours, options):
                wrong += line["kind"] == "error"
                write(line)
            about = " ".join(str(part) for part in case.about.values())
            print(f"{about}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    print_table([line for line in lines if line["kind"] == "reading"])
    for line in lines:
        if line["kind"] == "error":
            print(f"{line['op']} {line['rows']} {line['who']}: {line['reason']}")
    return 1 if wrong else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", help="the library `movement` (crate tilewright-benches); without it only the peers are measured")
    parser.add_argument("--out", default="reading.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=MOVEMENTS)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--columns", nargs="+", type=int, default=(7168,))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=("bf16",))
    parser.add_argument("--misaligned", nargs="+", choices=MISALIGNED, default=("none",), help="rows that begin one element late")
    parser.add_argument("--l2", nargs="+", choices=L2, default=("cold",), help="whether L2 holds the rows: where it can, if so")
    parser.add_argument("--seconds", type=float, default=7200, help="after which nothing more is measured (default: %(default)s)")
    parser.add_argument("--configurations", type=int, help="the most that are tried of Triton's (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=20, help="replays a round, but of long graphs (default: %(default)s)")
    parser.add_argument(
        "--tuning-replays", type=int, default=5, help="replays per Triton configuration (default: %(default)s)"
    )
    parser.add_argument(
        "--compilers",
        nargs="+",
        metavar="COMPILER",
        help="who compiles ours, each a contestant of its own: nvrtc, ptx (default: what TILEWRIGHT_COMPILER chooses)",
    )
    parser.add_argument("--jobs", type=int, default=0, help="processes that compile what the peers will need ahead (default: none)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def compile_ahead(options: argparse.Namespace) -> None:
    """Has every configuration of the peers launched once in other processes, which leave what they compile in the peers' caches."""
    if options.jobs:
        kinds = itertools.product(options.ops, options.columns, options.dtypes, options.misaligned)
        tasks = [(kind, tuple(options.rows)) for kind in kinds]
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            for _ in pool.imap_unordered(compile_peers, tasks):
                pass


def compile_peers(task: tuple) -> None:
    """What the peers compile for cases of one kind."""
    (op, columns, dtype, misaligned), every = task
    for rows in every:
        case = Case(op, rows, columns, 1, dtype, misaligned)
        if case.is_any:
            for peer in peers_of(case)[1]:
                for _, launch in peer.configurations:
                    launch(0)
            torch.cuda.synchronize()


def peers_of(case: Case) -> tuple[Buffers | Elements, list]:
    """The memory of a case, and what it is set beside."""
    if case.op in COMPUTED:
        buffers = Elements(case)
        return buffers, element_peers(buffers)
    buffers = Buffers(case)
    return buffers, peers(buffers)


def describe(ours: Ours | None) -> dict:
    """The machine and the versions, as far as they bear on the figures."""
    gpu = torch.cuda.get_device_properties(0)
    return {
        "name": gpu.name,
        "sms": gpu.multi_processor_count,
        "l2_bytes": gpu.L2_cache_size,
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "ours": ours.hello() if ours else None,
    }


def driver_version() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()
    except OSError:
        return "unknown"


def measure(case: Case, ours: Ours | None, options: argparse.Namespace) -> list[dict]:
    """The readings of one case, and what went wrong with it."""
    about = case.about
    lines = []

    def fail(who: str, reason: str) -> None:
        lines.append({"kind": "error", **about, "who": who, "reason": reason})

    computed = case.op in COMPUTED
    buffers, beside = peers_of(case)
    contestants = []  # name, role, configuration, how to measure
    for peer in beside:
        some = peer.configurations[:: -(-len(peer.configurations) // (options.configurations or len(peer.configurations)))]
        label, replay = best_of(some, case.sets, case.launches, options.tuning_replays, case.bytes)
        buffers.poison()
        torch.cuda.synchronize()
        replay.run()
        if peer.role != "floor" and not buffers.is_right():
            fail(peer.name, f"wrong result ({label})")
            continue
        contestants.append((peer.name, peer.role, label, replay.measure))
    variants = ours.hello()["variants"] if ours else ()
    for variant, compiler in [(v, c) for v in variants for c in options.compilers or [None]]:
        name = variant if compiler is None else f"{variant} {compiler}"
        try:
            prepared = ours.prepare(name, buffers.request(), variant, compiler=compiler, memory=buffers)
            if "absent" not in prepared and not computed:
                buffers.poison()
                torch.cuda.synchronize()
                ours.measure(name, 1, warm_up=0)
        except OursError as error:
            fail(f"Tilewright {name}", str(error))
            continue
        if "absent" in prepared:
            continue
        if not computed and not buffers.is_right():
            fail(f"Tilewright {name}", "wrong result")
            continue
        if prepared["bytes"] != case.bytes:
            fail(f"Tilewright {name}", f"moves {prepared['bytes']} bytes, not {case.bytes}")
            continue

        def ours_measure(replays: int, name: str = name) -> list[float]:
            return ours.measure(name, replays)

        contestants.append((f"Tilewright {name}", "ours", prepared["variant"], ours_measure))

    replays = min(options.replays, max(LEAST_REPLAYS, LAUNCHES // case.launches))
    rounds: dict[str, list[list[float]]] = {name: [] for name, *_ in contestants}
    for turn in range(options.rounds):
        for name, _, _, time_it in in_turn(contestants, turn):
            torch.cuda.synchronize()
            try:
                rounds[name].append(time_it(replays))
            except OursError as error:
                fail(name, str(error))
    for name, role, label, _ in contestants:
        if not rounds[name]:
            continue
        medians = [median(times) for times in rounds[name]]
        us = median(medians)
        every = sorted(time for times in rounds[name] for time in times)
        lines.append({
            "kind": "reading", **about, "who": name, "role": role, "configuration": label,
            "us": round(us, 4), "rounds_us": [round(value, 4) for value in medians],
            "least_us": round(every[0], 4), "most_us": round(every[-1], 4),
            "bytes": case.bytes, "gb_per_s": round(case.bytes / us / 1e3, 1), "sets": case.sets, "launches": case.launches, "replays": replays,
        })  # fmt: skip
    if ours:
        try:
            ours.release()
        except OursError as error:
            fail("Tilewright", str(error))
    del buffers, beside, contestants
    torch.cuda.empty_cache()
    return lines


def print_table(readings: list[dict]) -> None:
    """Operation, rows, microseconds of everyone, the best of ours beside the best peer."""

    def kind(line: dict) -> str:
        return " ".join(str(line[field]) for field in ("op", "columns", "dtype", "misaligned", "l2"))

    for op in dict.fromkeys(kind(line) for line in readings):
        of_op = [line for line in readings if kind(line) == op]
        names = list(dict.fromkeys(line["who"] for line in of_op))
        print(
            f"\n{op:>8} {'rows':>6} "
            + " ".join(f"{name:>18}" for name in names)
            + "  ours/best     GB/s  Triton's best"
        )
        for rows in dict.fromkeys(line["rows"] for line in of_op):
            case = {line["who"]: line for line in of_op if line["rows"] == rows}
            cells = " ".join(f"{case[name]['us']:>18.2f}" if name in case else f"{'-':>18}" for name in names)
            mine = [line["us"] for line in case.values() if line["role"] == "ours"]
            theirs = [line["us"] for line in case.values() if line["role"] == "peer"]
            ratio = f"{min(mine) / min(theirs):.3f}" if mine and theirs else "-"
            quickest = min(mine or theirs or [float("nan")])
            rate = next(iter(case.values()))["bytes"] / quickest / 1e3
            chosen = case.get("Triton (tuned)", {}).get("configuration", "")
            print(f"{'':8} {rows:>6} {cells}  {ratio:>9} {rate:>8.0f}  {chosen}")


if __name__ == "__main__":
    sys.exit(main())
