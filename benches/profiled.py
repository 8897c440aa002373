#!/usr/bin/env python3
"""One launch of a movement kernel as Nsight Compute sees it, beside torch's for the same rows.

    profiled.py --ours PATH/libmovement.so [--op gather --rows 16384 --columns 7168] [--ncu NCU]

Prints what the memory did: its share of the peak, sectors a request, and the bytes that the resident warps can have asked for.
Needs a GPU whose counters may be read; where they may not, it says so and ends with 3. `docs/a-gather-profiled.md` explains a
reading.
"""

import argparse
import json
import sys

sys.dont_write_bytecode = True

from ncu import profiled

TIME = "gpu__time_duration.sum"
DRAM = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
READ, WRITTEN = "dram__bytes_read.sum", "dram__bytes_write.sum"
SECTORS = "l1tex__t_sectors_pipe_lsu_mem_global_op_{}.sum"
REQUESTS = "l1tex__t_requests_pipe_lsu_mem_global_op_{}.sum"
WARPS = "sm__warps_active.avg.pct_of_peak_sustained_active"
BLOCK, GRID, REGISTERS = "launch__block_size", "launch__grid_size", "launch__registers_per_thread"
WAITING = "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio"
METRICS = [TIME, DRAM, READ, WRITTEN, WARPS, BLOCK, GRID, REGISTERS, WAITING]
METRICS += [form.format(kind) for kind in ("ld", "st") for form in (SECTORS, REQUESTS)]
MOST_WARPS = 64
KERNELS = "regex:tilewright|index|gather|scatter"


def main() -> int:
    options = parse()
    if options.launch:
        launch(options)
        return 0
    command = [sys.executable, __file__, "--launch", "--ours", options.ours]
    command += ["--op", options.op, "--rows", str(options.rows), "--columns", str(options.columns)]
    _, _, rows = profiled(options.ncu, METRICS, command, ("--kernel-name", KERNELS))
    # Of a kernel that is launched again and again the last launch is shown.
    launches = {row["Kernel Name"]: row for row in rows}
    print(f"{options.op} of {options.rows} rows of {options.columns}")
    for name, row in launches.items():
        print(json.dumps({"kernel": name.split("(")[0][:60], **told(row)}))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the library `movement` (crate tilewright-benches)")
    parser.add_argument("--op", default="gather", choices=("gather", "scatter"))
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--ncu", default="ncu")
    parser.add_argument("--launch", action="store_true", help="only launches, for the profiler")
    return parser.parse_args()


def launch(options: argparse.Namespace) -> None:
    """Ours, and torch's of the same rows."""
    import torch

    from cases import Buffers, Case
    from ours import Ours

    torch.manual_seed(0)
    case = Case(options.op, options.rows, options.columns, traffic=1)
    buffers, ours = Buffers(case), Ours(options.ours)
    ours.prepare(case.op, buffers.request(), "runtime", check=False, memory=buffers)
    ours.measure(case.op, 1, warm_up=0)
    ours.release()
    source, output, index = buffers.source[0], buffers.output[0], buffers.index64[0]
    if case.op == "gather":
        torch.index_select(source, 0, index, out=output)
    else:
        output.index_copy_(0, index, source)
    torch.cuda.synchronize()


def told(row: dict) -> dict:
    """What the counters say of a launch."""

    def value(metric: str) -> float:
        return float(row[metric].replace(",", ""))

    us = value(TIME) / 1e3
    return {
        "us": round(us, 1),
        "dram_percent_of_peak": round(value(DRAM), 1),
        "gb_per_s": round((value(READ) + value(WRITTEN)) / us / 1e3),
        "mb_read": round(value(READ) / 1e6, 1),
        "mb_written": round(value(WRITTEN) / 1e6, 1),
        "sectors_a_load": round(value(SECTORS.format("ld")) / max(value(REQUESTS.format("ld")), 1), 2),
        "sectors_a_store": round(value(SECTORS.format("st")) / max(value(REQUESTS.format("st")), 1), 2),
        "loads": int(value(REQUESTS.format("ld"))),
        "blocks": int(value(GRID)),
        "threads": int(value(BLOCK)),
        "registers": int(value(REGISTERS)),
        "active_warps": round(value(WARPS) * MOST_WARPS / 100, 1),
        "warps_waiting_for_memory_an_issue": round(value(WAITING), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
