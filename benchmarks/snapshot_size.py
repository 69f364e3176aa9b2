"""What a large run takes as a snapshot, and what pushing it adds to a repository: `python benchmarks/snapshot_size.py`.

The run is one of big_run.py, whose answers all differ. A commit that holds its snapshot is pushed, with a real `git
push`, to a bare repository that has an earlier run's already; what the pack that arrives there takes is measured, and
so is what making and reading the snapshot takes. Bound: 3 MB (3,000,000 bytes) for 10,000 cases × 5 trials; exits with
1 when it is exceeded.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import big_run
from machine import describe

from aegis.regression.snapshot import from_bytes, to_bytes

BOUND_BYTES = 3_000_000
REF = "refs/aegis/benchmark"


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    earlier, run = big_run.runs(2, arguments.cases, arguments.trials)
    began = time.perf_counter()
    data = to_bytes(run)
    made_s = time.perf_counter() - began
    began = time.perf_counter()
    found = from_bytes(data, "the snapshot")
    read_s = time.perf_counter() - began
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
        "| snapshot, bytes | a push adds, bytes | characters kept of an answer | made in, s | read in, s | bound |"
    )
    print("|---|---|---|---|---|---|")
    print(
        f"| {len(data):,} | {added:,} | {found.chars} | {made_s:.1f} | {read_s:.2f} | {BOUND_BYTES:,} bytes |"
    )
    print(f"\nMeasured on: {describe()}")
    return 0 if added <= BOUND_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
