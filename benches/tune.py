#!/usr/bin/env python3
"""What suits a GPU: the schedules that tunings next to its own would choose, side by side in one run.

    tune.py --ours PATH/libmovement.so --out tuning.jsonl

Buffers, graphs and turns are those of compare.py. `cargo xtask tune` runs this and writes what is best into
`dsl/src/schedule/tables.rs`; on a host without Rust, run this and give the reading to `cargo xtask tune` elsewhere.
"""

import argparse
import itertools
import json
import sys
import time
from statistics import median

sys.dont_write_bytecode = True

from cases import MOVEMENTS, Buffers, Case
from compare import LEAST_TRAFFIC, describe
from ours import Ours, OursError
from replay import in_turn

OPS = ("gather", "scatter", "slot")
COLUMNS = (131, 576, 1023, 7167, 7168)
ROWS = (8, 64, 256, 1024, 4096, 16384)


def main() -> int:
    options = parse()
    ours = Ours(options.ours)
    machine = describe(ours)
    traffic = max(LEAST_TRAFFIC, 4 * machine["l2_bytes"])
    began = time.monotonic()
    with open(options.out, "w", encoding="utf-8") as out:

        def write(line: dict) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        method = {"rounds": options.rounds, "replays": options.replays, "binding": options.binding}
        write({"kind": "machine", **machine, **method, "traffic": traffic})
        for columns, rows, op in itertools.product(options.columns, options.rows, options.ops):
            if time.monotonic() - began > options.seconds:
                print("the time is over: what is left was not measured", file=sys.stderr)
                break
            # Launches of few rows are many, whose number costs time and tells nothing more.
            case = Case(op, rows, columns, min(traffic, options.most_launches * Case(op, rows, columns, 1).bytes))
            line = measure(case, ours, options)
            write(line)
            print(f"{op} {columns} {rows}: {len(line['others'])} others, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches)")
    parser.add_argument("--out", default="tuning.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--ops", nargs="+", choices=MOVEMENTS, default=OPS)
    parser.add_argument("--columns", nargs="+", type=int, default=COLUMNS)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--binding", default="runtime", help="how counts are bound (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replays", type=int, default=3, help="replays a round (default: %(default)s)")
    parser.add_argument("--most-launches", type=int, default=1000, help="in a graph, about (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3600, help="after which no case is begun (default: %(default)s)")
    return parser.parse_args()


def measure(case: Case, ours: Ours, options: argparse.Namespace) -> dict:
    """The reading of one case: each schedule once, whichever tunings choose it, in turns."""
    buffers = Buffers(case)

    def prepare(schedule: dict | None) -> None:
        ours.prepare(json.dumps(schedule), buffers.request(), options.binding, schedule, check=False, memory=buffers)

    prepare(None)
    found = ours.ask(do="candidates")
    times: dict[str, list[float]] = {json.dumps(found["chosen"]): []}
    for candidate in found["candidates"]:
        times.setdefault(json.dumps(candidate["schedule"]), [])
    for schedule in list(times):
        try:
            prepare(json.loads(schedule))
        except OursError as error:
            print(f"{schedule}: {error}", file=sys.stderr)
            del times[schedule]
    for turn in range(options.rounds):
        for schedule in in_turn(times, turn):
            times[schedule].append(median(ours.measure(schedule, options.replays, warm_up=1)))
    ours.release()
    us = {schedule: round(median(each), 4) for schedule, each in times.items()}
    chosen = json.dumps(found["chosen"])
    others = [
        {"axis": candidate["axis"], "value": candidate["value"], "us": us[json.dumps(candidate["schedule"])]}
        for candidate in found["candidates"]
        # Those that choose the same are as fast.
        if json.dumps(candidate["schedule"]) in us and json.dumps(candidate["schedule"]) != chosen
    ]
    about = {"kind": "tuning", **case.about, "architecture": found["architecture"], "tuning": found["tuning"]}
    return {**about, "us": us[chosen], "others": others}


if __name__ == "__main__":
    sys.exit(main())
