"""What `inspect` says of five kernels beside what Nsight Compute finds: threads, blocks, registers, shared memory, the warps
that a multiprocessor holds, and the bytes that memory moves.

`python inspected.py TEST_PROGRAM [--ncu NCU]`, with the program of `tests/gpu_inspect.rs`, which launches them. Needs a GPU whose
counters may be read; where they may not, what the driver keeps to itself, it says so and ends with 3. It ends with 1 if
anything that both know differs.
"""

import argparse
import os
import re
import sys

sys.dont_write_bytecode = True

from ncu import profiled

TEST = "what_is_told_of_five_kernels_is_what_is_launched"
METRICS = {
    "threads": "launch__block_size",
    "blocks": "launch__grid_size",
    "registers": "launch__registers_per_thread",
    "shared": "launch__shared_mem_per_block_static",
    "dynamic": "launch__shared_mem_per_block_dynamic",
    "warps": "sm__maximum_warps_per_active_cycle_pct",
    "achieved": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "read": "dram__bytes_read.sum",
    "written": "dram__bytes_write.sum",
}
MOST_WARPS = 64
# The profiler counts so many for a kernel that needs fewer, also for an empty one, of which the driver says 4.
LEAST_REGISTERS = 16
UNITS = {"byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}


def launched(program, ncu):
    """What the test prints, and the values of each launch."""
    # Registers are what NVRTC says, and a test program launches what the driver compiles from PTX too.
    environment = {**os.environ, "TILEWRIGHT_COMPILER": "nvrtc"}
    command = [program, TEST, "--exact", "--nocapture"]
    printed, units, launches = profiled(ncu, list(METRICS.values()), command, environment=environment)
    found = []
    for launch in launches:
        if not launch.get("Kernel Name"):
            continue
        values = {"kernel": launch["Kernel Name"]}
        for name, metric in METRICS.items():
            factor = UNITS.get(units[metric].split("/")[0], 1)
            values[name] = float(launch[metric].replace(",", "")) * factor
        found.append(values)
    return printed, found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--ncu", default="ncu")
    arguments = parser.parse_args()
    printed, launches = launched(arguments.program, arguments.ncu)
    told = {}
    for name, rest in re.findall(r"inspected (\S+) (.*)", printed):
        told[name] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)}
    if not told:
        sys.exit("the test printed nothing: " + printed[-2000:])
    failed = False
    for name, inspected in told.items():
        # The last launch of a kernel is the one that was looked at.
        seen = [launch for launch in launches if launch["kernel"].split("(")[0] == name]
        if not seen:
            names = sorted({launch["kernel"] for launch in launches})
            print(f"{name}: not among what was profiled: {names}")
            failed = True
            continue
        last = seen[-1]
        measured = {
            "threads": last["threads"],
            "blocks": last["blocks"],
            "registers": last["registers"],
            "shared": last["shared"] + last["dynamic"],
            "warps": last["warps"] * MOST_WARPS / 100,
        }
        expected = {**inspected, "registers": max(inspected["registers"], LEAST_REGISTERS)}
        differing = [key for key, value in measured.items() if round(value) != expected[key]]
        failed |= bool(differing)
        print(
            f"{name}: "
            + ", ".join(f"{key} {inspected[key]} / {value:.0f}" for key, value in measured.items())
            + f", active warps {last['achieved'] * MOST_WARPS / 100:.1f}, MB read {inspected['read'] / 1e6:.1f} / "
            f"{last['read'] / 1e6:.1f}, written {inspected['written'] / 1e6:.1f} / {last['written'] / 1e6:.1f}"
            + (f"  DIFFERENT: {', '.join(differing)}" if differing else "")
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
