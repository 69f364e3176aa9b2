"""The example project in real virtual machines: it passes; with its defect switched on it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from e2e_command import DEADLINE_S, Aegis, environment, outcomes, read_json

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(2 * DEADLINE_S)]

RUN = (
    "eval",
    "run",
    "--suite",
    "production-v2",
    "--isolation=vm",
    "--fail-under",
    "95",
    "--json",
    "out.json",
)


def test_it_passes(aegis: Aegis, example: Path) -> None:
    """Once a case; the demo runs each one three times."""
    ran = aegis(*RUN, "--trials", "1", cwd=example)
    assert ran.code == 0, ran
    assert ran.last_line.startswith("RESULT: PASS"), ran
    document = read_json(example / "out.json")
    assert document["isolation"]["driver"] in ("qemu", "firecracker")
    assert len(document["trials"]) == document["counts"]["planned"] == document["counts"]["passed"]
    assert {trial["number"] for trial in document["trials"]} == {1}
    assert all(trial["exchanges"] > 0 and trial["usage"]["model_calls"] > 0 for trial in document["trials"])


@pytest.mark.slow
def test_with_the_defect_it_fails_and_names_the_case(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--trials", "1", "-k", "refuse", "--env", "REFUND_BUG=1", cwd=example)
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: BELOW_THRESHOLD"), ran
    by_case = outcomes(read_json(example / "out.json"))
    assert [case for case, trials in by_case.items() if trials != ["passed"]] == ["already-refunded"]
    assert "already-refunded" in ran.stdout


@pytest.mark.parametrize(
    "program",
    [
        "print(aegis.eval.run(suite='production-v2', sandbox=True, **few).verdict)",
        pytest.param(
            "print(asyncio.run(aegis.eval.arun(suite='production-v2', sandbox=True, **few)).verdict)",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["run", "arun"],
)
def test_from_python(example: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio, aegis; few = dict(trials=1, keyword='privacy'); {program}"],
        cwd=example,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "PASS"
