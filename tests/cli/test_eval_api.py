"""`aegis.eval` from Python: results, errors, and what the ledger holds afterwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_project import ECHO, Folder

import aegis
from aegis._eval import session, start
from aegis.errors import HostNeedsError, SandboxLostError, SandboxStartError, SuiteError, UsageError
from aegis.results import Ledger
from aegis.sandbox.base import DriverInfo
from support.fake_driver import FakeDriver, FakeSandbox, Output, until
from support.recorder import Recorder, Reply, Request


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """In place of every driver: machines in which each program answers what it was told."""
    fake = FakeDriver(program=lambda sandbox, argv, stdin: Output(stdout=stdin))
    fake.info = DriverInfo("qemu", "tcg", False, True, "QEMU 7")
    monkeypatch.setattr(session, "open_driver", lambda isolation, **options: fake)
    monkeypatch.setattr(start, "image_identity", lambda isolation, image, root: "d1")
    return fake


def ledger_of(project: Folder) -> closing[Ledger]:
    return closing(Ledger(project.path / ".aegis"))


def test_run(project: Folder, driver: FakeDriver) -> None:
    result = aegis.eval.run(suite="echo", sandbox=True, trials=2, seed=1)
    assert (result.verdict, result.exit_code, result.interrupted) == ("BELOW_THRESHOLD", 1, False)
    assert result.pass_rate == 0.5
    assert set(result.cases) == {"same", "other"}
    same = result.cases["same"]
    assert (same.passed, same.pass_rate) == (2, 1.0)
    assert [trial["number"] for trial in same.trials] == [1, 2]
    assert len(result.trials) == 4
    assert result.document["isolation"] == {"driver": "qemu", "accel": "tcg", "security_boundary": False}
    with ledger_of(project) as ledger:
        assert ledger.run(result.run_id).status == "complete"
        assert ledger.run(result.run_id).document == result.document


def test_arun(project: Folder, driver: FakeDriver) -> None:
    result = asyncio.run(aegis.eval.arun("echo", keyword="same"))
    assert (result.verdict, result.pass_rate) == ("PASS", 1.0)


def test_run_in_a_running_loop_says_what_to_use(project: Folder, driver: FakeDriver) -> None:
    async def inside() -> None:
        with pytest.raises(UsageError) as caught:
            aegis.eval.run("echo")
        assert "aegis.eval.arun" in (caught.value.fix or "")

    asyncio.run(inside())
    assert driver.starts == 0


def test_isolation_by_either_name(project: Folder) -> None:
    for options in ({"sandbox": False}, {"isolation": "none"}):
        result = aegis.eval.run("echo", keyword="same", **options)  # type: ignore[arg-type]
        assert result.document["isolation"]["driver"] == "process"


@pytest.mark.parametrize(
    "options",
    [
        {"trials": 0},
        {"fail_under": 101.0},
        {"fail_under": float("nan")},
        {"jobs": 0},
        {"retries": -1},
        {"timeout_s": 0.0},
        {"isolation": "jail"},
        {"sandbox": False, "require_kvm": True},
    ],
)
def test_senseless_arguments(project: Folder, driver: FakeDriver, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        aegis.eval.run("echo", **options)
    assert driver.starts == 0
    assert not (project.path / ".aegis").exists()


def test_a_project_elsewhere(project: Folder, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert aegis.eval.run("echo", project=project.path, keyword="same").verdict == "PASS"
    assert (project.path / ".aegis" / "ledger.db").exists()


def test_a_suite_of_another_project(project: Folder, driver: FakeDriver, tmp_path: Path) -> None:
    other = tmp_path / "other" / "evals"
    other.mkdir(parents=True)
    (other / "echo.yaml").write_text(ECHO)
    aegis.eval.run(other / "echo.yaml", keyword="same")
    assert (tmp_path / "other" / ".aegis" / "ledger.db").exists()
    assert not (project.path / ".aegis").exists()


def test_outputs(project: Folder, driver: FakeDriver) -> None:
    result = aegis.eval.run("echo", json_path="out.json", junit_path=project.path / "out.xml")
    assert json.loads((project.path / "out.json").read_text()) == result.document
    assert (project.path / "out.xml").exists()


def test_a_template_that_cannot_be_made_leaves_no_run(project: Folder, driver: FakeDriver) -> None:
    driver.template_error = SandboxStartError("set-up step 1 ended with exit code 1")
    with pytest.raises(SandboxStartError, match="set-up step 1"):
        aegis.eval.run("echo")
    with ledger_of(project) as ledger:
        assert ledger.runs() == []


def test_a_host_that_starts_nothing_leaves_a_run_to_resume(project: Folder, driver: FakeDriver) -> None:
    driver.every_start_error = HostNeedsError("no memory", fix="buy some")
    with pytest.raises(HostNeedsError, match="no memory"):
        aegis.eval.run("echo", json_path="out.json")
    document = json.loads((project.path / "out.json").read_text())
    assert (document["verdict"], document["counts"]["cancelled"]) == ("INCONCLUSIVE", 2)
    driver.every_start_error = None
    result = aegis.eval.resume("latest")
    assert result.run_id == document["run_id"]
    assert result.verdict == "BELOW_THRESHOLD"


def test_an_infrastructure_error_is_inconclusive(project: Folder, driver: FakeDriver) -> None:
    def lose(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
        sandbox.lose(by_guest=False)
        raise SandboxLostError("gone")

    driver.program = lose
    result = aegis.eval.run("echo", keyword="same", retries=1)
    assert (result.verdict, result.exit_code, result.pass_rate) == ("INCONCLUSIVE", 3, None)
    assert result.trials[0]["attempts"] == 2


def test_an_agent_that_ends_its_machine_has_failed(project: Folder, driver: FakeDriver) -> None:
    def reboot(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
        sandbox.lose(by_guest=True)
        return Output()

    driver.program = reboot
    result = aegis.eval.run("echo", keyword="same")
    assert result.trials[0]["outcome"] == "failed"
    assert "shut its machine down" in result.trials[0]["reason"]


def interrupted_run(project: Folder, driver: FakeDriver) -> str:
    """Cancel a run of 4 trials in its second one; returns its id."""

    async def scenario() -> None:
        def program(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
            return Output(stdout=stdin, after_s=0 if driver.starts == 1 else float("inf"))

        driver.program = program
        task = asyncio.create_task(aegis.eval.arun("echo", trials=2, jobs=1, fail_under=50, env={"A": "b"}))
        await until(lambda: driver.starts == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert driver.alive == 0
    with ledger_of(project) as ledger:
        (run,) = ledger.runs()
        assert run.status == "interrupted"
        assert run.document is not None
        assert run.document["verdict"] == "INCONCLUSIVE"
        assert len(ledger.missing(run.run_id)) == 3
    driver.program = lambda sandbox, argv, stdin: Output(stdout=stdin)
    return run.run_id


def test_resume_runs_only_what_is_missing(project: Folder, driver: FakeDriver) -> None:
    run_id = interrupted_run(project, driver)
    result = aegis.eval.resume(run_id[:15])
    assert result.run_id == run_id
    assert driver.starts == 5
    assert (result.verdict, result.interrupted) == ("PASS", False)
    assert sorted(trial["attempts"] for trial in result.trials) == [1, 1, 1, 2]
    with ledger_of(project) as ledger:
        assert [run.status for run in ledger.runs()] == ["complete"]


def test_resume_finishes_the_original_plan(
    project: Folder, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = interrupted_run(project, driver)
    project.suite("echo", ECHO.replace("id: other", "id: renamed"))
    result = aegis.eval.resume(run_id, progress=True)
    assert set(result.cases) == {"same", "other"}
    assert "the suite has changed since" in capsys.readouterr().err


def test_resume_of_an_unchanged_suite_says_nothing_of_a_change(
    project: Folder, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    aegis.eval.resume(interrupted_run(project, driver), progress=True)
    assert "changed" not in capsys.readouterr().err


def test_resume_with_the_project_files_gone(project: Folder, driver: FakeDriver) -> None:
    (project.path / "evals" / "seed.json").parent.mkdir(exist_ok=True)
    (project.path / "evals" / "seed.json").write_text("{}")
    (project.path / "agent.py").write_text("x")
    text = ECHO.replace("input: hello,", "input: hello, world: {files: {seed.json: seed.json}},", 1)
    project.suite("echo", text + "sandbox: {files: {agent.py: /workspace/agent.py}}\n")
    run_id = interrupted_run(project, driver)
    for name in ("evals/seed.json", "agent.py", "evals/echo.yaml"):
        (project.path / name).unlink()
    result = aegis.eval.resume(run_id)
    assert not result.interrupted
    assert all("/workspace/agent.py" in sandbox.files for sandbox in driver.sandboxes)


def test_resume_of_a_finished_run_gives_it_back(project: Folder, driver: FakeDriver) -> None:
    finished = aegis.eval.run("echo")
    starts = driver.starts
    assert aegis.eval.resume(finished.run_id, json_path="again.json") == finished
    assert driver.starts == starts
    assert (project.path / "again.json").exists()


def test_resume_on_another_kind_of_machine_is_refused(project: Folder, driver: FakeDriver) -> None:
    run_id = interrupted_run(project, driver)
    driver.info = DriverInfo("qemu", "kvm", True, True, "QEMU 7")
    with pytest.raises(UsageError, match="was begun on qemu/tcg and cannot go on on qemu/kvm"):
        aegis.eval.resume(run_id)


def test_resume_of_what_is_not_there(project: Folder) -> None:
    with pytest.raises(UsageError, match="no run"):
        aegis.eval.resume("nosuchrun")


def test_git_and_fingerprint(project: Folder, driver: FakeDriver) -> None:
    def git(*args: str) -> str:
        options = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *options, *args], cwd=project.path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    before = aegis.eval.run("echo").document
    assert before["git"] == {"commit": None, "branch": "main", "dirty": False, "prefix": ""}
    git("add", "evals", "aegis.toml")
    git("commit", "-q", "-m", "first")
    committed = aegis.eval.run("echo").document
    assert committed["git"] == {
        "commit": git("rev-parse", "HEAD"),
        "branch": "main",
        "dirty": False,
        "prefix": "",
    }
    project.suite("echo", ECHO.replace("command: cat", "command: cat -"))
    changed = aegis.eval.run("echo").document
    assert changed["git"]["dirty"] is True
    assert before["fingerprint"] == committed["fingerprint"] == changed["fingerprint"]
    project.suite("echo", ECHO.replace("contains: hello", "contains: hell"))
    assert aegis.eval.run("echo").document["fingerprint"] != before["fingerprint"]


def test_the_jobs_are_what_the_host_carries(
    project: Folder, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.capacity = 3
    aegis.eval.run("echo", trials=4, jobs=50, progress=True)
    assert (
        "3 at once (--jobs 50 is more than what this host's processors and memory carry"
        in capsys.readouterr().err
    )
    assert driver.most_alive <= 3


def test_the_rows_are_in_the_suites_order_whatever_the_seed(project: Folder, driver: FakeDriver) -> None:
    for seed in (1, 2, 3):
        result = aegis.eval.run("echo", trials=3, seed=seed)
        rows = [(trial["case"], trial["number"]) for trial in result.trials]
        assert rows == [(case, number) for case in ("same", "other") for number in (1, 2, 3)]


def test_a_suite_error_lists_its_problems(project: Folder) -> None:
    project.suite("bad", "suite: bad\nagent: {command: cat}\ncases: [{id: a, inptu: x}, {id: a}]\n")
    with pytest.raises(SuiteError) as caught:
        aegis.eval.run("bad")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + len(caught.value.problems) > 2
    assert "evals/bad.yaml:3" in lines[1]
    shown = project("eval", "run", "--suite", "bad").stderr
    assert all(shown.count(problem) == 1 for problem in caught.value.problems)


CHECKS = """\
suite: checks
agent: {command: cat}
cases:
  - id: same
    input: hello
    expect:
      - python: "project_checks:says_hello"
      - python: "suite_checks:says_hello"
      - python: "checks/own.py:says_hello"
"""


def test_scorers_import_from_the_project_and_from_beside_the_suite(
    project: Folder, driver: FakeDriver
) -> None:
    says = "def says_hello(context):\n    return 'hello' in context.answer\n"
    project.suite("checks", CHECKS)
    (project.path / "project_checks.py").write_text(says)
    (project.path / "evals" / "checks").mkdir()
    (project.path / "evals" / "checks" / "suite_checks.py").write_text("")
    (project.path / "evals" / "suite_checks").mkdir()
    (project.path / "evals" / "suite_checks" / "__init__.py").write_text(says)
    (project.path / "evals" / "checks" / "own.py").write_text("from suite_checks import says_hello\n")
    before = list(sys.path)
    result = aegis.eval.run("checks")
    assert [trial["reason"] for trial in result.trials] == [""]
    assert sys.path == before


class Collector:
    """Answers like an OTLP collector, or refuses."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.names: list[str] = []

    def __call__(self, request: Request) -> Reply:
        (spans,) = json.loads(request.body)["resourceSpans"][0]["scopeSpans"]
        root = {item["key"]: item["value"] for item in spans["spans"][0]["attributes"]}
        case = root["aegis.case"]["stringValue"]
        self.names.append(f"{case} {root['aegis.outcome']['stringValue']}")
        return Reply((b"{}",), self.status)


def test_every_trial_is_exported(
    project: Folder, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = Collector()
    with Recorder(collect) as collector:
        result = aegis.eval.run("echo", otlp=collector.url)
        assert sorted(collect.names) == ["other failed", "same passed"]
        assert aegis.eval.resume(result.run_id, otlp=collector.url).document == result.document
        assert len(collect.names) == 4
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("status", [500, None])
def test_an_export_that_fails_is_one_warning_and_no_verdict(
    project: Folder, driver: FakeDriver, capsys: pytest.CaptureFixture[str], status: int | None
) -> None:
    with Recorder(Collector(status or 200)) as collector:
        url = collector.url if status else "http://127.0.0.1:9"
        result = aegis.eval.run("echo", keyword="same", trials=3, otlp=url)
    assert (result.verdict, result.exit_code) == ("PASS", 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("WARNING: not all spans were exported: ")


def test_an_url_that_is_none_is_refused_before_anything_starts(project: Folder, driver: FakeDriver) -> None:
    with pytest.raises(UsageError, match="is not the URL of a collector"):
        aegis.eval.run("echo", otlp="localhost:4318")
    assert driver.starts == 0
