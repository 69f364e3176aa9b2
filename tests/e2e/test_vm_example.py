"""The example project in real virtual machines: it passes; with one of its defects switched on it fails."""

from __future__ import annotations

import re
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
    weather = {fault["kind"]: fault["fired"] for trial in document["trials"] for fault in trial["faults"]}
    assert weather.keys() >= {"cut-stream", "truncate", "latency", "token-expired", "rate-limit"}
    assert all(weather.values()), weather


@pytest.mark.slow
def test_with_the_defect_it_fails_and_names_the_case(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--trials", "1", "-k", "refuse", "--env", "REFUND_BUG=1", cwd=example)
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: BELOW_THRESHOLD"), ran
    by_case = outcomes(read_json(example / "out.json"))
    assert [case for case, trials in by_case.items() if trials != ["passed"]] == ["already-refunded"]
    assert "already-refunded" in ran.stdout


@pytest.mark.parametrize("hasty", [False, True], ids=["good", "careless"])
def test_on_a_bad_day_only_the_careless_client_fails(aegis: Aegis, example: Path, hasty: bool) -> None:
    few = ("--trials", "1", "-k", "list-last-orders", "--faults", "flaky-production")
    ran = aegis(*RUN, *few, "--env", f"HASTY={hasty:d}", cwd=example)
    (trial,) = read_json(example / "out.json")["trials"]
    assert [fault["id"] for fault in trial["faults"] if fault["fired"] and fault["kind"] == "rate-limit"]
    if not hasty:
        assert ran.code == 0, ran
        return
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: BELOW_THRESHOLD"), ran
    assert re.search(
        r"retry-after: GET shop\.example/customers/ada/orders\S* got 429 with Retry-After 1 s at \d+\.\d\d s "
        r"\(exchange \d+\) and was sent again at \d+\.\d\d s \(exchange \d+\)",
        trial["reason"],
    ), trial["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("hasty", [False, True], ids=["good", "careless"])
def test_the_whole_suite_on_a_bad_day(aegis: Aegis, example: Path, hasty: bool) -> None:
    few = ("--trials", "1", "--faults", "flaky-production", "--env", f"HASTY={hasty:d}")
    ran = aegis(*RUN, *few, cwd=example)
    assert ran.code == hasty, ran
    by_case = outcomes(read_json(example / "out.json"))
    passed = {case for case, trials in by_case.items() if trials == ["passed"]}
    # Without a request to the shop, and with one call of a model, there is little to be careless about.
    assert passed == ({"malformed-order-number"} if hasty else by_case.keys())


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
