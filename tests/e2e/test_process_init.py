"""A new user's first minutes, without a virtual machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_command import Aegis, outcomes, read_json

pytestmark = pytest.mark.e2e


@pytest.fixture
def project(aegis: Aegis, tmp_path: Path) -> Path:
    made = aegis("init")
    assert made.code == 0, made
    return tmp_path


def the_suite(project: Path) -> str:
    (path,) = (project / "evals").glob("*.yaml")
    return path.stem


def test_init_makes_a_suite_that_passes_at_once(aegis: Aegis, project: Path) -> None:
    ran = aegis("eval", "run", "--suite", the_suite(project), "--isolation=none", "--json", "out.json")
    assert ran.code == 0, ran
    assert ran.last_line.startswith("RESULT: PASS"), ran
    document = read_json(project / "out.json")
    assert document["verdict"] == "PASS"
    assert document["isolation"]["driver"] == "process"
    assert document["isolation"]["security_boundary"] is False
    assert {outcome for trials in outcomes(document).values() for outcome in trials} == {"passed"}


def test_the_suite_passes_its_own_check(aegis: Aegis, project: Path) -> None:
    checked = aegis("suite", "check")
    assert checked.code == 0, checked


def test_running_without_isolation_is_said_aloud(aegis: Aegis, project: Path) -> None:
    ran = aegis("eval", "run", "--suite", the_suite(project), "--isolation=none")
    assert "not isolated" in ran.stderr.lower() or "no isolation" in ran.stderr.lower(), ran


def test_init_refuses_to_overwrite(aegis: Aegis, project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    again = aegis("init")
    assert again.code == 2, again
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_run_can_be_listed_and_shown(aegis: Aegis, project: Path) -> None:
    aegis("eval", "run", "--suite", the_suite(project), "--isolation=none", "--json", "out.json")
    run_id = read_json(project / "out.json")["run_id"]
    listed, shown = aegis("eval", "list"), aegis("eval", "show", run_id)
    assert listed.code == 0, listed
    assert run_id in listed.stdout
    assert shown.code == 0, shown
    assert "passed" in shown.stdout.lower() or "PASS" in shown.stdout
