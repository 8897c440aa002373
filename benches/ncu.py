"""A command under Nsight Compute, and what its counters say of each launch."""

import csv
import io
import subprocess
import sys


def profiled(ncu: str, metrics: list[str], command: list[str], options: tuple = (), environment: dict | None = None):
    """What the command prints, the units of the metrics, and a row of values for each launch. Ends the process with 3 where the
    counters may not be read, and with 1 where the command fails."""
    asked = [ncu, "--csv", "--page", "raw", "--print-units", "base", "--metrics", ",".join(metrics), *options]
    run = subprocess.run([*asked, *command], capture_output=True, text=True, check=False, env=environment)
    text = run.stdout + run.stderr
    if "ERR_NVGPUCTRPERM" in text:
        print("counters of this GPU may not be read")
        sys.exit(3)
    start = run.stdout.find('"ID"')
    if run.returncode or start < 0:
        sys.exit(text[-3000:])
    units, *launches = csv.DictReader(io.StringIO(run.stdout[start:]))
    return run.stdout, units, launches
