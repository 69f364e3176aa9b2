"""`aegis eval run` without virtual machines: what it prints, writes and returns."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from cli_project import ECHO, Folder, outcomes

from aegis.results import document as documents


def test_a_failing_case_is_exit_1_and_named(project: Folder) -> None:
    ran = project.run()
    assert ran.code == 1
    assert ran.last_line.startswith("RESULT: BELOW_THRESHOLD 1/2 trials")
    assert "other" in ran.stdout
    assert "goodbye" in ran.stdout


@pytest.mark.parametrize(("threshold", "code"), [("50", 0), ("50.1", 1), ("0", 0), ("100", 1)])
def test_the_threshold_decides(project: Folder, threshold: str, code: int) -> None:
    ran = project.run("--fail-under", threshold)
    assert ran.code == code
    assert ran.last_line.startswith("RESULT: PASS" if code == 0 else "RESULT: BELOW_THRESHOLD")


@pytest.mark.parametrize("threshold", ["-1", "101", "nan"])
def test_a_senseless_threshold_is_refused(project: Folder, threshold: str) -> None:
    ran = project.run(f"--fail-under={threshold}")
    assert ran.code == 2
    assert ran.last_line == "RESULT: ERROR exit 2: usage error"


def test_the_header_says_how_the_run_goes(project: Folder) -> None:
    ran = project.run("--seed", "42", "--jobs", "1", "-k", "good", "--trials", "3")
    assert "suite echo: 3 trials of 1 case, seed 42" in ran.stderr
    assert "1 at once (--jobs)" in ran.stderr
    assert "isolation: NONE" in ran.stderr
    assert "NO ISOLATION" in ran.stderr


def test_quiet_leaves_the_table_and_the_result(project: Folder) -> None:
    ran = project.run("--quiet", "-k", "same")
    assert ran.stderr.count("\n") == 1
    assert ran.last_line.startswith("RESULT: PASS 1/1")
    assert "same" in ran.stdout


def test_the_document_fits_its_schema(project: Folder) -> None:
    document = project.json()
    documents.validate(document)
    assert document["verdict"] == "BELOW_THRESHOLD"
    assert document["isolation"] == {"driver": "process", "accel": None, "security_boundary": False}
    assert document["fingerprint"]
    assert document["git"] is None
    assert outcomes(document) == {"same": ["passed"], "other": ["failed"]} or outcomes(document) == {
        "other": ["failed"],
        "same": ["passed"],
    }


def test_the_document_can_be_the_only_thing_on_standard_output(project: Folder) -> None:
    ran = project.run("--json", "-")
    assert json.loads(ran.stdout)["schema"] == "aegis.run/1"
    assert ran.last_line.startswith("RESULT: ")


def test_junit(project: Folder) -> None:
    project.run("--junit-xml", "out.xml")
    (suite,) = ET.parse(project.path / "out.xml").getroot()
    assert suite.get("tests") == "2"
    assert suite.get("failures") == "1"


@pytest.mark.parametrize("option", ["--json", "--junit-xml"])
@pytest.mark.parametrize("path", ["missing/out", "."])
def test_an_output_that_cannot_be_written_is_found_before_the_run(
    project: Folder, option: str, path: str
) -> None:
    ran = project.run(option, path)
    assert ran.code == 2
    assert "cannot write" in ran.stderr
    assert not (project.path / ".aegis").exists()


def test_one_path_for_two_outputs_is_refused(project: Folder) -> None:
    assert project.run("--json", "-", "--junit-xml", "-").code == 2


def test_only_what_failed_runs_again(project: Folder) -> None:
    project.run()
    assert outcomes(project.json("--last-failed")) == {"other": ["failed"]}
    project.run("-k", "same")
    ran = project.run("--last-failed")
    assert ran.code == 5
    assert "every case passed" in ran.stderr


def test_last_failed_without_an_earlier_run(project: Folder) -> None:
    ran = project.run("--last-failed")
    assert (ran.code, ran.last_line) == (5, "RESULT: ERROR exit 5: nothing selected")
    assert not (project.path / ".aegis").exists()


def test_nothing_selected(project: Folder) -> None:
    ran = project.run("-k", "nosuchcase")
    assert (ran.code, ran.last_line) == (5, "RESULT: ERROR exit 5: nothing selected")


def test_a_wrong_suite_is_exit_2_with_every_problem(project: Folder) -> None:
    project.suite("echo", ECHO.replace("expect:", "expects:").replace("command: cat", "comand: cat"))
    ran = project.run()
    assert ran.code == 2
    assert ran.stderr.count("evals/echo.yaml:") >= 3
    assert ran.last_line == "RESULT: ERROR exit 2: suite error"


def test_the_suite_must_be_named_when_there_are_several(project: Folder) -> None:
    project.suite("second", ECHO.replace("suite: echo", "suite: second"))
    ran = project.run()
    assert ran.code == 2
    assert "there are 2 suites: echo, second" in ran.stderr
    assert project.run("--suite", "second", "-k", "same").code == 0


def test_no_suite_at_all(folder: Folder) -> None:
    ran = folder.run()
    assert ran.code == 2
    assert "aegis init" in ran.stderr


def test_trials_and_seed(project: Folder) -> None:
    document = project.json("--trials", "3", "--seed", "7", "-k", "same")
    assert outcomes(document) == {"same": ["passed"] * 3}
    assert document["seed"] == 7
    first = [
        (trial["case"], trial["number"]) for trial in project.json("--trials", "5", "--seed", "7")["trials"]
    ]
    again = [
        (trial["case"], trial["number"]) for trial in project.json("--trials", "5", "--seed", "7")["trials"]
    ]
    assert first == again != sorted(first)


def test_a_variable_for_one_run(project: Folder) -> None:
    project.suite("echo", ECHO.replace("command: cat", "command: 'echo $WORD', env: {WORD: goodbye}"))
    assert outcomes(project.json("--seed", "1"))["other"] == ["passed"]
    assert outcomes(project.json("--seed", "1", "--env", "WORD=hello"))["other"] == ["failed"]


def test_a_timeout_for_one_run(project: Folder) -> None:
    project.suite("echo", ECHO.replace("command: cat", "command: sleep 600"))
    document = project.json("--timeout", "200ms", "-k", "same")
    assert outcomes(document) == {"same": ["timeout"]}
    assert document["verdict"] == "BELOW_THRESHOLD"


def test_a_dry_run_starts_and_writes_nothing(project: Folder) -> None:
    project.suite("echo", ECHO.replace("command: cat", "command: touch started"))
    ran = project("eval", "run", "--dry-run", "--seed", "3", "--trials", "2", "-k", "same")
    assert ran.code == 0
    assert "2 trials of 1 case, seed 3" in ran.stdout
    assert "same/1" in ran.stdout
    assert "image debian" in ran.stdout
    assert ran.last_line == "RESULT: DRY RUN exit 0: 2 trials planned, nothing started"
    assert sorted(path.name for path in project.path.iterdir()) == ["aegis.toml", "evals"]


def test_a_dry_run_shows_what_the_variants_add_and_no_endless_order(project: Folder) -> None:
    project.suite("echo", ECHO.replace("input: hello, expect", "input: 'Please send a gardener', expect"))
    stress = ("--stress", "deep-conversation.40", "--stress", "malformed-input.emoji")
    ran = project("eval", "run", "--dry-run", "--trials", "5", "-k", "same", *stress)
    lines = ran.stdout.splitlines()
    same = lines.index("  same: 15 × at most 120 s of the agent's time")
    assert lines[same + 1] == "    variants: deep-conversation.40 (+390 s), malformed-input.emoji"
    (order,) = [line for line in lines if line.startswith("order: ")]
    assert order.count("same") == 12
    assert order.endswith(" … and 3 more (all of them: aegis.eval.plan in Python)")
    # --timeout is the time for every trial, whatever it is.
    fixed = project("eval", "run", "--dry-run", "--timeout", "60s", "-k", "same", *stress).stdout
    assert "variants: deep-conversation.40, malformed-input.emoji" in fixed


def test_a_world_that_cannot_be_set_up_is_inconclusive(project: Folder) -> None:
    project.suite("echo", ECHO.replace("{id: same,", "{id: same, world: {run: ['exit 7']},"))
    ran = project.run("-k", "same", "--retries", "1", "--json", "out.json")
    assert ran.code == 3
    assert ran.last_line.startswith("RESULT: INCONCLUSIVE")
    document = json.loads((project.path / "out.json").read_text())
    assert outcomes(document) == {"same": ["error"]}
    assert document["trials"][0]["attempts"] == 2


def test_a_suite_given_by_its_path(project: Folder) -> None:
    assert project.run("--suite", "evals/echo.yaml", "-k", "same").code == 0


def test_the_project_is_found_from_a_folder_inside(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(project.path / "deep" / "er")
    assert project.run("-k", "same").code == 0
    assert (project.path / ".aegis" / "ledger.db").exists()


def test_files_reach_the_agent_but_the_expectations_do_not(project: Folder) -> None:
    (project.path / "agent.sh").write_text("ls -a; ls evals 2>&1 || true\n")
    text = ECHO.replace(
        "agent: {command: cat}", "agent: {command: sh agent.sh}\nsandbox: {files: {'.': /workspace}}"
    )
    project.suite("echo", text.replace("contains: hello", "contains: agent.sh"))
    document = project.json("-k", "same")
    assert outcomes(document) == {"same": ["passed"]}
    assert "echo.yaml" not in document["trials"][0]["answer"]
    assert "aegis" not in document["trials"][0]["answer"]
