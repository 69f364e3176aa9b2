"""The generated workflow and action.yml, run step by step as a runner does, in real virtual machines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_command import CHECKOUT, DEADLINE_S, read_json, run_aegis
from e2e_expressions import evaluate, filled, holds
from e2e_workflow import Job, Runner
from ruamel.yaml import YAML

from support.fake_forge import TOKEN, Forge, serving

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(4 * DEADLINE_S)]

SUITE = """\
suite: desk
agent: {command: "python3 agent.py"}
sandbox:
  memory: 256MiB
  files: {agent.py: /workspace/agent.py}
trials: 3
timeout: 5m
cases:
  - {id: refund, input: I want a refund, expect: [{answer: {contains: refunded}}]}
  - {id: order, input: Where is my order, expect: [{answer: {contains: shipped}}]}
"""
AGENT = "import sys\nprint('refunded' if 'refund' in sys.stdin.read() else 'shipped')\n"
WRONG = AGENT.replace("'refunded'", "'no'")
REFUND_LINE = SUITE.splitlines().index(next(line for line in SUITE.splitlines() if "id: refund" in line)) + 1


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Repository:
    """A bare remote, and what a runner makes of it."""

    def __init__(self, folder: Path, forge: Forge) -> None:
        self.folder = folder
        self.forge = forge
        self.remote = folder / "remote.git"
        self.work = folder / "work"
        self.work.mkdir()
        git(self.work, "init", "-q", "-b", "main")
        (self.work / "aegis.toml").touch()
        (self.work / "evals").mkdir()
        (self.work / "evals/desk.yaml").write_text(SUITE)
        (self.work / "agent.py").write_text(AGENT)
        written = run_aegis("ci", "init", "github", "--suite", "desk", "--fail-under", "95", cwd=self.work)
        assert written.code == 0, written
        self.commit("one")
        git(self.folder, "clone", "-q", "--bare", "work", "remote.git")
        git(self.work, "remote", "add", "origin", str(self.remote))
        self.runs = 0

    def commit(self, message: str) -> None:
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", message)

    def push(self, agent: str | None = None, suite: str | None = None) -> Runner:
        """Change main, push it, and check it out as for a push's job."""
        self._change("main", agent, suite)
        return self._runner("push", "main", "origin/main")

    def pull_request(self, branch: str, agent: str | None = None, suite: str | None = None) -> Runner:
        """Change a branch that begins at main, and check it out as for a pull request's job: merged, detached."""
        git(self.work, "checkout", "-q", "-B", branch, "main")
        self._change(branch, agent, suite)
        git(self.work, "checkout", "-q", "main")
        return self._runner("pull_request", branch, f"origin/{branch}")

    def _change(self, branch: str, agent: str | None, suite: str | None) -> None:
        if agent is not None:
            (self.work / "agent.py").write_text(agent)
        if suite is not None:
            (self.work / "evals/desk.yaml").write_text(suite)
        if git(self.work, "status", "--porcelain"):
            self.commit(f"change {branch}")
        git(self.work, "push", "-q", "-f", "origin", branch)

    def _runner(self, event_name: str, branch: str, commit: str) -> Runner:
        workspace = self.checkout()
        git(workspace, "checkout", "-q", "--detach", "origin/main")
        event: dict[str, Any] = {"repository": {"default_branch": "main"}}
        if event_name == "pull_request":
            git(workspace, "merge", "-q", "--no-ff", "-m", "merge", commit)
            event["pull_request"] = {"number": 7, "head": {"repo": {"full_name": "acme/agent"}}}
        else:
            git(workspace, "checkout", "-q", "-B", "main", "origin/main")
        return Runner(
            folder=workspace.parent,
            workspace=workspace,
            event_name=event_name,
            event=event,
            api=self.forge.url,
            token=TOKEN,
            ref_name="main" if event_name == "push" else "7/merge",
            base_ref="" if event_name == "push" else "main",
            action_path=CHECKOUT,
        )

    def checkout(self) -> Path:
        self.runs += 1
        place = self.folder / f"runner-{self.runs}"
        place.mkdir()
        git(place, "clone", "-q", str(self.remote), "agent")
        return place / "agent"


Start = Callable[[Runner], Job]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with serving() as forge:
        yield Repository(tmp_path, forge)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def workflow(runner: Runner, name: str = "evaluate") -> Job:
    made = load(runner.workspace / ".github/workflows/aegis.yml")
    return runner.run_job(made["jobs"][name], made["defaults"]["run"])


def action(runner: Runner, **inputs: str) -> Job:
    given = {
        "suite": "desk",
        "fail-under": "95",
        **{name.replace("_", "-"): it for name, it in inputs.items()},
    }
    return runner.run_action(load(CHECKOUT / "action.yml"), given)


def document(runner: Runner) -> dict[str, Any]:
    (path,) = (runner.folder / "temp").glob("*run.json")
    return read_json(path)


def check_broken(job: Job) -> None:
    """The job is red, and everything says which case it is, and where it stands."""
    assert job.failed, job
    assert "refund" in job.summary
    report = job["Report"]
    assert f"::error file=evals/desk.yaml,line={REFUND_LINE}" in report.log, job
    assert TOKEN not in str(job)


START = pytest.mark.parametrize("start", [workflow, action])


@START
def test_a_push(repository: Repository, start: Start) -> None:
    good = repository.push()
    passed = start(good)
    assert not passed.failed, passed
    assert passed["Report"].outputs["verdict"] == "PASS"
    assert document(good)["isolation"]["driver"] in ("qemu", "firecracker")
    assert "PASS" in passed.summary
    assert passed.outputs["complete" if start is workflow else "verdict"] == (
        "true" if start is workflow else "PASS"
    )
    assert passed["Comment"].outcome == "skipped"
    assert (good.folder / "artifacts").is_dir()

    broken = start(repository.push(agent=WRONG))
    check_broken(broken)
    assert broken["Report"].outputs["verdict"] == "BELOW_THRESHOLD"
    assert broken["Report"].outputs["exit-code"] == "1"
    assert repository.forge.requests == []


def test_a_pull_request_that_is_compared_with_nothing(repository: Repository) -> None:
    broken = action(repository.pull_request("idea", agent=WRONG), baseline="none", trials="1")
    check_broken(broken)
    assert broken["Fetch the results to compare with"].outcome == "skipped"
    assert broken["Verdict"].code == 1
    assert broken.outputs["exit-code"] == "1"
    (body,) = repository.forge.bodies()
    assert body.startswith("<!-- ")
    assert "BELOW_THRESHOLD" in body

    mended = repository.pull_request("idea", agent=AGENT)
    passed = action(mended, baseline="none", trials="1")
    assert not passed.failed, passed
    assert passed["Verdict"].code == 0
    assert passed.outputs["verdict"] == "PASS"
    assert passed.outputs["pass-rate"] == "100.0"
    assert json.loads(passed.outputs["regressed-cases"]) == []
    assert read_json(Path(passed.outputs["report"]))["run_id"] == document(mended)["run_id"]
    (body,) = repository.forge.bodies()
    assert "PASS" in body
    assert passed["Comment"].log.startswith("comment updated")


@START
def test_a_pull_request_that_is_compared_with_main(repository: Repository, start: Start) -> None:
    main = repository.push()
    kept = start(main)
    assert not kept.failed, kept
    if start is workflow:
        after = repository.checkout()
        results = Runner(
            **{**vars(main), "workspace": after, "needs": {"evaluate": {"outputs": kept.outputs}}}
        )
        pushed = workflow(results, "results")
        assert pushed["Push the results"].outcome == "success", pushed
    else:
        assert kept["Push the results"].outcome == "success", kept
    assert "refs/aegis/results" in git(repository.remote, "for-each-ref", "--format=%(refname)")

    broken = start(repository.pull_request("idea", agent=WRONG))
    check_broken(broken)
    assert broken["Report"].outputs["verdict"] == "REGRESSED", broken
    assert json.loads(broken["Report"].outputs["regressed-cases"]) == ["refund"]
    (body,) = repository.forge.bodies()
    assert "REGRESSED" in body

    passed = start(repository.pull_request("other", agent=f"{AGENT}# the same\n"))
    assert not passed.failed, passed
    assert passed["Report"].outputs["verdict"] == "PASS"
    assert len(repository.forge.bodies()) == 1


def gitlab(runner: Runner, **variables: str) -> list[tuple[int, str]]:
    """Exit code and output of the job's script, and of what comes after it, for a runner that has Aegis."""
    made = run_aegis("ci", "init", "gitlab", "--suite", "desk", "--dry-run", cwd=runner.workspace)
    job = YAML(typ="safe").load(made.stdout)["aegis"]
    forge = {"CI_API_V4_URL": f"{runner.api}/api/v4", "CI_PROJECT_ID": "12", "GITLAB_TOKEN": TOKEN}
    env = {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(runner.workspace), **forge, **variables}
    (runner.workspace / ".aegis-ci").mkdir()
    done = []
    for part in ("script", "after_script"):
        script = "\n".join(["set -eo pipefail", *job[part]])
        ran = runner.bash(script, runner.workspace, env)
        done.append((ran.returncode, ran.stdout))
    return done


MERGE_REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_ID": "12",
}


def test_gitlab_on_the_default_branch(repository: Repository) -> None:
    runner = repository.push(agent=WRONG)
    (code, log), (after, after_log) = gitlab(runner, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")
    assert (code, after) == (1, 0), log + after_log
    assert "not a merge request" in after_log
    report = runner.workspace / ".aegis-ci"
    (issue,) = json.loads((report / "codequality.json").read_text())
    assert issue["location"] == {"path": "evals/desk.yaml", "lines": {"begin": REFUND_LINE}}
    assert "BELOW_THRESHOLD" in (report / "comment.md").read_text()
    assert (report / "run.xml").exists()


def test_a_merge_request_on_gitlab(repository: Repository) -> None:
    main = repository.push()
    (code, log), _ = gitlab(main, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")
    assert code == 0, log
    pushed = run_aegis("baseline", "push", cwd=main.workspace)
    assert pushed.code == 0, pushed
    repository.forge.user = {"id": 41}
    broken = repository.pull_request("idea", agent=WRONG)
    (code, log), (after, after_log) = gitlab(broken, **MERGE_REQUEST)
    assert (code, after) == (1, 0), log + after_log
    assert "RESULT: REGRESSED" in log
    (body,) = repository.forge.bodies()
    assert "refund" in body


def test_a_pull_request_before_main_has_results_is_not_green(repository: Repository) -> None:
    job = workflow(repository.pull_request("idea", agent=f"{AGENT}# the same\n"))
    assert job.failed, job
    assert job["Report"].outputs["verdict"] == "INCONCLUSIVE", job


@START
def test_where_nothing_runs_nothing_is_green(repository: Repository, start: Start) -> None:
    """The suite is wrong, so that there are no results; those of an earlier run are not taken for them."""
    runner = repository.push(suite=SUITE.replace("cases:", "cases: 3\nx:"))
    job = start(runner)
    assert job.failed, job
    assert "INCONCLUSIVE: no results" in job.summary, job
    assert job["Report"].code == 3
    assert "::error title=Aegis::INCONCLUSIVE: no results" in job["Report"].log
    assert job["Report"].outputs["verdict"] == "INCONCLUSIVE"
    assert job["Report"].outputs["complete"] == "false"
    if start is action:
        assert job["Verdict"].code == 2  # what the run exited with: the suite is wrong


def test_the_action_runs_no_input_as_a_script(repository: Repository, tmp_path: Path) -> None:
    hostile = f"$(touch {tmp_path}/owned)`touch {tmp_path}/owned`'\"; touch {tmp_path}/owned; #"
    names = ("suite", "fail_under", "trials", "faults", "stress", "isolation")
    job = action(repository.push(), **dict.fromkeys(names, hostile))
    assert job.failed, job
    assert not (tmp_path / "owned").exists()


FUNCTIONS: dict[str, Any] = {"success": lambda: False, "always": lambda: True, "format": str.format}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a' == 'A'", True),
        ("github.event_name != 'push' || inputs.x-y", "v"),
        ("github.none == ''", True),
        ("!github.none && ('it''s' == inputs.q)", True),
        ("format('{0}/x', inputs.x-y)", "v/x"),
        ("github.event_name == 'pull_request' && 'yes' || 'no'", "no"),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    contexts = {"github": {"event_name": "push"}, "inputs": {"x-y": "v", "q": "it's"}}
    assert evaluate(text, contexts, FUNCTIONS) == value
    assert (
        filled(f"<${{{{ {text} }}}}>", contexts, FUNCTIONS)
        == f"<{str(value).lower() if value is True else value}>"
    )


def test_conditions() -> None:
    assert not holds("true", {}, FUNCTIONS)  # after a failure
    assert holds("${{ always() && true }}", {}, FUNCTIONS)
    with pytest.raises((AssertionError, KeyError)):
        holds("always() && unknown.thing", {}, FUNCTIONS)
    with pytest.raises(AssertionError):
        holds("always() && (true", {}, FUNCTIONS)
