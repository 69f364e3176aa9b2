"""`aegis ci report` and `aegis ci init`, and whether the published schemas take the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_project import ECHO, Folder
from ruamel.yaml import YAML

from aegis.ci import pipeline
from aegis.report import markdown

ROOT = Path(__file__).resolve().parents[2]
RUN = "eval run --suite"


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)


def parse_outputs(text: str) -> dict[str, str]:
    """As the runner reads $GITHUB_OUTPUT."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, mark, delimiter = line.partition("<<")
        assert mark, line
        value = []
        for inner in lines:
            if inner == delimiter:
                break
            value.append(inner)
        else:
            raise AssertionError(f"{name} has no end")
        found[name] = "\n".join(value)
    return found


@pytest.fixture
def document(project: Folder) -> dict[str, Any]:
    return project.json()


def write(project: Folder, document: Any) -> None:
    (project.path / "out.json").write_text(json.dumps(document))


def test_everything_that_can_be_asked_for(project: Folder, document: dict[str, Any]) -> None:
    summary = project.path / "summary.md"
    summary.write_text("of an earlier step\n")
    ran = project(
        *("ci", "report", "out.json", "--annotations", "--summary", "summary.md", "--comment", "comment.md"),
        *("--codequality", "quality.json", "--output", "output.txt"),
    )
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("::error ")
    assert "other" in ran.stdout
    text = summary.read_text()
    assert text.startswith("of an earlier step\n")
    assert "BELOW_THRESHOLD" in text
    comment = (project.path / "comment.md").read_text()
    assert comment.startswith(markdown.marker("echo") + "\n")
    (issue,) = json.loads((project.path / "quality.json").read_text())
    assert issue["location"]["lines"]["begin"] >= 1
    assert parse_outputs((project.path / "output.txt").read_text()) == {
        "verdict": "BELOW_THRESHOLD",
        "exit-code": "1",
        "complete": "true",
        "pass-rate": "50.0",
        "regressions": "0",
        "regressed-cases": "[]",
        "report": str(project.path / "out.json"),
    }


def test_the_summary_goes_where_github_says(
    project: Folder, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "step.md"))
    ran = project("ci", "report", "out.json")
    assert ran.stdout == ""
    assert "BELOW_THRESHOLD" in (project.path / "step.md").read_text()


def test_without_options_it_is_printed(project: Folder, document: dict[str, Any]) -> None:
    assert "BELOW_THRESHOLD" in project("ci", "report", "out.json").stdout


@pytest.mark.parametrize("beginning", [False, True])
def test_a_run_of_the_ledger(project: Folder, document: dict[str, Any], beginning: bool) -> None:
    named = document["run_id"][:12] if beginning else "latest"
    ran = project("ci", "report", named, "--output", "output.txt")
    assert ran.code == 0
    found = parse_outputs((project.path / "output.txt").read_text())
    assert (found["verdict"], found["report"]) == ("BELOW_THRESHOLD", "")


HOSTILE = "x\nverdict=PASS\nverdict<<EOF\nPASS\nEOF\nend-0\u2028::error::"


def test_no_case_name_breaks_out_of_the_outputs(project: Folder, document: dict[str, Any]) -> None:
    tally = {"passed": 0, "judged": 1, "lost": 0}
    regressed = {
        "case": HOSTILE,
        "variant": "deep-conversation",
        "status": "regressed",
        "before": tally,
        "now": tally,
        "confirmation": None,
        "screen_p": 0.0,
        "p": 0.0,
        "adjusted_p": 0.0,
        "flaky": False,
        "new_failure": False,
        "gap": None,
        "text": HOSTILE,
    }
    write(project, document | {"regressions": [regressed], "verdict": "REGRESSED", "result": HOSTILE})
    assert project("ci", "report", "out.json", "--output", "output.txt").code == 0
    found = parse_outputs((project.path / "output.txt").read_text())
    assert found["verdict"] == "REGRESSED"
    assert found["regressions"] == "1"
    assert json.loads(found["regressed-cases"]) == [f"{HOSTILE} (deep-conversation)"]
    assert len(found) == 7


def test_the_delimiter_is_another_one_each_time() -> None:
    from aegis.ci.outputs import assignments

    texts = {assignments({"a": "b\nend-"}) for _ in range(50)}
    assert len(texts) == 50
    assert {parse_outputs(text)["a"] for text in texts} == {"b\nend-"}


def test_a_workflow_command_is_one_line() -> None:
    from aegis.ci.outputs import command

    assert command("error", "a%\r\n::b", title="t:,") == "::error title=t%3A%2C::a%25%0D%0A::b"


def broken(project: Folder, document: dict[str, Any], how: str) -> None:
    path = project.path / "out.json"
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_text("")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:900])
    elif how == "list":
        path.write_text("[]")
    elif how == "newer":
        write(project, document | {"schema": "aegis.run/9"})
    elif how == "green-by-hand":
        write(project, document | {"verdict": "PASS", "exit_code": 0, "pass_rate": None})
    elif how == "broken-trial":
        write(project, document | {"trials": [{"case": "same"}, 3]})
    else:
        raise AssertionError(how)


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "list", "newer", "green-by-hand", "broken-trial"])
def test_without_results_nothing_goes_green(project: Folder, document: dict[str, Any], how: str) -> None:
    broken(project, document, how)
    ran = project(
        *("ci", "report", "out.json", "--annotations", "--summary", "s.md", "--comment", "c.md"),
        *("--codequality", "q.json", "--output", "o.txt", "--exit-code", "2"),
    )
    assert ran.code == 3
    assert ran.stderr.startswith("error: no results: ")
    assert "Traceback" not in ran.stderr
    assert ran.stdout.startswith("::error title=Aegis::INCONCLUSIVE: no results: ")
    assert ran.stdout.count("\n") == 1
    summary, comment = (project.path / "s.md").read_text(), (project.path / "c.md").read_text()
    assert "INCONCLUSIVE: no results" in summary
    # The comment of an earlier, green run must not stay.
    assert comment.startswith(markdown.marker("echo") + "\n")
    assert "INCONCLUSIVE: no results" in comment
    assert json.loads((project.path / "q.json").read_text()) == []
    found = parse_outputs((project.path / "o.txt").read_text())
    assert (found["verdict"], found["exit-code"], found["complete"]) == ("INCONCLUSIVE", "2", "false")


def test_a_run_that_exits_0_without_results_is_no_success(project: Folder) -> None:
    assert project("ci", "report", "nothing.json", "--exit-code", "0", "--output", "o.txt").code == 3
    assert parse_outputs((project.path / "o.txt").read_text())["exit-code"] == "3"


def test_no_ledger_and_no_such_run(project: Folder) -> None:
    assert project("ci", "report", "latest").code == 3
    project.run()
    ran = project("ci", "report", "no-such-run")
    assert ran.code == 3
    assert "no-such-run" in ran.stderr


def test_no_comment_where_nobody_knows_the_suite(project: Folder) -> None:
    project.suite("second", ECHO.replace("suite: echo", "suite: second"))
    ran = project("ci", "report", "out.json", "--comment", "c.md")
    assert ran.code == 3
    assert "--suite NAME" in ran.stderr
    assert not (project.path / "c.md").exists()
    project("ci", "report", "out.json", "--comment", "c.md", "--suite", "second")
    assert (project.path / "c.md").read_text().startswith(markdown.marker("second"))


def test_an_interrupted_run_keeps_its_exit_code(project: Folder, document: dict[str, Any]) -> None:
    project("ci", "report", "out.json", "--exit-code", "130", "--output", "o.txt")
    assert parse_outputs((project.path / "o.txt").read_text())["exit-code"] == "130"


@pytest.mark.parametrize("how", ["few", "errors", "selected"])
def test_what_is_not_complete(project: Folder, document: dict[str, Any], how: str) -> None:
    counts = document["counts"]
    changes = {
        "few": {"counts": counts | {"planned": 3, "cancelled": 1}},
        "errors": {"counts": counts | {"passed": 0, "error": 1}},
        "selected": {"selected": True},
    }
    write(project, document | changes[how])
    project("ci", "report", "out.json", "--output", "o.txt")
    assert parse_outputs((project.path / "o.txt").read_text())["complete"] == "false"


def test_a_place_that_cannot_be_written(project: Folder, document: dict[str, Any]) -> None:
    ran = project("ci", "report", "out.json", "--summary", "no/such/folder.md")
    assert ran.code == 2
    assert ran.stderr.startswith("error: cannot write no/such/folder.md: ")


def test_a_summary_leaves_room_for_what_is_there(project: Folder, document: dict[str, Any]) -> None:
    from aegis.ci.outputs import SUMMARY_MAX_BYTES

    for left in (20_000, 700):
        (project.path / "s.md").write_text("x" * (SUMMARY_MAX_BYTES - left))
        ran = project("ci", "report", "out.json", "--summary", "s.md")
        assert ran.code == 0
        assert ("s.md is full" in ran.stderr) == (left == 700)
        assert (project.path / "s.md").stat().st_size <= SUMMARY_MAX_BYTES


# --- aegis ci init


def git(folder: Path, *args: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(project: Folder) -> Folder:
    git(project.path, "init", "-q", "-b", "main")
    return project


def check(schema: str, *files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def test_the_github_workflow(repository: Folder) -> None:
    ran = repository("ci", "init", "github", "--suite", "echo", "--fail-under", "95")
    assert ran.code == 0
    assert ran.stdout.startswith("wrote .github/workflows/aegis.yml\n")
    path = repository.path / ".github/workflows/aegis.yml"
    check("github-workflows", path)
    text, workflow = path.read_text(), load(path)
    assert "@@" not in text
    assert "aegis eval run --suite echo --fail-under 95 --baseline origin/main" in text
    assert workflow["on"] == {"pull_request": None, "push": {"branches": ["main"]}}
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["evaluate"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert workflow["jobs"]["results"]["permissions"] == {"contents": "write"}
    assert "github.event_name == 'push'" in workflow["jobs"]["results"]["if"]
    steps = workflow["jobs"]["evaluate"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert {step["uses"].partition("@")[0] for step in steps if "uses" in step} == {
        "actions/checkout",
        "actions/setup-python",
        "actions/cache",
        "actions/upload-artifact",
    }
    # No run of the agent sees a token.
    assert [step["name"] for step in steps if "token" in json.dumps(step.get("env", {}))] == ["Comment"]


def test_no_script_has_an_expression_in_it(repository: Folder) -> None:
    """What an event holds (a branch's name) would become a part of the script."""
    repository("ci", "init", "github")
    workflow = load(repository.path / ".github/workflows/aegis.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    steps += load(ROOT / "action.yml")["runs"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert len(scripts) > 12
    assert [script for script in scripts if "${{" in script] == []


def test_every_script_is_a_script(repository: Folder) -> None:
    repository("ci", "init", "github")
    workflow = load(repository.path / ".github/workflows/aegis.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for step in [*steps, *load(ROOT / "action.yml")["runs"]["steps"]]:
        if "run" in step:
            done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
            assert (done.returncode, done.stderr) == (0, ""), step


def test_the_gitlab_pipeline(repository: Folder) -> None:
    ran = repository("ci", "init", "gitlab")
    assert ran.stdout.startswith("wrote .gitlab-ci.yml\n")
    check("gitlab-ci", repository.path / ".gitlab-ci.yml")
    text = (repository.path / ".gitlab-ci.yml").read_text()
    assert "@@" not in text
    assert "aegis eval run --suite echo --fail-under 95 --baseline origin/main" in text


def test_every_script_of_the_gitlab_pipeline_is_a_script(repository: Folder) -> None:
    repository("ci", "init", "gitlab")
    jobs = load(repository.path / ".gitlab-ci.yml")
    for job, part in (
        (".aegis", "before_script"),
        ("aegis", "script"),
        ("aegis", "after_script"),
        ("aegis-results", "script"),
    ):
        assert all(isinstance(line, str) for line in jobs[job][part])
        done = subprocess.run(
            ["bash", "-n"], input="\n".join(jobs[job][part]), text=True, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, ""), part


def test_beside_a_gitlab_pipeline(repository: Folder) -> None:
    (repository.path / ".gitlab-ci.yml").write_text("build: {script: [make]}\n")
    ran = repository("ci", "init", "gitlab")
    assert "wrote .gitlab/aegis.yml" in ran.stdout
    assert "- local: .gitlab/aegis.yml" in ran.stdout
    check("gitlab-ci", repository.path / ".gitlab/aegis.yml")
    assert (repository.path / ".gitlab-ci.yml").read_text() == "build: {script: [make]}\n"


def test_the_action() -> None:
    check("github-actions", ROOT / "action.yml")
    action = load(ROOT / "action.yml")
    assert set(action["outputs"]) >= {"verdict", "exit-code", "pass-rate", "report", "regressions"}
    used = (ROOT / "action.yml").read_text()
    assert [name for name in action["inputs"] if f"inputs.{name}" not in used] == []


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_nothing_is_overwritten(repository: Folder, provider: str) -> None:
    repository("ci", "init", provider)
    name = ".github/workflows/aegis.yml" if provider == "github" else ".gitlab-ci.yml"
    path = repository.path / name
    path.write_text(path.read_text() + "# mine\n")
    again = repository("ci", "init", provider)
    assert again.code == 2
    assert "--force" in again.stderr
    assert path.read_text().endswith("# mine\n")
    assert repository("ci", "init", provider, "--force").code == 0
    assert not path.read_text().endswith("# mine\n")


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_a_dry_run_prints_and_writes_nothing(repository: Folder, provider: str) -> None:
    before = sorted(repository.path.rglob("*"))
    ran = repository("ci", "init", provider, "--dry-run")
    assert "aegis eval run --suite echo" in ran.stdout
    assert sorted(repository.path.rglob("*")) == before


def test_a_project_in_a_folder_of_the_repository(repository: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = repository.path / "agents/desk"
    (nested / "evals").mkdir(parents=True)
    (nested / "aegis.toml").touch()
    (nested / "evals/desk.yaml").write_text(ECHO.replace("suite: echo", "suite: desk"))
    monkeypatch.chdir(nested)
    assert repository("ci", "init", "github").code == 0
    path = repository.path / ".github/workflows/aegis.yml"
    check("github-workflows", path)
    workflow = load(path)
    assert workflow["defaults"]["run"]["working-directory"] == "agents/desk"
    assert "agents/desk/.aegis/ledger.db" in path.read_text()
    assert repository("ci", "init", "gitlab").code == 0
    check("gitlab-ci", repository.path / ".gitlab-ci.yml")
    assert 'cd "$CI_PROJECT_DIR/agents/desk/"' in (repository.path / ".gitlab-ci.yml").read_text()


def test_the_default_branch_is_origins(repository: Folder, tmp_path: Path) -> None:
    git(repository.path, "commit", "-q", "--allow-empty", "-m", "one")
    git(repository.path, "branch", "-m", "trunk")
    git(repository.path, "clone", "-q", "--bare", ".", str(tmp_path / "origin.git"))
    git(repository.path, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(repository.path, "fetch", "-q")
    git(repository.path, "remote", "set-head", "origin", "--auto")
    git(repository.path, "checkout", "-q", "-b", "main")
    assert "--baseline origin/trunk" in repository("ci", "init", "github", "--dry-run").stdout
    given = repository("ci", "init", "github", "--dry-run", "--branch", "stable").stdout
    assert "--baseline origin/stable" in given


def test_before_the_first_commit_the_branch_is_the_current_one(project: Folder) -> None:
    git(project.path, "init", "-q", "-b", "develop")
    assert "--baseline origin/develop" in project("ci", "init", "github", "--dry-run").stdout


def test_what_cannot_be_written_into_a_pipeline(repository: Folder) -> None:
    for args in (
        ("--branch", "a${{ github.token }}"),
        ("--branch", 'x"; rm -rf /'),
        ("--package", "${{ secrets.X }}"),
        ("--package", "a\nb"),
    ):
        ran = repository("ci", "init", "github", "--dry-run", *args)
        assert ran.code == 2, args
        assert ran.stdout == ""


def test_another_package_is_one_word_of_the_script(repository: Folder) -> None:
    package = "aegis-evals @ git+https://git.example/aegis@v1"
    ran = repository("ci", "init", "github", "--dry-run", "--package", package)
    assert f"pip install --quiet '{package}'\n" in ran.stdout


def test_which_suite(repository: Folder, folder: Folder) -> None:
    repository.suite("second", ECHO.replace("suite: echo", "suite: second"))
    ran = repository("ci", "init", "github")
    assert ran.code == 2
    assert "there are 2 suites: echo, second" in ran.stderr
    missing = repository("ci", "init", "github", "--suite", "nope")
    assert missing.code == 2
    assert "no suite 'nope'" in missing.stderr


def test_outside_of_a_repository(project: Folder) -> None:
    ran = project("ci", "init", "github")
    assert ran.code == 2
    assert "is in no git repository" in ran.stderr


def test_the_commit_that_was_installed_from_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def __init__(self, told: Any) -> None:
            self.told = told

        def read_text(self, name: str) -> str | None:
            return json.dumps(self.told) if name == "direct_url.json" and self.told else None

    def installed(told: Any) -> str:
        monkeypatch.setattr("aegis.ci.pipeline.metadata.distribution", lambda name: Distribution(told))
        return pipeline.installed()

    vcs = {"vcs": "git", "commit_id": "c0ffee"}
    assert installed({"url": "https://git.example/a.git", "vcs_info": vcs}) == (
        "aegis-evals @ git+https://git.example/a.git@c0ffee"
    )
    assert installed({"url": "https://me:pw@git.example/a.git", "vcs_info": vcs}).startswith("aegis-evals==")
    assert installed({"url": "file:///src", "dir_info": {}}).startswith("aegis-evals==")
    assert installed(None).startswith("aegis-evals==")
