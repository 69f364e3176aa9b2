"""Processor time of `aegis --version`, against an empty Python: `python benchmarks/cli_start.py [--runs 20]`.

The bound is 80 ms of processor time (user + system), the median of the runs. Exits 1 when it is exceeded.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from machine import describe

BOUND_MS = 80.0


def cpu_ms(argv: list[str]) -> float:
    """User and system time of one child process and its children, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def find_aegis() -> str:
    beside = Path(sys.executable).with_name("aegis")
    found = str(beside) if beside.exists() else shutil.which("aegis")
    if found is None:
        sys.exit("the aegis command is not installed for this Python; run: pip install -e .")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    commands = {
        "aegis --version": [find_aegis(), "--version"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    for argv in commands.values():
        cpu_ms(argv)  # the first one fills the page cache and writes the byte code
    # Alternating, so that a busy minute on the host hits both alike.
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            samples[name].append(cpu_ms(argv))
    print(f"Measured on: {describe()}\n")
    print("| command | CPU ms, median | min | max |\n|---|---|---|---|")
    for name, values in samples.items():
        print(f"| `{name}` | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")
    aegis_ms, python_ms = (statistics.median(values) for values in samples.values())
    print(f"\nRatio: {aegis_ms / python_ms:.1f}. Bound: {BOUND_MS:.0f} ms.")
    return 0 if aegis_ms <= BOUND_MS else 1


if __name__ == "__main__":
    sys.exit(main())
