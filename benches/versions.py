#!/usr/bin/env python3
"""The movement kernels of two builds of this project, side by side in one run on one GPU.

    versions.py --old PATH/libmovement.so --new PATH/libmovement.so --out reading.jsonl

Each build is a library of its own in this process. The new one is measured with each compiler. Contestants take turns as in
`compare.py`, over rotating rows, and what the new one moves is compared with what it has to be. An old build may have
rows of its own. Of the readings, `compilers-h200.jsonl` is the two compilers beside the PTX of bba214f, at points of their own, of
the build behind it; `versions-ragged-h200.jsonl` short and odd rows between ff73549 and f6dcf5f; `versions-alone-h200.jsonl` short
rows, at points of their own, between 3a4222d and the build that brought tables of tunings; `versions-kept-h200.jsonl` rows of 7168
and others that L2 can hold, at points of their own, between 3a4222d and the build that left them there (from 512 rows of 7168 on;
now from 589 on, and no short rows that begin anywhere); `versions-widths-h200.jsonl` all but 7168 columns between 3740194 and the
build that keeps in the caches what rows that begin anywhere share, those of 128 in a run of their own; `versions-scattered-h200.jsonl` rows
of 128, 4096 and 5120, at points of their own, between 6235e53 and f20be6b but for loads within literal bounds; `versions-hints-h200.jsonl`
short rows, at points of their own, between 7dfdad1 and 90af563, which still keeps of aligned ones what L2 does not hold twice;
`versions-single-h200.jsonl` short rows, at points of their own, L2 cold and warm, between d88784d and the build that gave few of them more
threads; `versions-fetched-h200.jsonl` scattered ones that are no whole sectors, at points of their own, L2 cold and warm, between bd0b8de
and the build that asks L2 for their ends; and
`versions-h200.jsonl` sets d926c26, before there was a thread IR, beside the build of the readings of widths and collectives, at points of
its own too: that build captured launches of single rows which it had not warmed up, so that eight of its cases are errors.
"""

import argparse
import itertools
import json
import sys
from statistics import median

import torch

from cases import DTYPES, L2, MISALIGNED, MOVEMENTS, Buffers, Case
from compare import LEAST_TRAFFIC, ROWS, describe
from ours import Ours, OursError
from replay import in_turn

# Columns, and the rows at which they are measured.
POINTS = {7168: ROWS, 128: (1, 8, 64, 4096), 131: (64, 4096, 32768), 576: (64, 4096, 32768), 7167: (64, 4096, 32768)}
COMPILERS = ("nvrtc", "ptx")


def main() -> int:
    options = parse()
    old, new = Ours(options.old), Ours(options.new)
    machine = describe(new)
    traffic = max(LEAST_TRAFFIC, 4 * machine["l2_bytes"])
    contestants = {"old": (old, None)} | {compiler: (new, compiler) for compiler in COMPILERS}
    failed = 0
    with open(options.out, "w", encoding="utf-8") as out:

        def write(line: dict) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        write({"kind": "machine", **machine, "rounds": options.rounds, "replays": options.replays, "traffic": traffic})
        axes = (options.dtypes, options.misaligned, options.l2, options.columns, options.ops)
        for dtype, misaligned, l2, columns, op in itertools.product(*axes):
            for rows in options.rows or POINTS[columns]:
                case = Case(op, rows, columns, traffic, dtype, misaligned, l2)
                for line in measure(case, contestants, options) if case.is_any else ():
                    failed += line["kind"] == "error"
                    write(line)
                    print(shown(line), flush=True)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", required=True, help="the library `movement` of the build to compare with")
    parser.add_argument("--new", required=True, help="that of this one")
    parser.add_argument("--out", default="reading.jsonl", help="the file for the reading (default: %(default)s)")
    parser.add_argument("--ops", nargs="+", choices=MOVEMENTS, default=MOVEMENTS)
    parser.add_argument("--columns", nargs="+", type=int, default=list(POINTS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=("bf16",))
    parser.add_argument("--misaligned", nargs="+", choices=MISALIGNED, default=("none",))
    parser.add_argument("--l2", nargs="+", choices=L2, default=("cold",), help="whether L2 holds the rows: where it can, if so")
    parser.add_argument("--rows", nargs="+", type=int, help="at which every width is measured, instead of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=12, help="replays a round (default: %(default)s)")
    options = parser.parse_args()
    if not options.rows and (unknown := set(options.columns) - set(POINTS)):
        parser.error(f"--columns {' '.join(map(str, sorted(unknown)))}: say at which --rows")
    return options


def measure(case: Case, contestants: dict, options: argparse.Namespace) -> list[dict]:
    """The reading of each variant of a case, or what went wrong with it."""
    lines, buffers = [], Buffers(case)
    for variant in contestants["old"][0].hello()["variants"]:
        try:
            us = compare(buffers, variant, contestants, options)
        except OursError as error:
            lines.append({"kind": "error", **case.about, "variant": variant, "reason": str(error)})
        else:
            if us:
                lines.append({"kind": "reading", **case.about, "variant": variant, "us": us, "bytes": case.bytes})
    for library, _ in contestants.values():
        library.release()
    return lines


def compare(buffers: Buffers, variant: str, contestants: dict, options: argparse.Namespace) -> dict:
    """Device microseconds of a launch of everyone; nothing where the operation has no such variant."""
    for name, (library, compiler) in contestants.items():
        prepared = library.prepare(name, buffers.request(), variant, check=False, compiler=compiler, memory=buffers)
        if "absent" in prepared:
            return {}
        buffers.poison()
        torch.cuda.synchronize()
        library.measure(name, 1, warm_up=0)
        if compiler and not buffers.is_right():
            raise OursError(f"wrong result ({compiler})")
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(options.rounds):
        for name in in_turn(contestants, turn):
            rounds[name].append(median(contestants[name][0].measure(name, options.replays)))
    return {name: round(median(values), 4) for name, values in rounds.items()}


def shown(line: dict) -> str:
    begin = f"{line['op']:8} {line['columns']:>5} {line['rows']:>6} {line['variant']:8}"
    if line["kind"] == "error":
        return f"{begin} {line['reason']}"
    old, *new = line["us"].values()
    return f"{begin} old {old:9.3f}  " + "  ".join(
        f"{name} {us:9.3f} {us / old:6.3f}" for name, us in zip(COMPILERS, new, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
