"""Suites with faults, read as the command line reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegis.errors import SuiteError
from aegis.faults.plan.reading import read_faults
from aegis.gateway import entries
from aegis.suite import Suite, load_suite

HEAD = """\
suite: s
agent: {command: python3 agent.py, secrets: [{CRM_TOKEN: crm.example}]}
network: {allow: [crm.example, api.openai.com, "db.example:5432"]}
cases:
  - {id: a, input: hi, expect: [{answer: x}]}
  - {id: b, input: hi, expect: [{answer: x}]}
"""
FIRST = 8
"""Line of the first rule below `HEAD`."""


def suite_of(*rules: str) -> str:
    """A suite with these rules, one a line."""
    return HEAD + "faults:\n" + "".join(f"  - {rule}\n" for rule in rules)


def load(root: Path, text: str, **options: Any) -> Suite:
    (root / "aegis.toml").touch()
    path = root / "evals" / "s.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_suite(path, read_faults=read_faults, host_rules=entries, **options)


def problems(root: Path, text: str, **options: Any) -> list[str]:
    """What is wrong with a suite that must be wrong."""
    with pytest.raises(SuiteError) as caught:
        load(root, text, **options)
    return list(caught.value.problems)


def profile(root: Path, name: str, text: str) -> None:
    """One of the project's own."""
    folder = root / "evals" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
