"""Writing suites into a folder and loading them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import SuiteError
from aegis.suite import Suite, load_suite
from aegis.suite.problems import did_you_mean

SCORERS = ("answer", "file", "command", "sql", "budget", "python")

HEAD = "suite: s\nagent: {command: python3 agent.py}\n"
CASE = "cases:\n  - {id: a, input: hi, expect: [{answer: x}]}\n"


def check_scorer(name: str, config: Any) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Stands for the scoring room: knows names, and that `answer` takes no empty text."""
    if name not in SCORERS:
        return [((), f"unknown scorer {name!r}{did_you_mean(name, SCORERS)}")]
    if name == "answer" and isinstance(config, dict) and config.get("contains") == "":
        return [(("contains",), "expected text, got empty text")]
    return []


def write(root: Path, text: str | bytes, name: str = "s.yaml") -> Path:
    path = root / "evals" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def load(root: Path, text: str | bytes, name: str = "s.yaml", **options: Any) -> Suite:
    options.setdefault("check_expectation", check_scorer)
    return load_suite(write(root, text, name), **options)


def problems(root: Path, text: str | bytes, name: str = "s.yaml", **options: Any) -> list[str]:
    """The problems of a suite that must have some."""
    with pytest.raises(SuiteError) as caught:
        load(root, text, name, **options)
    assert caught.value.problems
    return list(caught.value.problems)


def write_jsonl(root: Path, lines: list[Any], name: str = "cases.jsonl") -> str:
    """Objects as lines, strings as they are; returns a suite that names the file."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    write(root, text, name)
    return f"{HEAD}cases: {{jsonl: {name}}}\n"


Loads = Callable[[str], Suite]
