"""How often a suite whose agent has not changed is called REGRESSED: `python benchmarks/false_alarms.py [--runs 20]`.

A copy of examples/support-agent becomes a repository of its own. Its commit is run until every case has the 20 trials
of a full baseline; then the same commit is run `--runs` times, each time compared with the runs before it, in virtual
machines, fresh trials of suspects included. Exits with 1 when more than one of them was REGRESSED.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

from aegis.regression.trials import ENOUGH

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "support-agent"
SUITE = "production-v2"
MOST_ALARMS = 1


def git(folder: Path, *args: str) -> None:
    who = ("-c", "user.name=aegis", "-c", "user.email=aegis@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *args], cwd=folder, check=True)


def run(folder: Path, *options: str) -> dict[str, Any]:
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    aegis = Path(sys.executable).with_name("aegis")
    command = [aegis, "eval", "run", "--suite", SUITE, "--json", out, "--quiet", *options]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not out.exists():
        sys.exit(f"the run made no document:\n{done.stderr}")
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=3, help="of each case in each run")
    parser.add_argument("--strict", action="store_true")
    given = parser.parse_args()
    trials = ("--trials", str(given.trials))
    strict = ("--strict",) if given.strict else ()
    verdicts: dict[str, int] = {}
    took, fresh, suspects = [], 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "agent"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".aegis", "__pycache__"))
        (folder / ".gitignore").write_text("__pycache__/\nout.json\n")
        git(folder, "init", "--quiet", "--initial-branch", "main")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "The agent")
        for number in range(math.ceil(ENOUGH / given.trials)):
            document = run(folder, *trials, "--fail-under", "0")
            print(f"baseline {number + 1}: {document['result']}", file=sys.stderr, flush=True)
        for number in range(given.runs):
            begun = time.monotonic()
            document = run(folder, *trials, *strict, "--baseline", "main")
            took.append(time.monotonic() - begun)
            verdicts[document["verdict"]] = verdicts.get(document["verdict"], 0) + 1
            confirmed = document["baseline"]["confirmed"] or {"cases": 0, "trials": 0}
            suspects, fresh = suspects + confirmed["cases"], fresh + confirmed["trials"]
            print(f"run {number + 1}: {document['result']}", file=sys.stderr, flush=True)
    planned = document["counts"]["planned"]
    print(f"{given.runs} runs of {SUITE}, {planned} trials each, nothing changed.\n")
    print("| verdict | runs |\n|---|---|")
    for word, count in sorted(verdicts.items()):
        print(f"| {word} | {count} |")
    share = fresh / (given.runs * planned)
    print(f"\n{suspects} suspects, {fresh} fresh trials ({share:.1%} of the planned ones);", end=" ")
    print(f"{sum(took) / len(took):.0f} s a run on average. Measured on: {describe()}")
    return 0 if verdicts.get("REGRESSED", 0) <= MOST_ALARMS else 1


if __name__ == "__main__":
    sys.exit(main())
