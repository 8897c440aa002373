#!/usr/bin/env python3
"""Which schedule moves rows fastest: every one of a grid of schedules, side by side in one run on one GPU.

    schedules.py --ours PATH/libmovement.so --out schedules.jsonl

Buffers, graphs and turns are those of compare.py. The constants of `dsl/src/schedule/choose.rs` come from its readings.
"""

import argparse
import itertools
import json
import sys
from statistics import median

sys.dont_write_bytecode = True

from cases import L2, MISALIGNED, OPS, Buffers, Case
from ours import Ours, OursError
from replay import in_turn

VECTOR_BYTES = 16
WARP = 32
MAX_THREADS = 1024


def main() -> int:
    options = parse()
    ours = Ours(options.ours)
    with open(options.out, "w", encoding="utf-8") as out:
        out.write(json.dumps({"kind": "machine", **ours.hello(), "traffic": options.traffic}) + "\n")
        for op, rows in options.cases:
            case = Case(op, rows, options.columns, options.traffic, misaligned=options.misaligned, l2=options.l2)
            readings = measure(case, ours, options)
            for reading in readings:
                out.write(json.dumps(reading) + "\n")
            out.flush()
            readings.sort(key=lambda reading: reading["us"])
            print(f"\n{op} {rows}: {len(readings)} schedules")
            for reading in readings[: options.top]:
                print(f"  {reading['us']:>9.3f} us  {describe(reading['schedule'])}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches)")
    parser.add_argument("--out", default="schedules.jsonl", help="the file for the readings (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", type=operation, required=True, metavar="OP:ROWS")
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--threads", nargs="+", type=int, default=(128, 224, 256, 448, 512))
    parser.add_argument("--beside", nargs="+", type=int, default=(1,), help="programs that share a block")
    parser.add_argument("--splits", nargs="+", type=int, default=(1, 2, 4))
    parser.add_argument("--unrolls", nargs="+", type=int, default=(1, 2, 4))
    parser.add_argument("--loads", nargs="+", default=("cached", "streaming"))
    parser.add_argument("--stores", nargs="+", default=("cached", "streaming"))
    parser.add_argument("--widths", nargs="+", choices=("wide", "narrow"), default=("wide",), help="16 bytes at once, or elements")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=3, help="replays a round (default: %(default)s)")
    parser.add_argument("--traffic", type=int, default=240_000_000, help="bytes that a replay touches at least")
    parser.add_argument("--l2", choices=L2, default="cold", help="whether L2 holds the rows (default: %(default)s)")
    parser.add_argument("--misaligned", choices=MISALIGNED, default="none", help="rows that begin one element late")
    parser.add_argument("--top", type=int, default=12, help="schedules that are printed (default: %(default)s)")
    return parser.parse_args()


def operation(text: str) -> tuple[str, int]:
    op, _, rows = text.partition(":")
    if op not in OPS:
        raise argparse.ArgumentTypeError(f"{op} is none of {', '.join(OPS)}")
    return op, int(rows)


def schedules(case: Case, options: argparse.Namespace):
    """Every combination in which no block is idle or too small, no thread's share is exceeded by what it has in flight, and a
    program that shares its block is not split."""
    # A row that begins anywhere has a piece before and one behind its vectors.
    row = case.columns * case.element_bytes
    vectors = -(-row // VECTOR_BYTES) + (row % VECTOR_BYTES != 0)
    axes = (options.widths, options.splits, options.threads, options.beside, options.unrolls, options.loads, options.stores)
    for width, splits, threads, beside, unroll, load, store in itertools.product(*axes):
        accesses = vectors if width == "wide" else case.columns
        trips = -(-accesses // (splits * threads))
        whole = WARP <= threads * beside <= MAX_THREADS and (splits == 1 or beside == 1)
        if whole and unroll <= trips and (splits - 1) * threads < accesses:
            spread = {"threads": threads, "programs_per_block": beside, "splits": splits, "wide": width == "wide"}
            yield {**spread, "unroll": unroll, "load": load, "store": store}


def measure(case: Case, ours: Ours, options: argparse.Namespace) -> list[dict]:
    """The readings of one case: all schedules take turns."""
    prepared, buffers = [], Buffers(case)
    for schedule in [None, *schedules(case, options)]:
        name = describe(schedule)
        try:
            ours.prepare(name, buffers.request(), "runtime", schedule, check=False, memory=buffers)
        except OursError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        prepared.append((name, schedule, []))
    for turn in range(options.rounds):
        for name, _, times in in_turn(prepared, turn):
            times.append(median(ours.measure(name, options.replays, warm_up=1)))
    ours.release()
    about = {"kind": "reading", **case.about}
    return [
        {**about, "schedule": schedule, "us": round(median(times), 4), "rounds_us": [round(us, 4) for us in times]}
        for _, schedule, times in prepared
    ]


def describe(schedule: dict | None) -> str:
    if schedule is None:
        return "as chosen"
    s = schedule
    shape = f"{s['programs_per_block']} programs x {s['splits']} x {s['threads']} threads"
    return f"{shape}, {s['unroll']} {'packets' if s['wide'] else 'elements'} in flight, {s['load']} loads, {s['store']} stores"


if __name__ == "__main__":
    sys.exit(main())
