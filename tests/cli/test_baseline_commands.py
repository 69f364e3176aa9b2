"""`aegis baseline`, as a user types it, in real repositories with a bare remote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_project import Ran

from aegis.baseline.store import Store
from aegis.cli import main
from aegis.results import Ledger
from support.repositories import Repository, bare, trials


class Place(Repository):
    """A repository; calling it runs the command line there."""

    def __init__(
        self, path: Path, here: tuple[pytest.MonkeyPatch, pytest.CaptureFixture[str]], **more: Any
    ) -> None:
        super().__init__(path, **more)
        self._monkeypatch, self._capsys = here

    def __call__(self, *args: str) -> Ran:
        self._monkeypatch.chdir(self.path)
        self._capsys.readouterr()
        code = main(["baseline", *args])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json").stdout)


Here = tuple[pytest.MonkeyPatch, pytest.CaptureFixture[str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AEGIS_DEBUG", raising=False)
    return monkeypatch, capsys


@pytest.fixture
def repo(tmp_path: Path, here: Here) -> Place:
    made = Place(tmp_path / "repo", here)
    made.commit("Begin")
    made.git("remote", "add", "origin", str(bare(tmp_path / "remote.git")))
    made.git("push", "-q", "-u", "origin", "main")
    return made


@pytest.fixture
def other(tmp_path: Path, here: Here, repo: Place) -> Place:
    return Place(tmp_path / "other", here, clone_of=str(tmp_path / "remote.git"))


# -- push and pull


def test_from_one_machine_to_another(repo: Place, other: Place) -> None:
    repo.ran("run-1")
    ran = repo("push")
    assert ran.code == 0
    assert ran.stdout == "pushed run-1\norigin has 1 run\n"
    assert "pushing results to origin" in ran.stderr
    assert repo("push").stdout == "origin has 1 run; there was nothing new\n"
    assert other("pull").stdout == "1 new run; 1 run in all\n"
    other.git("switch", "-qc", "feature")
    other.commit()
    shown = other("show", "main")
    assert shown.code == 0
    assert f"main: run run-1 at {repo.head()[:12]}, 20/20 passed" in shown.stdout
    assert "from the git ref" in shown.stdout
    assert not (other.path / ".aegis").exists()


def test_the_newest_that_can_be_a_baseline_is_pushed(repo: Place) -> None:
    repo.ran("run-1")
    repo.ran("run-2")
    repo.ran("run-3", status="interrupted")
    repo.ran("run-4", dirty=True)
    ran = repo("push")
    assert "pushed run-2" in ran.stdout
    assert "run-1" not in ran.stdout
    assert "run run-3 is left out: it was interrupted" in ran.stderr
    assert "run run-4 is left out: it ran with uncommitted changes" in ran.stderr


def test_push_all_a_run_or_a_suite(repo: Place) -> None:
    repo.ran("run-1")
    repo.ran("run-2", suite="billing")
    repo.ran("run-3", replay_of="run-1")
    repo.ran("run-4", selected=True)
    assert repo("push", "--suite", "support").stdout.startswith("pushed run-1\n")
    assert repo("push", "--all").stdout == "pushed run-2\norigin has 2 runs\n"
    named = repo("push", "run-4")
    assert named.stdout.startswith("pushed run-4\n")
    assert (
        "note: it is a baseline only when it is named: only some of the suite's cases were run"
        in named.stderr
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("push",), "error: there are no runs to push\nfix: aegis eval run --suite NAME\n"),
        (("push", "run-1", "--all"), "error: RUN and --all exclude each other\nfix: leave one away\n"),
        (
            ("push", "run-1"),
            "error: there is no run 'run-1' in the ledger or the results\nfix: aegis baseline list\n",
        ),
        (
            ("export", "run-1"),
            "error: there is no run 'run-1' in the ledger or the results\nfix: aegis baseline list\n",
        ),
        (
            ("pin", "main"),
            "error: pin takes NAME and RUN, or --unpin and NAME\nfix: see aegis baseline pin --help\n",
        ),
        (
            ("pin", "--unpin", "main"),
            "error: there is no pin 'main'; there are: none\nfix: aegis baseline pull\n",
        ),
        (("prune",), "error: nothing says what shall go\nfix: --keep N, --before DATE, or both\n"),
        (
            ("prune", "--before", "soon"),
            "error: --before 'soon' is no date\nfix: e.g. --before 2026-01-31\n",
        ),
        (
            ("show",),
            "error: there are no runs here\nfix: aegis eval run --suite NAME, or aegis baseline pull\n",
        ),
    ],
)
def test_mistakes_are_one_message(repo: Place, args: tuple[str, ...], message: str) -> None:
    ran = repo(*args)
    assert (ran.code, ran.stdout, ran.stderr) == (2, "", message)


def test_a_run_that_can_be_no_baseline_is_not_pushed(repo: Place) -> None:
    repo.ran("run-1", isolation="process")
    ran = repo("push", "run-1")
    assert ran.code == 2
    assert "error: run run-1 cannot be a baseline: it ran without isolation" in ran.stderr
    assert repo("push").code == 2
    assert Store(repo.path).entries().runs == {}


def test_without_a_remote(repo: Place) -> None:
    repo.git("remote", "remove", "origin")
    repo.ran("run-1")
    ran = repo("push")
    assert (ran.code, ran.stdout) == (0, "1 run added to refs/aegis/results; there is no remote to push to\n")
    assert repo.json("list")["runs"][0]["where"] == ["ledger", "git"]
    failed = repo("pull")
    assert failed.code == 2
    assert "this repository has no remote to fetch from" in failed.stderr


def test_a_remote_that_is_not_there(repo: Place) -> None:
    repo.ran("run-1")
    ran = repo("push", "--remote", "nowhere")
    assert ran.code == 2
    assert "error: nowhere is no remote of this repository" in ran.stderr
    assert "fix: remotes here: origin; git remote add NAME URL adds one" in ran.stderr
    assert "pushed run-1" in repo("push").stdout


def test_outside_of_a_repository(tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    assert main(["baseline", "pull"]) == 2
    assert f"error: {tmp_path / 'plain'} is in no git repository" in here[1].readouterr().err
    assert main(["baseline", "list"]) == 0


def test_no_git(repo: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repo.ran("run-1")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    ran = repo("push")
    assert ran.code == 2
    assert ran.stderr == (
        "error: the program git cannot be run: No such file or directory\n"
        "fix: install git, or name a run or a file\n"
    )
    assert [row["run_id"] for row in repo.json("list")["runs"]] == ["run-1"]


# -- list and show


def test_list(repo: Place) -> None:
    repo.ran("run-1")
    repo("push")
    repo.commit()
    repo.git("switch", "-qc", "feature")
    repo.ran("run-2", {"refund": trials(1, 1)}, dirty=True)
    rows = repo.json("list")["runs"]
    assert [(row["run_id"], row["where"], row["refused"]) for row in rows] == [
        ("run-2", ["ledger"], "it ran with uncommitted changes"),
        ("run-1", ["ledger", "git", "remote"], None),
    ]
    assert (rows[0]["branch"], rows[0]["passed"], rows[0]["planned"]) == ("feature", 1, 2)
    table = repo("list").stdout
    assert table.startswith("RUN ")
    assert "1/2" in table
    assert "ledger+git+remote" in table
    assert [row["run_id"] for row in repo.json("list", "--branch", "main")["runs"]] == ["run-1"]
    assert repo.json("list", "--suite", "other")["runs"] == []
    assert "and 1 older run (--limit)" in repo("list", "--limit", "1").stdout


def test_list_of_nothing_makes_nothing(repo: Place) -> None:
    ran = repo("list")
    assert (ran.code, ran.stdout) == (0, "no results here; aegis baseline pull fetches those of others\n")
    assert not (repo.path / ".aegis").exists()


def test_show_tells_how_far_back_and_what_was_skipped(repo: Place) -> None:
    first = repo.head()
    repo.ran("run-1", {"refund": trials(10)})
    repo.ran("run-2", {"refund": trials(10)})
    base = repo.commit()
    repo.ran("run-3", replay_of="run-2")
    repo.git("switch", "-qc", "feature")
    repo.commit()
    text = repo("show").stdout
    assert f"main: run run-2 at {first[:12]}, 10/10 passed" in text
    assert f"this left main at {base[:12]}; the run is 1 commit further back" in text
    assert "with further trials of run-1" in text
    assert f"not run run-3 at {base[:12]}: it was answered from the recording of run run-2" in text
    shown = repo.json("show", "main", "--suite", "support")
    assert (shown["baseline"]["run_id"], shown["behind"], shown["merge_base"]) == ("run-2", 1, base)
    assert [run["run_id"] for run in shown["pooled"]] == ["run-1"]
    assert (shown["skipped"][0]["run_id"], shown["source"], shown["problem"]) == ("run-3", "ledger", None)


def test_show_without_a_baseline(repo: Place) -> None:
    repo.ran("run-1", dirty=True)
    ran = repo("show")
    assert ran.code == 3
    assert "main: no baseline: no result of the suite support can be compared with: it ran with" in ran.stdout
    assert repo.json("show")["baseline"] is None
    assert repo("show", "nix").code == 2


def test_show_needs_to_know_the_suite(repo: Place) -> None:
    repo.ran("run-1")
    repo.ran("run-2", suite="billing")
    assert (
        "error: there are runs of several suites: billing, support\nfix: --suite billing"
        in repo("show").stderr
    )
    assert "run run-1" in repo("show", "-s", "support").stdout


def test_nothing_from_others_can_control_the_terminal(repo: Place, other: Place) -> None:
    repo.ran("run-1", branch="\x1b[31mred", verdict="\x1b]0;x\x07", accel="\u202e")
    repo("push")
    other("pull")
    for args in (("list",), ("show", "run-1"), ("show", "main"), ("prune", "--keep", "0", "--dry-run")):
        ran = other(*args)
        assert "\x1b" not in ran.stdout + ran.stderr
        assert "\u202e" not in ran.stdout + ran.stderr


# -- pin, prune, export


def test_pin_and_unpin(repo: Place, other: Place) -> None:
    repo.ran("run-1")
    repo.commit()
    repo.ran("run-2")
    ran = repo("pin", "main", "run-1")
    assert (ran.code, ran.stdout) == (0, "main is pinned to run run-1; aegis baseline push shares it\n")
    repo("push")
    other("pull")
    assert other.json("show")["baseline"]["run_id"] == "run-1"
    assert other.json("show")["notes"][0] == "main is pinned to run run-1"
    assert "pinned as main" in other("list").stdout
    assert repo("pin", "--unpin", "main").stdout == "main is no longer pinned\n"
    repo("push")
    other("pull")
    assert other.json("list")["runs"][-1]["pins"] == []


def test_what_can_be_no_baseline_cannot_be_pinned(repo: Place) -> None:
    repo.ran("run-1", replay_of="run-0")
    ran = repo("pin", "main", "run-1")
    assert ran.code == 2
    assert "cannot be a baseline: it was answered from the recording of run run-0" in ran.stderr
    assert "cannot be the name of a pin" in repo("pin", ".git", "latest").stderr


def test_prune(repo: Place, other: Place) -> None:
    for number in range(1, 5):
        repo.ran(f"run-{number}")
    repo.git("switch", "-qc", "feature")
    repo.ran("run-5")
    repo("push", "--all")
    repo("pin", "released", "run-1")
    would = repo("prune", "--keep", "1", "--dry-run")
    assert would.stdout == (
        "would remove run-2: not among the newest 1 of its suite and branch\n"
        "would remove run-3: not among the newest 1 of its suite and branch\n"
        "2 runs would go\n"
    )
    assert len(Store(repo.path).entries().runs) == 5
    other("pull")
    assert repo("prune", "--keep", "1").stdout.endswith("2 runs gone\n")
    assert sorted(Store(repo.path).entries().runs) == ["run-1", "run-4", "run-5"]
    pulled = other("pull").stdout
    assert "run-2 was pruned by others\nrun-3 was pruned by others\n" in pulled
    assert "3 runs in all" in pulled
    with Ledger(repo.path / ".aegis") as ledger:
        assert len(ledger.runs()) == 5


def test_prune_by_date_and_without_a_remote(repo: Place) -> None:
    repo.git("remote", "remove", "origin")
    for number in (1, 2, 30, 60):
        repo.ran(f"run-{number}")
    repo("push", "--all")
    assert repo("prune", "--before", "2026-01-06").stdout == "removed run-1\nremoved run-2\n2 runs gone\n"
    assert repo("prune", "--before", "2027-01-01", "--keep", "1").stdout.startswith("removed run-30:")
    assert repo("prune", "--before", "2027-01-01T00:00:00+02:00").stdout == "removed run-60\n1 run gone\n"
    assert repo.git("rev-list", "--count", "refs/aegis/results") == "1"


def test_export_and_use(repo: Place, other: Place, tmp_path: Path) -> None:
    repo.ran("run-1")
    ran = repo("export", "run-1")
    assert ran.stdout.startswith("run-1.aegis: run run-1, ")
    assert "there already; nothing was written" in repo("export", "latest").stderr
    assert repo("export", "latest", "--force").code == 0
    other.ran("run-2")
    shown = other.json("show", str(repo.path / "run-1.aegis"))
    assert (shown["baseline"]["run_id"], shown["source"]) == ("run-1", "file")


def test_export_of_what_others_pushed(repo: Place, other: Place) -> None:
    repo.ran("run-1")
    repo("pin", "released", "run-1")
    repo("push")
    other("pull")
    assert other("export", "released", "x.aegis").code == 0
    repo("export", "run-1")
    assert (other.path / "x.aegis").read_bytes() == (repo.path / "run-1.aegis").read_bytes()


def test_export_to_standard_output(repo: Place) -> None:
    repo.ran("run-1")
    command = [sys.executable, "-m", "aegis", "baseline", "export", "run-1", "-"]
    done = subprocess.run(command, cwd=repo.path, capture_output=True, check=True, timeout=120)
    repo("export", "run-1", "x.aegis")
    assert done.stdout == (repo.path / "x.aegis").read_bytes()


def test_a_newer_format_is_one_message(repo: Place) -> None:
    repo.ran("run-1")
    repo("push")
    store = Store(repo.path)
    top = [("format", "blob", store.git.put(b"9\n"))]
    repo.git("update-ref", "refs/aegis/results", store.git.commit(store.git.tree(top), (), "Newer"))
    for args in (("list",), ("show",), ("push",), ("pin", "a", "run-1"), ("prune", "--keep", "1")):
        ran = repo(*args)
        assert (ran.code, ran.stderr) == (
            2,
            "error: the results in refs/aegis/results were written by a newer Aegis (format 9, this one reads 1)\n"
            "fix: pip install --upgrade aegis-evals\n",
        ), args
