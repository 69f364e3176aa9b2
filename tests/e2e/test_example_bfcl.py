"""The example made from bfcl-eval: long tool conversations, replayed, call for call and result for result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from e2e_command import DEADLINE_S, outcomes, read_json
from e2e_packaged import Run, copy_example

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2 * DEADLINE_S)]

LONGEST_CHARS = 31_706


@pytest.fixture
def bfcl(tmp_path: Path) -> Run:
    return copy_example("bfcl", tmp_path, pip=("--no-deps",))


def longest(found: dict[str, Any]) -> int:
    """Characters of the longest result that was compared with what was expected."""
    told = " ".join(score["reason"] for trial in found["trials"] for score in trial["scores"])
    return max(int(number.replace(",", "")) for number in re.findall(r"longest result of ([\d,]+)", told))


def test_every_conversation_with_a_long_result(bfcl: Run, tmp_path: Path) -> None:
    ran = bfcl("--suite", "long_context", "--isolation=none", "-k", "long-result")
    assert ran.code == 0, ran
    found = read_json(tmp_path / "run.json")
    assert len(outcomes(found)) == 68
    assert longest(found) == LONGEST_CHARS
    assert sum(trial["turns"] > 1 for trial in found["trials"]) > 60
    assert all(trial["usage"]["tool_calls"] for trial in found["trials"])


def test_a_forgotten_call_is_noticed(bfcl: Run, tmp_path: Path) -> None:
    ran = bfcl("--suite", "long_context", "--isolation=none", "-k", "turns-6", "--env", "FORGET=1")
    assert ran.code == 1, ran
    assert {trial["outcome"] for trial in read_json(tmp_path / "run.json")["trials"]} == {"failed"}


@pytest.mark.vm
def test_in_machines(bfcl: Run, tmp_path: Path) -> None:
    """One of them is the conversation with the longest result of all."""
    few = "long_context_125 or long_context_131 or long_context_109"
    ran = bfcl("--suite", "long_context", "--isolation=vm", "--jobs", "2", "-k", few)
    assert ran.code == 0, ran
    found = read_json(tmp_path / "run.json")
    assert len(found["trials"]) == 3
    assert longest(found) == LONGEST_CHARS
    assert found["isolation"]["driver"] in ("qemu", "firecracker")
    assert found["denied"] == []
