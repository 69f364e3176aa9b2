"""The leaky example in machines: what leaks in one, and does not between two."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_command import DEADLINE_S, Aegis, read_json
from test_process_leaks import PAIRS, check, leaky

__all__ = ["leaky"]

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(4 * DEADLINE_S)]

AUDIT = ("audit", "leaks", "--suite", "leaky-suite", "--seed", "1", "--json", "out.json")


def test_a_process_that_was_left_running_is_found(aegis: Aegis, leaky: Path) -> None:
    ran = aegis(*AUDIT, "-k", "documents", "--orders", "2", cwd=leaky)
    assert ran.code == 1, ran
    document = read_json(leaky / "out.json")
    assert document["isolation"]["driver"] == "qemu"
    check(document, {"find-document"})


@pytest.mark.slow
def test_all_of_it_shows_94_and_is_81(aegis: Aegis, leaky: Path) -> None:
    ran = aegis(*AUDIT, cwd=leaky)
    assert ran.code == 1, ran
    document = read_json(leaky / "out.json")
    assert (document["shown"], document["true"]) == (30 / 32, 26 / 32)
    assert {entry["case"] for entry in document["cases"] if entry["dependent"]} == set(PAIRS)
