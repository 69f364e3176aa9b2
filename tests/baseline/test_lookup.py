"""From a name to the runs that are the baseline, in real repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.baseline.candidates import gather
from aegis.baseline.found import Found, NoBaseline, Wanted
from aegis.baseline.lookup import find
from aegis.baseline.publish import added
from aegis.baseline.store import REF, Store
from aegis.errors import UsageError
from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Snapshot
from aegis.regression.trials import CaseKey
from aegis.results import Ledger
from support.repositories import ENVIRONMENT, Repository, bare, trials

WANTED = Wanted("support", ENVIRONMENT)


def look(repo: Repository, asked: str = "main", wanted: Wanted = WANTED) -> Found:
    with Ledger(repo.path / ".aegis") as ledger:
        return find(asked, wanted, root=repo.path, ledger=ledger)


def nothing(repo: Repository, asked: str = "main", wanted: Wanted = WANTED) -> NoBaseline:
    with pytest.raises(NoBaseline) as caught:
        look(repo, asked, wanted)
    return caught.value


def ids(found: Found) -> list[str]:
    return [each.facts.run_id for each in found.snapshots]


def keep_in_git(repo: Repository) -> None:
    """All that the ledger has, in the git ref; the ledger goes."""
    with Ledger(repo.path / ".aegis") as ledger:
        runs = gather(ledger, None)
        Store(repo.path).add(added(runs, runs.runs, ()))
    (repo.path / ".aegis").rename(repo.path.parent / "ledger-that-was")


# -- branches


def test_the_run_of_the_merge_base(repo: Repository) -> None:
    base = repo.head()
    repo.ran("run-1")
    repo.git("switch", "-qc", "feature")
    repo.commit()
    found = look(repo)
    assert ids(found) == ["run-1"]
    assert (found.merge_base, found.behind, found.source, found.skipped) == (base, 0, "ledger", ())
    assert found.snapshots[0].trials[CaseKey("refund")].passed == 20


def test_the_nearest_one_before_it_when_it_has_none(repo: Repository) -> None:
    repo.ran("run-1")
    for _ in range(3):
        base = repo.commit()
    repo.git("switch", "-qc", "feature")
    repo.commit()
    found = look(repo)
    assert (ids(found), found.merge_base, found.behind) == (["run-1"], base, 3)


def test_results_of_later_commits_of_main_are_not_taken(repo: Repository) -> None:
    repo.ran("run-1")
    repo.git("switch", "-qc", "feature")
    repo.git("switch", "-q", "main")
    repo.commit()
    repo.ran("run-2")
    repo.git("switch", "-q", "feature")
    assert ids(look(repo)) == ["run-1"]


def test_only_later_results_say_what_to_do(repo: Repository) -> None:
    repo.git("switch", "-qc", "feature")
    repo.git("switch", "-q", "main")
    repo.commit()
    repo.ran("run-2")
    repo.git("switch", "-q", "feature")
    ending = nothing(repo)
    assert "run run-2 of main" in ending.why
    assert "is of a later commit: rebase onto main" in ending.why
    assert "--baseline run-2" in (ending.fix or "")


def test_side_branches_of_main_are_not_looked_at(repo: Repository) -> None:
    repo.ran("run-1")
    repo.git("switch", "-qc", "side")
    repo.commit()
    repo.ran("run-2")
    repo.git("switch", "-q", "main")
    repo.git("merge", "-q", "--no-ff", "-m", "Merge", "side")
    found = look(repo)
    assert (ids(found), found.behind) == (["run-1"], 1)


def test_on_main_itself_from_head(repo: Repository) -> None:
    repo.ran("run-1")
    repo.commit()
    found = look(repo)
    assert (ids(found), found.behind, found.merge_base) == (["run-1"], 1, repo.head())


def test_the_run_itself_is_not_its_baseline(repo: Repository) -> None:
    repo.ran("run-1")
    repo.ran("run-2")
    found = look(repo, wanted=Wanted("support", ENVIRONMENT, "run-2"))
    assert (ids(found), found.skipped) == (["run-1"], ())
    assert (
        "it is the run that is to be compared"
        in nothing(repo, "run-2", Wanted("support", ENVIRONMENT, "run-2")).why
    )


def test_a_detached_head(repo: Repository) -> None:
    repo.ran("run-1")
    repo.commit()
    repo.git("checkout", "-q", "--detach")
    found = look(repo)
    assert (ids(found), found.behind) == (["run-1"], 1)


def test_a_linked_work_tree(repo: Repository, tmp_path: Path) -> None:
    repo.ran("run-1")
    keep_in_git(repo)
    repo.git("worktree", "add", "-q", "-b", "feature", str(tmp_path / "linked"))
    found = find("main", WANTED, root=tmp_path / "linked", ledger=None)
    assert (ids(found), found.source) == (["run-1"], "git")


def test_the_remotes_branch_when_ours_is_behind_it(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.commit()
    repo.ran("run-2")
    repo.git("push", "-q", "origin", "main")
    repo.git("switch", "-qc", "feature")
    repo.commit()
    repo.git("branch", "-q", "-f", "main", "HEAD~2")
    found = look(repo)
    assert ids(found) == ["run-2"]
    assert found.notes == ("origin/main was used: it is ahead of the local main",)


def test_our_branch_when_it_is_ahead_of_the_remotes(repo: Repository, remote: Path) -> None:
    repo.commit()
    repo.ran("run-2")
    repo.git("switch", "-qc", "feature")
    assert ids(look(repo)) == ["run-2"]


@pytest.mark.parametrize("name", ["main", "origin/main", "refs/remotes/origin/main"])
def test_a_branch_that_only_the_remote_has(repo: Repository, remote: Path, name: str) -> None:
    repo.ran("run-1")
    repo.git("switch", "-qc", "feature")
    repo.git("branch", "-q", "-D", "main")
    assert ids(look(repo, name)) == ["run-1"]


# -- tags and commits


def test_a_tag_a_commit_and_its_beginning(repo: Repository) -> None:
    first = repo.head()
    repo.ran("run-1")
    repo.git("tag", "-a", "-m", "One", "v1")
    repo.commit()
    repo.git("tag", "v2")
    for name in ("v1", first, first[:8], "HEAD~1"):
        found = look(repo, name)
        assert (ids(found), found.behind, found.merge_base) == (["run-1"], 0, None)
    assert look(repo, "v2").behind == 1


def test_a_commit_that_is_not_in_the_clone(repo: Repository) -> None:
    repo.ran("run-1", commit="d" * 40)
    found = look(repo, "d" * 40)
    assert ids(found) == ["run-1"]
    assert "is not in this clone" in found.notes[0]


# -- what is refused


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"replay_of": "run-0"}, "it was answered from the recording of run run-0"),
        ({"status": "interrupted"}, "it was interrupted"),
        ({"isolation": "process"}, "it ran without isolation"),
        ({"environment": "f" * 64}, "it ran in another environment"),
        ({"dirty": True}, "it ran with uncommitted changes"),
        ({"selected": True}, "only some of the suite's cases were run"),
    ],
)
def test_a_nearer_run_is_skipped_with_its_reason(
    repo: Repository, changes: dict[str, object], why: str
) -> None:
    repo.ran("run-1")
    head = repo.commit()
    repo.ran("run-2", **changes)  # type: ignore[arg-type]
    found = look(repo)
    assert (ids(found), found.behind) == (["run-1"], 1)
    (skipped,) = found.skipped
    assert (skipped.run_id, skipped.commit) == ("run-2", head)
    assert why in skipped.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"replay_of": "run-0"}, "it was answered from the recording"),
        ({"status": "interrupted"}, "it was interrupted"),
        ({"isolation": "process"}, "it ran without isolation"),
        ({"environment": "f" * 64}, "it ran in another environment"),
        ({"suite": "billing"}, "it is of the suite billing, not support"),
    ],
)
def test_a_run_that_is_named_is_refused_with_its_reason(
    repo: Repository, changes: dict[str, object], why: str
) -> None:
    repo.ran("run-1", **changes)  # type: ignore[arg-type]
    ending = nothing(repo, "run-1")
    assert why in ending.why
    assert ending.skipped[0].run_id == "run-1"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"dirty": True}, "it ran with uncommitted changes"),
        ({"selected": True}, "only some of the suite's cases were run"),
        ({"commit": None}, "it was made outside of a commit"),
    ],
)
def test_what_is_only_taken_when_it_is_named(repo: Repository, changes: dict[str, object], note: str) -> None:
    repo.ran("run-1", **changes)  # type: ignore[arg-type]
    assert look(repo, "run-1").notes == (f"run run-1: {note}",)
    assert note in nothing(repo).why


def test_other_suites_are_not_mentioned(repo: Repository) -> None:
    repo.ran("run-1")
    repo.commit()
    repo.ran("run-2", suite="billing")
    found = look(repo)
    assert (ids(found), found.skipped) == (["run-1"], ())


def test_a_run_that_is_going_on_is_not_taken(repo: Repository) -> None:
    from aegis.results.records import RunRecord

    with Ledger(repo.path / ".aegis") as ledger:
        ledger.create_run(
            RunRecord("run-1", "support", "running", "2026-01-05T12:00:00Z", {}), [("a", "baseline", 1)]
        )
        with pytest.raises(NoBaseline, match="it is not finished"):
            find("run-1", WANTED, root=repo.path, ledger=ledger)


def test_a_damaged_snapshot_is_skipped(repo: Repository) -> None:
    repo.ran("run-1")
    repo.commit()
    repo.ran("run-2", {"refund": trials(7)})
    with Ledger(repo.path / ".aegis") as ledger:
        digest = (ledger.run("run-2").document or {})["snapshot"]
    (repo.path / ".aegis" / "blobs" / digest[:2] / f"{digest[2:]}.zst").write_bytes(b"broken")
    found = look(repo)
    assert ids(found) == ["run-1"]
    assert "is corrupt" in found.skipped[0].why


def test_the_git_ref_stands_in_for_a_damaged_ledger(repo: Repository) -> None:
    repo.ran("run-1")
    with Ledger(repo.path / ".aegis") as ledger:
        runs = gather(ledger, None)
        Store(repo.path).add(added(runs, runs.runs, ()))
        digest = (ledger.run("run-1").document or {})["snapshot"]
    (repo.path / ".aegis" / "blobs" / digest[:2] / f"{digest[2:]}.zst").write_bytes(b"broken")
    found = look(repo)
    assert (ids(found), found.source, found.skipped) == (["run-1"], "git", ())


# -- more trials


def test_older_runs_are_added_until_there_are_enough(repo: Repository) -> None:
    for number in range(1, 6):
        repo.ran(f"run-{number}", {"refund": trials(8)})
        repo.commit()
    assert ids(look(repo)) == ["run-5", "run-4", "run-3"]


def test_runs_of_the_same_commit_are_added_first(repo: Repository) -> None:
    repo.ran("run-1", {"refund": trials(8)})
    repo.commit()
    repo.ran("run-2", {"refund": trials(8)})
    repo.ran("run-3", {"refund": trials(8)})
    assert ids(look(repo)) == ["run-3", "run-2", "run-1"]
    assert ids(look(repo, "run-3")) == ["run-3", "run-2", "run-1"]


def test_refused_runs_are_not_added(repo: Repository) -> None:
    repo.ran("run-1", {"refund": trials(8)}, environment="f" * 64)
    repo.commit()
    repo.ran("run-2", {"refund": trials(8)}, dirty=True)
    repo.commit()
    repo.ran("run-3", {"refund": trials(8)})
    assert ids(look(repo)) == ["run-3"]


def test_a_case_of_other_content_needs_no_older_runs(repo: Repository) -> None:
    repo.ran("run-1", {"refund": trials(20, content="c0")})
    repo.commit()
    repo.ran("run-2", {"refund": trials(3)})
    assert ids(look(repo)) == ["run-2"]


def test_at_most_twenty_runs(repo: Repository) -> None:
    for number in range(1, 26):
        repo.ran(f"run-{number:02}", {"refund": trials(0)})
    assert len(look(repo).snapshots) == 20


def test_a_run_with_changes_gets_no_trials_of_others(repo: Repository) -> None:
    repo.ran("run-1", {"refund": trials(8)})
    repo.ran("run-2", {"refund": trials(8)}, dirty=True)
    assert ids(look(repo, "run-2")) == ["run-2"]


# -- the names of runs, pins and files


def test_a_run_by_the_beginning_of_its_id(repo: Repository) -> None:
    repo.ran("20260105-1a")
    repo.ran("20260106-1b")
    assert ids(look(repo, "20260105")) == ["20260105-1a"]
    with pytest.raises(UsageError, match="beginning of several runs: 20260106-1b, 20260105-1a"):
        look(repo, "2026")


def test_latest(repo: Repository) -> None:
    repo.ran("run-1")
    repo.ran("run-2", suite="billing")
    assert ids(look(repo, "latest")) == ["run-1"]
    assert "no earlier run of the suite other" in nothing(repo, "latest", Wanted("other", ENVIRONMENT)).why


def test_a_pin_goes_before_a_branch(repo: Repository) -> None:
    repo.ran("run-1")
    repo.commit()
    repo.ran("run-2")
    keep_in_git(repo)
    store = Store(repo.path)
    store.pin("main", "run-1")
    found = look(repo)
    assert (ids(found), found.behind) == (["run-1"], None)
    assert found.notes == ("main is pinned to run run-1",)
    store.pin("main", None)
    assert ids(look(repo)) == ["run-2"]


def test_a_pin_on_a_run_that_is_gone(repo: Repository) -> None:
    repo.ran("run-1")
    Store(repo.path).pin("main", "run-9")
    with pytest.raises(UsageError, match="main is pinned to run run-9, which is not among the results here"):
        look(repo)


def test_an_exported_file(repo: Repository, tmp_path: Path) -> None:
    snapshot = Snapshot(repo.facts("run-1"), {CaseKey("refund"): trials(3)})
    path = tmp_path / "main.aegis"
    path.write_bytes(snapshots.to_bytes(snapshot))
    found = look(repo, str(path))
    assert (ids(found), found.source, found.behind) == (["run-1"], "file", None)
    assert "of the suite support, not billing" in nothing(repo, str(path), Wanted("billing", ENVIRONMENT)).why


def test_a_file_that_is_none_of_ours(repo: Repository, tmp_path: Path) -> None:
    path = tmp_path / "x.aegis"
    with pytest.raises(UsageError, match=r"cannot read .*x\.aegis: No such file"):
        look(repo, str(path))
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(UsageError, match=r"x\.aegis"):
        look(repo, str(path))


def test_a_file_called_like_a_branch_is_not_in_its_way(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.ran("run-1")
    (repo.path / "main").write_text("a program")
    monkeypatch.chdir(repo.path)
    assert ids(look(repo)) == ["run-1"]


@pytest.mark.parametrize("name", ["nix", "-x", "", "a\x00b", "a\nb", "main..HEAD", "@{u}", "--all"])
def test_unknown_names(repo: Repository, name: str) -> None:
    repo.ran("run-1")
    with pytest.raises(UsageError, match="is no branch, tag, commit, pin, run or file here"):
        look(repo, name)


# -- bad situations


def test_no_results_at_all(repo: Repository) -> None:
    ending = nothing(repo)
    assert ending.why == "there are no results of the suite support"
    assert ending.fix == ("make one: git switch main; aegis eval run --suite support; aegis baseline push")


def test_results_that_were_not_pulled_yet(repo: Repository, remote: Path) -> None:
    assert (nothing(repo).fix or "").startswith("aegis baseline pull")


def test_results_of_another_environment_only(repo: Repository) -> None:
    repo.ran("run-1", environment="f" * 64)
    ending = nothing(repo)
    assert "it ran in another environment than this run's (driver qemu with kvm" in ending.why
    assert [each.run_id for each in ending.skipped] == ["run-1"]


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'main' is no run and no file.*is in no git repository"):
        find("main", WANTED, root=tmp_path, ledger=None)


def test_a_run_is_found_without_a_repository(repo: Repository, tmp_path: Path) -> None:
    repo.ran("run-1")
    with Ledger(repo.path / ".aegis") as ledger:
        assert ids(find("run-1", WANTED, root=tmp_path, ledger=ledger)) == ["run-1"]


def test_no_git(repo: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repo.ran("run-1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="the program git cannot be run"):
        look(repo)
    assert ids(look(repo, "run-1")) == ["run-1"]


def test_a_shallow_clone(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.ran("run-1")
    keep_in_git(repo)
    repo.git("push", "-q", "origin", REF)
    repo.commit()
    repo.git("push", "-q", "origin", "main")
    shallow = Repository(tmp_path / "shallow", clone_of=f"file://{remote}", options=("--depth", "1"))
    shallow.git("fetch", "-q", "origin", f"{REF}:{REF}")
    ending = nothing(shallow)
    assert "this clone's history ends there (a shallow clone)" in ending.why
    assert "git fetch --unshallow" in (ending.fix or "")
    assert "fetch-depth: 0" in (ending.fix or "")
    shallow.git("fetch", "-q", "--unshallow")
    assert look(shallow).behind == 1


def test_a_shallow_clone_that_has_the_result(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.commit()
    repo.ran("run-1")
    keep_in_git(repo)
    repo.git("push", "-q", "origin", REF, "main")
    shallow = Repository(tmp_path / "shallow", clone_of=f"file://{remote}", options=("--depth", "1"))
    shallow.git("fetch", "-q", "origin", f"{REF}:{REF}")
    found = look(shallow)
    assert ids(found) == ["run-1"]
    assert found.notes == ("this clone is shallow: commits before its end could not be looked at",)


def test_a_shallow_clone_without_the_merge_base(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.git("switch", "-qc", "feature")
    repo.commit()
    repo.git("push", "-q", "origin", "feature")
    repo.git("switch", "-q", "main")
    repo.commit("Later")
    repo.git("push", "-q", "origin", "main")
    options = ("--depth", "1", "--no-single-branch", "--branch", "feature")
    shallow = Repository(tmp_path / "shallow", clone_of=f"file://{remote}", options=options)
    ending = nothing(shallow)
    assert "ends before the commit where it left main (a shallow clone)" in ending.why
    assert "--unshallow" in (ending.fix or "")


def test_a_shallow_clone_without_the_branch(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.git("push", "-q", "origin", "main:feature")
    options = ("--depth", "1", "--branch", "feature")
    shallow = Repository(tmp_path / "shallow", clone_of=f"file://{remote}", options=options)
    with pytest.raises(UsageError, match="this clone is shallow and may lack it") as caught:
        look(shallow)
    assert "fetch-depth: 0" in (caught.value.fix or "")


def test_a_rewritten_main(repo: Repository) -> None:
    repo.commit()
    repo.ran("run-1")
    repo.git("commit", "-q", "--amend", "--allow-empty", "-m", "Another way")
    ending = nothing(repo)
    assert "run run-1 of main at" in ending.why
    assert "is no longer in the history of main, which was rewritten since" in ending.why
    assert ending.fix == "--baseline run-1 compares with it all the same"


def test_no_common_history(repo: Repository) -> None:
    repo.ran("run-1")
    repo.git("switch", "-q", "--orphan", "other")
    repo.commit()
    assert "have no commit in common" in nothing(repo).why


def test_before_the_first_commit(repo: Repository) -> None:
    repo.git("switch", "-q", "--orphan", "other")
    assert "there is no commit here yet" in nothing(repo).why


def test_another_project_of_the_repository(repo: Repository) -> None:
    (repo.path / "other").mkdir()
    repo.ran("run-1")
    with Ledger(repo.path / ".aegis") as ledger:
        runs = gather(ledger, None)
        Store(repo.path / "other").add(added(runs, runs.runs, ()))
    with pytest.raises(NoBaseline, match="there are no results of the suite support"):
        find("main", WANTED, root=repo.path, ledger=None)
    assert ids(find("main", WANTED, root=repo.path / "other", ledger=None)) == ["run-1"]


def test_a_bare_repository(repo: Repository, remote: Path) -> None:
    repo.ran("run-1")
    keep_in_git(repo)
    repo.git("push", "-q", "origin", REF)
    found = find("main", WANTED, root=remote, ledger=None)
    assert (ids(found), found.source) == (["run-1"], "git")


def test_inside_a_git_hook(repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.ran("run-1")
    monkeypatch.setenv("GIT_DIR", str(bare(tmp_path / "another.git")))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    assert ids(look(repo)) == ["run-1"]
