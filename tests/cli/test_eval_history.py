"""`aegis eval list` and `aegis eval show`."""

from __future__ import annotations

import json

import pytest
from cli_project import ECHO, Folder


@pytest.fixture
def run_id(project: Folder) -> str:
    return str(project.json()["run_id"])


def test_list(project: Folder, run_id: str) -> None:
    ran = project("eval", "list")
    assert ran.code == 0
    assert run_id in ran.stdout
    assert "BELOW_THRESHOLD" in ran.stdout


def test_list_as_json_filtered_and_limited(project: Folder, run_id: str) -> None:
    second = project.json("-k", "same")["run_id"]
    rows = json.loads(project("eval", "list", "--json").stdout)["runs"]
    assert [row["run_id"] for row in rows] == [second, run_id]
    assert [row["state"] for row in rows] == ["PASS", "BELOW_THRESHOLD"]
    assert len(json.loads(project("eval", "list", "--json", "--limit", "1").stdout)["runs"]) == 1
    assert json.loads(project("eval", "list", "--json", "--suite", "x").stdout) == {"runs": []}


def test_list_without_runs_makes_nothing(project: Folder) -> None:
    ran = project("eval", "list")
    assert (ran.code, ran.stderr) == (0, "")
    assert "no runs" in ran.stdout
    assert not (project.path / ".aegis").exists()


def test_show(project: Folder, run_id: str) -> None:
    for name in (run_id, run_id[:-2], "latest"):
        ran = project("eval", "show", name)
        assert ran.code == 0
        assert f"run {run_id} of suite echo: BELOW_THRESHOLD" in ran.stdout
        assert "same" in ran.stdout


def test_show_as_json_is_the_run_document(project: Folder, run_id: str) -> None:
    shown = json.loads(project("eval", "show", run_id, "--json").stdout)
    assert shown == json.loads((project.path / "out.json").read_text())


def test_show_a_trial(project: Folder, run_id: str) -> None:
    ran = project("eval", "show", run_id, "--trial", "other/1")
    assert ran.code == 0
    assert ran.stdout.startswith("other/1: failed")
    assert "MISSED  answer" in ran.stdout
    assert "user:\n  hello\n" in ran.stdout


def test_show_a_trial_as_json(project: Folder, run_id: str) -> None:
    shown = json.loads(project("eval", "show", run_id, "--trial", "same/1", "--json").stdout)
    assert shown["trial"]["outcome"] == "passed"
    assert shown["trace"]["turns"][0]["answer"].strip() == "hello"
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["passed"]


def test_what_an_agent_wrote_cannot_control_the_terminal(project: Folder) -> None:
    project.suite("echo", ECHO.replace("command: cat", "command: \"printf '\\\\033[31mred'\""))
    project.run()
    assert "\x1b" not in project("eval", "show", "latest", "--trial", "same/1").stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nosuchrun"], "there is no run 'nosuchrun'"),
        (["latest", "--trial", "same"], "same has trials 1 to 1"),
        (["latest", "--trial", "same/9"], "same has trials 1 to 1"),
        (["latest", "--trial", "nix/1"], "its cases: "),
    ],
)
def test_what_is_not_there(project: Folder, run_id: str, args: list[str], words: str) -> None:
    ran = project("eval", "show", *args)
    assert ran.code == 2
    assert words in ran.stderr


def test_show_without_any_run(project: Folder) -> None:
    ran = project("eval", "show", "latest")
    assert ran.code == 2
    assert "there are no runs" in ran.stderr
    assert not (project.path / ".aegis").exists()
