"""What a trial costs when the agent costs nothing: end to end, ledger included.

    python benchmarks/trial_overhead.py [--trials 20,100,500] [--isolation vm|none] [--jobs N]

For each size a new Python process runs a suite of one case through `aegis.eval.run` in an empty project, with
an agent that answers at once. The template (image, files, set-up) is made by a first run that is not counted.
Printed: wall time per trial, the controller's peak resident memory, and how the largest run's cost per trial
compares with the smallest's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

SUITE = """\
suite: overhead
agent: {command: cat, protocol: text}
sandbox: {memory: 256MiB}
cases:
  - id: echo
    input: hello
    expect:
      - answer: {contains: hello}
"""


def measure(trials: int, *, isolation: str, jobs: int | None) -> dict[str, float]:
    """Run in a process of its own: the peak of resident memory is the process's."""
    import aegis

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "aegis.toml").write_text("")
        (project / "evals").mkdir()
        (project / "evals" / "overhead.yaml").write_text(SUITE)
        started = time.perf_counter()
        result = aegis.eval.run(
            suite="overhead", sandbox=isolation == "vm", trials=trials, jobs=jobs, project=project
        )
        wall_s = time.perf_counter() - started
    if result.verdict != "PASS":
        raise SystemExit(f"{trials} trials: {result.verdict}, expected PASS")
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"trials": trials, "wall_s": wall_s, "peak_mib": peak_kib / 1024}


def measure_in_child(trials: int, arguments: argparse.Namespace) -> dict[str, float]:
    argv = [sys.executable, __file__, "--one", str(trials), "--isolation", arguments.isolation]
    if arguments.jobs is not None:
        argv += ["--jobs", str(arguments.jobs)]
    child = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode != 0:
        sys.exit(f"the run of {trials} trials failed with exit code {child.returncode}")
    row: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return row


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="20,100,500", help="sizes, separated by commas")
    parser.add_argument("--isolation", choices=("vm", "none"), default="vm")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, isolation=arguments.isolation, jobs=arguments.jobs)))
        return
    measure_in_child(1, arguments)
    sizes = sorted(int(size) for size in arguments.trials.split(","))
    rows = [measure_in_child(size, arguments) for size in sizes]
    print(f"Measured on: {describe()}; isolation {arguments.isolation}\n")
    print("| trials | wall s | wall s a trial | peak RSS MiB |\n|---|---|---|---|")
    for row in rows:
        per_trial = row["wall_s"] / row["trials"]
        print(f"| {row['trials']:.0f} | {row['wall_s']:.1f} | {per_trial:.3f} | {row['peak_mib']:.0f} |")
    first, last = (row["wall_s"] / row["trials"] for row in (rows[0], rows[-1]))
    print(f"\nCost of a trial, {sizes[-1]} against {sizes[0]}: {last / first:.2f} times.")


if __name__ == "__main__":
    main()
