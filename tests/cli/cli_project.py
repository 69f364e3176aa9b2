"""A project in a folder, and the command line called in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aegis.cli import main

ECHO = """\
suite: echo
agent: {command: cat}
cases:
  - {id: same, tags: [good], input: hello, expect: [{answer: {contains: hello}}]}
  - {id: other, input: hello, expect: [{answer: {contains: goodbye}}]}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        return self.stderr.rstrip("\n").rpartition("\n")[2]


class Folder:
    """A project folder; calling it runs the command line there."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def suite(self, name: str, text: str) -> None:
        (self.path / "aegis.toml").touch()
        (self.path / "evals").mkdir(exist_ok=True)
        (self.path / "evals" / f"{name}.yaml").write_text(text)

    def __call__(self, *args: str) -> Ran:
        self._capsys.readouterr()
        code = main(list(args))
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def run(self, *args: str) -> Ran:
        return self("eval", "run", "--isolation=none", *args)

    def json(self, *args: str) -> dict[str, Any]:
        """The run document of a run."""
        self.run("--json", str(self.path / "out.json"), *args)
        document: dict[str, Any] = json.loads((self.path / "out.json").read_text())
        return document


def outcomes(document: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for trial in document["trials"]:
        found.setdefault(trial["case"], []).append(trial["outcome"])
    return found
