"""Running the installed `aegis` command as a user does: a project folder, text, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AEGIS = Path(sys.executable).with_name("aegis")
CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE_S = 900
"""For one command: a host on a bad day is ten times slower, and a first run may build an image."""


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """Of standard error: where the RESULT line stands."""
        return self.stderr.rstrip().rpartition("\n")[2]

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


Aegis = Callable[..., Ran]


def environment(**changes: str) -> dict[str, str]:
    """The test's own environment, without what would change the command's behaviour."""
    # With a key the example would ask the real model.
    dropped = ("PYTHONPATH", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "OPENAI_API_KEY", "SHOP_TOKEN")
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, **changes}


def run_aegis(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, program: Path = AEGIS, stdin: str = ""
) -> Ran:
    """Run to the end, within the deadline. `env` is added to the environment."""
    done = subprocess.run(
        [program, *args],
        cwd=cwd,
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def outcomes(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Case → outcomes of its trials in the order of their numbers."""
    by_case: dict[str, list[str]] = {}
    for trial in sorted(document["trials"], key=lambda trial: (trial["case"], trial["number"])):
        by_case.setdefault(trial["case"], []).append(trial["outcome"])
    return by_case


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
