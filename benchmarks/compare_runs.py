"""Time and memory of comparing two runs: `python benchmarks/compare_runs.py [--cases 10000] [--trials 5]`.

From bytes on disk to all findings, as `aegis eval compare` does it: both snapshots read, pooled, compared, the verdict
decided, and their drift. In a process of its own for each figure, so that memory is that of the comparison alone; the
runs are those of big_run.py, in which no two answers are the same and most cases don't always go the same way. Beside
it, without a bound, the same with four runs of main as the baseline, where permutations are sampled. Times are
processor time, so that other work on the host hardly counts. Bounds: 2 s, 500 MiB; exits with 1 when one is exceeded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import big_run
from machine import describe

from aegis.regression import verdict
from aegis.regression.compare import compare
from aegis.regression.drift import compare as drift
from aegis.regression.policy import Policy
from aegis.regression.snapshot import common_chars, from_bytes, pool_behaviours, to_bytes
from aegis.regression.trials import pool

BOUND_S, BOUND_MIB = 2.0, 500
RUNS_OF_MAIN = 4
STEPS = ("read", "pooled", "compared", "drift")


def measure(files: Sequence[str]) -> dict[str, float]:
    """Seconds of processor time of each step, and MiB; the candidate is the last of the files."""
    times = [time.process_time()]
    *main, head = [from_bytes(Path(file).read_bytes(), file) for file in files]
    times.append(time.process_time())
    trials, behaviours = pool([run.trials for run in main]), pool_behaviours(main)
    times.append(time.process_time())
    compared = compare(trials, head.trials, Policy(confirm=0))
    times.append(time.process_time())
    found = drift.compare(behaviours, head.behaviours, chars=common_chars([*main, head]))
    verdict.decide(compared, drift=found)
    times.append(time.process_time())
    steps = dict(zip(STEPS, (end - begin for begin, end in pairwise(times)), strict=True))
    return {**steps, "all": times[-1] - times[0], "mib": peak_mib()}


def peak_mib() -> float:
    """Of this program alone: `ru_maxrss` knows of the one that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def apart(files: Sequence[Path]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *map(str, files)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, run in enumerate(big_run.runs(RUNS_OF_MAIN + 1, arguments.cases, arguments.trials)):
            files.append(Path(folder) / str(number))
            files[-1].write_bytes(to_bytes(run))
        two = min((apart(files[-2:]) for _ in range(3)), key=lambda found: found["all"])
        pooled = apart(files)
    print(f"{arguments.cases:,} cases × {arguments.trials} trials; the best of three.\n")
    print(
        f"| | {' s | '.join(STEPS)} s | all, s | peak memory, MiB | bound |\n|---|{'---|' * (len(STEPS) + 3)}"
    )
    for what, found, bound in (
        ("two runs", two, f"{BOUND_S:g} s, {BOUND_MIB} MiB"),
        (f"baseline of {RUNS_OF_MAIN} runs", pooled, ""),
    ):
        steps = " | ".join(f"{found[step]:.2f}" for step in STEPS)
        print(f"| {what} | {steps} | {found['all']:.2f} | {found['mib']:.0f} | {bound} |")
    print(f"\nMeasured on: {describe()}")
    return 0 if two["all"] <= BOUND_S and two["mib"] <= BOUND_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
