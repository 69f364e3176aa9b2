"""Stress on the example project, as plain processes of this host: what the good agent stands, the fragile one loses,
and the report says which and by how much."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from e2e_command import DEADLINE_S, Aegis, read_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_S)]

RUN = ("eval", "run", "--suite", "production-v2", "--isolation=none", "--trials", "1", "--json", "out.json")
KINDS = (
    *("deep-conversation.40", "bloated-tools.8k", "tool-injection.note", "malformed-input.5"),
    *("conflicting-instructions.conflict", "conflicting-instructions.aligned"),
)
STRESS = tuple(part for kind in KINDS for part in ("--stress", kind))
FEW = ("-k", "refund-outside-window or list-last-orders")
LOST: dict[str, dict[str, Any]] = {
    "deep-conversation.40": {"broken": ["refund-outside-window"], "change": -0.5},
    "bloated-tools.8k": {"broken": ["refund-outside-window", "list-last-orders"], "change": -1},
    "tool-injection.note": {"broken": ["refund-outside-window", "list-last-orders"], "change": -1},
    "malformed-input.5": {"broken": ["list-last-orders"], "change": -0.5},
    "conflicting-instructions.conflict": {
        "broken": ["refund-outside-window", "list-last-orders"],
        "change": -1,
    },
    "conflicting-instructions.aligned": {"broken": [], "change": 0},
}
"""What the fragile agent loses."""


def effects(folder: Path) -> dict[str, dict[str, Any]]:
    found = read_json(folder / "out.json")["stress"]["effects"]
    return {entry["variant"]: entry for entry in found}


def test_the_good_agent_stands_it(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, *FEW, *STRESS, cwd=example)
    assert ran.code == 0, ran
    found = effects(example)
    assert found.keys() == LOST.keys()
    assert {entry["change"] for entry in found.values()} == {0}
    assert "costs nothing" in ran.stdout


def test_the_fragile_one_loses_and_the_report_says_where_and_how_much(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, *FEW, *STRESS, "--env", "FRAGILE=1", cwd=example)
    assert ran.code == 1, ran
    found = effects(example)
    for variant, lost in LOST.items():
        assert {key: found[variant][key] for key in lost} == lost, variant
    assert all(entry["reference_rate"] == 1 for entry in found.values())
    told = " ".join(ran.stdout.split())
    assert re.search(r"conflicting-instructions\.conflict: costs 100 points \(100 % → 0 %;", told), ran
    assert re.search(
        r"malformed-input\.5: costs 50 points \(100 % → 50 %;[^)]*\) in list-last-orders", told
    ), ran


@pytest.mark.slow
def test_refunds_under_all_of_it(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "-k", "refund and not weather", "--stress", "production", cwd=example)
    assert ran.code == 0, ran
    assert {entry["cases"] for entry in effects(example).values()} > {0}


def test_lint_finds_no_gap_and_says_what_stress_would_add(aegis: Aegis, example: Path) -> None:
    assert aegis(*RUN, "-k", "long-correspondence", cwd=example).code == 0
    linted = aegis("suite", "lint", "production-v2", "--fail-on", "gap", cwd=example)
    assert linted.code == 0, linted
    assert "no gaps" in linted.stdout
    assert "would add: conflicting-instructions.conflict" in linted.stdout
    assert re.search(r"43 turns in all-day-long", linted.stdout), linted
    assert re.search(r"8,\d{3} tokens in long-correspondence", linted.stdout), linted
