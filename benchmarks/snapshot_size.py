"""What a large run takes as a snapshot, and what pushing it adds to a repository: `python benchmarks/snapshot_size.py`.

The run is one of big_run.py, whose answers all differ. A commit that holds its snapshot is pushed, with a real `git
push`, to a bare repository that has an earlier run's already; what the pack that arrives there takes is measured, and
so is the processor time that making and reading the snapshot takes, the least of several rounds: a run ends with making
it. Bounds, for 10,000 cases × 5 trials: 3 MB (3,000,000 bytes), and 4 s to make it. Exits with 1 when one is exceeded.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import big_run
from machine import describe

from aegis.regression.snapshot import from_bytes, to_bytes

BOUND_BYTES, BOUND_S = 3_000_000, 4.0
ROUNDS = 5
REF = "refs/aegis/benchmark"

Result = TypeVar("Result")


def git(folder: Path, *words: str, given: bytes | None = None) -> str:
    author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    done = subprocess.run(
        ["git", *author, "-C", str(folder), *words], input=given, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


def packed_bytes(bare: Path) -> int:
    """Of all objects that have arrived; `receive.unpackLimit=1` keeps each push as the pack that was sent."""
    return sum(file.stat().st_size for file in (bare / "objects").rglob("*") if file.is_file())


def push(work: Path, bare: Path, data: bytes, parent: str | None) -> str:
    blob = git(work, "hash-object", "-w", "--stdin", given=data)
    tree = git(work, "mktree", given=f"100644 blob {blob}\tsnapshot\n".encode())
    commit = git(work, "commit-tree", tree, *(["-p", parent] if parent else []), "-m", "A run")
    git(work, "push", "--quiet", str(bare), f"{commit}:{REF}")
    return commit


def least(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of processor time, and what came of it."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        result = work()
        times.append(time.process_time() - began)
    return min(times), result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    earlier, run = big_run.runs(2, arguments.cases, arguments.trials)
    made_s, data = least(lambda: to_bytes(run))
    read_s, found = least(lambda: from_bytes(data, "the snapshot"))
    with tempfile.TemporaryDirectory() as folder:
        work, bare = Path(folder) / "work", Path(folder) / "bare"
        for repository, more in ((work, []), (bare, ["--bare"])):
            repository.mkdir()
            git(repository, "init", "--quiet", *more)
        git(bare, "config", "receive.unpackLimit", "1")
        parent = push(work, bare, to_bytes(earlier), None)
        before = packed_bytes(bare)
        push(work, bare, data, parent)
        added = packed_bytes(bare) - before
    print(
        f"{arguments.cases:,} cases × {arguments.trials} trials, answers of {big_run.ANSWER_CHARS} characters.\n"
    )
    print(
        "| snapshot, bytes | a push adds, bytes | characters kept of an answer | made in, s | read in, s | bounds |"
    )
    print("|---|---|---|---|---|---|")
    print(
        f"| {len(data):,} | {added:,} | {found.chars} | {made_s:.2f} | {read_s:.2f} | "
        f"{BOUND_BYTES:,} bytes, made in {BOUND_S:.0f} s |"
    )
    print(f"\nMeasured on: {describe()}")
    return 0 if added <= BOUND_BYTES and made_s <= BOUND_S else 1


if __name__ == "__main__":
    sys.exit(main())
