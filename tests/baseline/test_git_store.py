"""Results in a git ref: kept, pushed, pulled, pruned; with real repositories and a bare remote."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aegis.baseline import tree
from aegis.baseline.exchange import Exchange, default_remote, tracking_ref
from aegis.baseline.git import (
    GitError,
    NoGitError,
    NoRemoteError,
    NoRepositoryError,
    RejectedError,
    RemoteError,
)
from aegis.baseline.store import REF, Store
from aegis.baseline.tree import Entries, unite
from aegis.errors import UsageError
from aegis.regression.trials import CaseKey
from support.repositories import Repository, bare, git, trials
from support.result_refs import (
    add,
    at,
    here,
    keep_only,
    pull,
    push,
    remove_object,
    result,
)

# -- one repository


def test_what_was_added_comes_back(repo: Repository) -> None:
    given = result(repo, "run-1", 7)
    store = Store(repo.path)
    assert store.add([given]) == (["run-1"], [])
    (stored,) = store.runs()
    assert stored.meta is not None
    assert stored.meta.facts == given.facts
    data, snapshot = store.snapshot("run-1", stored.meta)
    assert data == given.data
    assert snapshot.trials == {CaseKey("refund"): trials(7)}


def test_adding_again_changes_nothing(repo: Repository) -> None:
    store = add(repo, "run-1")
    before = store.git.ref(REF)
    assert store.add([result(repo, "run-1")]) == ([], [])
    assert store.git.ref(REF) == before
    assert store.add([result(repo, "run-1", 3)]) == ([], ["run-1"])
    assert store.git.ref(REF) == before


def test_neither_index_nor_work_tree_nor_history_is_touched(repo: Repository) -> None:
    (repo.path / "staged").write_text("1")
    repo.git("add", "staged")
    (repo.path / "untracked").write_text("2")
    index = (repo.path / ".git" / "index").read_bytes()
    before = (repo.git("status", "--porcelain"), repo.git("for-each-ref", "refs/heads"), repo.head())
    add(repo, "run-1")
    assert (repo.path / ".git" / "index").read_bytes() == index
    assert (repo.git("status", "--porcelain"), repo.git("for-each-ref", "refs/heads"), repo.head()) == before
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


def test_listing_reads_no_snapshot(repo: Repository) -> None:
    store = add(repo, "run-1", "run-2")
    for run in ("run-1", "run-2"):
        remove_object(repo, f"{REF}:runs/{run}/snapshot")
    assert [(run.run_id, run.problem) for run in Store(repo.path).runs()] == [
        ("run-1", None),
        ("run-2", None),
    ]
    meta = store.runs()[0].meta
    assert meta is not None
    with pytest.raises(
        UsageError, match="the snapshot of run run-1 in refs/aegis/results is missing or damaged"
    ):
        store.snapshot("run-1", meta)


def test_pins(repo: Repository) -> None:
    store = add(repo, "run-1")
    for name in ("main", "release/1.0", "größe", "a b"):
        store.pin(name, "run-1")
    assert dict(store.entries().pins) == dict.fromkeys(("main", "release/1.0", "größe", "a b"), "run-1")
    store.pin("main", None)
    assert "main" not in store.entries().pins
    for name in ("", ".git", "..", "-x", "a\nb", "x" * 101):
        with pytest.raises(UsageError, match="cannot be the name of a pin"):
            store.pin(name, "run-1")


def test_settings_and_hooks_of_the_user_do_not_matter(
    repo: Repository, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("tag", "-a", "-m", "x", "v1")
    repo.git("branch", "private")
    for name in ("reference-transaction", "pre-push", "post-update", "pre-commit", "commit-msg"):
        hook = repo.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        hook.chmod(0o755)
    for setting in (
        "commit.gpgSign=true",
        "push.gpgSign=true",
        "gpg.program=/nowhere",
        "push.default=nothing",
        "push.followTags=true",
        "push.pushOption=x",
        "remote.origin.push=refs/heads/*:refs/heads/*",
        "remote.origin.mirror=true",
        "push.useForceIfIncludes=true",
        "core.logAllRefUpdates=always",
        "user.useConfigOnly=true",
        "fetch.prune=true",
    ):
        repo.git("config", *setting.split("=", 1))
    monkeypatch.setenv("GIT_COMMITTER_DATE", "no date")
    assert push(repo, "run-1").sent == ("run-1",)
    assert pull(repo).added == ()
    assert not (tmp_path / "hook-ran").exists()
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    assert git(remote, "for-each-ref", "--format=%(refname)").split() == [REF, "refs/heads/main"]
    assert not (repo.path / ".git" / "logs" / "refs" / "aegis").exists()


def test_processes_that_add_at_the_same_time_lose_nothing(repo: Repository) -> None:
    script = """
import sys
from pathlib import Path
from aegis.baseline.store import Added, Store
from aegis.regression import snapshot as s
path, name = sys.argv[1:]
store = Store(Path(path))
for number in range(4):
    facts = s.Facts(f"{name}-{number}", "support", "e" * 64, "qemu")
    store.add([Added(facts.run_id, s.to_bytes(s.Snapshot(facts, {})), facts)])
"""
    run_all([[sys.executable, "-c", script, str(repo.path), f"p{number}"] for number in range(4)])
    assert here(repo) == sorted(f"p{process}-{number}" for process in range(4) for number in range(4))
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


# -- with a remote


def test_pushed_here_and_pulled_there(repo: Repository, remote: Path, other: Repository) -> None:
    synced = push(repo, "run-1")
    assert (synced.sent, synced.pushed) == (("run-1",), True)
    assert pull(other).added == ("run-1",)
    (stored,) = Store(other.path).runs()
    assert stored.meta is not None
    assert Store(other.path).snapshot("run-1", stored.meta)[1].trials[CaseKey("refund")] == trials(20)


def test_pushing_twice_pushes_once(repo: Repository, remote: Path) -> None:
    push(repo, "run-1")
    before = git(remote, "rev-parse", REF)
    assert not push(repo).pushed
    assert git(remote, "rev-parse", REF) == before


def test_both_sides_added(repo: Repository, remote: Path, other: Repository) -> None:
    push(repo, "run-1")
    assert push(other, "run-2").sent == ("run-2",)
    assert at(remote) == here(other) == ["run-1", "run-2"]
    assert push(repo, "run-3").added == ("run-2",)
    assert at(remote) == here(repo) == ["run-1", "run-2", "run-3"]
    assert pull(other).added == ("run-3",)


def test_pins_travel_too(repo: Repository, remote: Path, other: Repository) -> None:
    add(repo, "run-1", "run-2").pin("main", "run-1")
    push(repo)
    pull(other)
    Store(other.path).pin("main", "run-2")
    push(other)
    Store(repo.path).pin("old", "run-1")
    push(repo)
    assert dict(Store(repo.path).entries().pins) == {"main": "run-2", "old": "run-1"}


def test_what_somebody_pruned_does_not_come_back(repo: Repository, remote: Path, other: Repository) -> None:
    push(repo, "run-1", "run-2")
    pull(other)
    pruned = Exchange(Store(other.path), "origin").prune(keep_only("run-2"))
    assert pruned.removed == ("run-1",)
    assert push(repo, "run-3").removed == ("run-1",)
    assert at(remote) == here(repo) == ["run-2", "run-3"]


def test_pruning_begins_a_new_chain_so_that_the_space_is_freed(repo: Repository, remote: Path) -> None:
    push(repo, "run-1")
    old = git(repo.path, "rev-parse", f"{REF}:runs/run-1/snapshot")
    push(repo, "run-2")
    Exchange(Store(repo.path), "origin").prune(keep_only("run-2"))
    assert git(remote, "rev-list", "--count", REF) == "1"
    for folder in (repo.path, remote):
        git(folder, "reflog", "expire", "--expire=now", "--all")
        git(folder, "gc", "--quiet", "--prune=now")
        with pytest.raises(AssertionError):
            git(folder, "cat-file", "-e", old)


def test_pruning_while_others_push_keeps_what_they_pushed(
    repo: Repository, remote: Path, other: Repository
) -> None:
    push(repo, "run-1", "run-2")
    pull(other)
    said: list[str] = []

    def say(line: str) -> None:
        if line.startswith("pushing") and not said:
            push(repo, "run-3")
        said.append(line)

    Exchange(Store(other.path), "origin", say=say).prune(
        lambda now: Entries({run: oid for run, oid in now.runs.items() if run != "run-1"}, now.pins)
    )
    assert at(remote) == here(other) == ["run-2", "run-3"]
    assert git(remote, "rev-list", "--count", REF) == "1"
    assert any("trying again" in line for line in said)


def test_a_lost_race_is_tried_again(repo: Repository, remote: Path, other: Repository) -> None:
    lost: list[str] = []

    def say(line: str) -> None:
        if line.startswith("pushing") and len(lost) < 3:
            lost.append(line)
            push(other, f"other-{len(lost)}")

    push(repo, "run-1", say=say)
    assert at(remote) == here(repo) == ["other-1", "other-2", "other-3", "run-1"]


def test_many_pushers_at_once_lose_nothing(repo: Repository, remote: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from aegis.baseline.exchange import Exchange
from aegis.baseline.store import Added, Store
from aegis.regression import snapshot as s
path, name = sys.argv[1:]
for number in range(2):
    store = Store(Path(path))
    facts = s.Facts(f"{name}-{number}", "support", "e" * 64, "qemu")
    store.add([Added(facts.run_id, s.to_bytes(s.Snapshot(facts, {})), facts)])
    Exchange(store, "origin", total_s=240).push()
"""
    names = [f"job{number}" for number in range(5)]
    for name in names:
        Repository(tmp_path / name, clone_of=str(remote))
    run_all([[sys.executable, "-c", script, str(tmp_path / name), name] for name in names])
    assert at(remote) == sorted(f"{name}-{number}" for name in names for number in range(2))
    assert git(remote, "fsck", "--strict", "--no-dangling") == ""


def test_a_remote_at_another_address_has_removed_nothing(
    repo: Repository, remote: Path, tmp_path: Path
) -> None:
    push(repo, "run-1")
    moved = bare(tmp_path / "moved.git")
    repo.git("remote", "set-url", "origin", str(moved))
    assert push(repo, "run-2").removed == ()
    assert at(moved) == here(repo) == ["run-1", "run-2"]


def test_a_remote_whose_ref_was_deleted_gets_everything(repo: Repository, remote: Path) -> None:
    push(repo, "run-1")
    git(remote, "update-ref", "-d", REF)
    assert push(repo, "run-2").sent == ("run-1", "run-2")


def test_a_local_ref_that_was_deleted_is_no_removal(repo: Repository, remote: Path) -> None:
    push(repo, "run-1")
    repo.git("update-ref", "-d", REF)
    assert pull(repo).added == ("run-1",)
    repo.git("update-ref", "-d", REF)
    push(repo, "run-2")
    assert at(remote) == ["run-1", "run-2"]


def test_a_push_that_did_not_get_through_is_made_up_for(
    repo: Repository, remote: Path, other: Repository
) -> None:
    push(repo, "run-1")
    away = remote.rename(remote.with_name("away.git"))
    with pytest.raises(NoRemoteError):
        push(repo, "run-2")
    away.rename(remote)
    push(other, "run-3")
    assert push(repo).sent == ("run-2",)
    assert at(remote) == ["run-1", "run-2", "run-3"]


def test_a_shallow_clone_pushes_and_pulls(repo: Repository, remote: Path, tmp_path: Path) -> None:
    repo.commit()
    repo.git("push", "-q", "origin", "main")
    push(repo, "run-1")
    shallow = Repository(tmp_path / "shallow", clone_of=f"file://{remote}", options=("--depth", "1"))
    push(shallow, "run-2")
    assert at(remote) == here(shallow) == ["run-1", "run-2"]
    assert shallow.git("rev-parse", "--is-shallow-repository") == "true"
    assert len((shallow.path / ".git" / "shallow").read_text().split()) == 1


def test_a_partial_clone_gets_the_snapshots_at_once(repo: Repository, remote: Path, tmp_path: Path) -> None:
    git(remote, "config", "uploadpack.allowFilter", "true")
    push(repo, "run-1")
    options = ("--filter=blob:none", "--no-checkout")
    partial = Repository(tmp_path / "partial", clone_of=f"file://{remote}", options=options)
    pull(partial)
    remote.rename(tmp_path / "away.git")
    (stored,) = Store(partial.path).runs()
    assert stored.meta is not None
    assert Store(partial.path).snapshot("run-1", stored.meta)[1].facts.run_id == "run-1"


def test_a_mirror_keeps_what_it_has_not_pushed_yet(repo: Repository, remote: Path, tmp_path: Path) -> None:
    push(repo, "run-1")
    git(tmp_path, "clone", "-q", "--mirror", str(remote), "mirror.git")
    mirror = Store(tmp_path / "mirror.git")
    mirror.add([result(repo, "run-2")])
    push(repo, "run-3")
    Exchange(mirror, "origin").pull()
    assert sorted(mirror.entries().runs) == ["run-1", "run-2", "run-3"]
    Exchange(mirror, "origin").push()
    assert at(remote) == ["run-1", "run-2", "run-3"]


def test_without_rewriting_pruning_still_removes(repo: Repository, remote: Path) -> None:
    hook = remote / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ncase $2 in *[!0]*) git merge-base --is-ancestor $2 $3 || exit 1;; esac\n")
    hook.chmod(0o755)
    push(repo, "run-1", "run-2")
    said: list[str] = []
    Exchange(Store(repo.path), "origin", say=said.append).prune(keep_only("run-2"))
    assert at(remote) == here(repo) == ["run-2"]
    assert any("their space is not freed" in line for line in said)


def test_a_remote_that_refuses_says_so_once(repo: Repository, remote: Path) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'only refs/heads here' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(
        RejectedError, match=r"did not take the results: .*pre-receive hook declined.*only refs/heads"
    ):
        push(repo, "run-1")
    assert here(repo) == ["run-1"]


def test_fetch_head_is_left_alone(repo: Repository, remote: Path, other: Repository) -> None:
    push(repo, "run-1")
    other.git("fetch", "-q", "origin", "main")
    before = (other.path / ".git" / "FETCH_HEAD").read_bytes()
    pull(other)
    assert (other.path / ".git" / "FETCH_HEAD").read_bytes() == before


# -- which remote


def test_which_remote(repo: Repository, tmp_path: Path) -> None:
    store = Store(repo.path)
    assert default_remote(store.git) is None
    repo.git("remote", "add", "upstream", "x")
    assert default_remote(store.git) == "upstream"
    repo.git("remote", "add", "fork", "y")
    with pytest.raises(UsageError, match="several remotes: fork, upstream"):
        default_remote(store.git)
    repo.git("remote", "add", "origin", "z")
    assert default_remote(store.git) == "origin"
    assert default_remote(store.git, "fork") == "fork"
    with pytest.raises(NoRemoteError):
        default_remote(store.git, "--upload-pack=touch /tmp/x")


def test_the_tracking_ref_does_not_depend_on_credentials(repo: Repository) -> None:
    store = Store(repo.path)
    refs = {
        tracking_ref(store.git, f"https://{who}git.example/team/agent.git")
        for who in ("", "ci-token:one@", "ci-token:two@")
    }
    assert len(refs) == 1
    assert tracking_ref(store.git, "https://git.example/team/other.git") not in refs


# -- failures, told apart


def test_no_git_program(repo: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoGitError, match="the program git cannot be run: No such file"):
        Store(repo.path)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NoRepositoryError, match="is in no git repository"):
        Store(tmp_path)


@pytest.mark.parametrize("remote", ["nowhere", "/no/such/path", "file:///no/such/path"])
def test_no_such_remote(repo: Repository, remote: str) -> None:
    with pytest.raises(NoRemoteError, match="is no remote of this repository"):
        push(repo, "run-1", remote=remote)
    assert here(repo) == ["run-1"]


def test_a_remote_that_is_away(repo: Repository) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://somebody:secret@127.0.0.1:{closed.getsockname()[1]}/x.git"
        with pytest.raises(
            RemoteError, match=r"could not be reached: .*(refused|[Cc]ould(n't| not) connect)"
        ) as caught:
            push(repo, "run-1", remote=address)
    assert "secret" not in str(caught.value)


def test_a_remote_that_never_answers(repo: Repository, remote: Path, tmp_path: Path) -> None:
    program = tmp_path / "hangs"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o755)
    repo.git("config", "remote.origin.uploadpack", str(program))
    with pytest.raises(RemoteError, match="took longer than 2 s"):
        push(repo, "run-1", total_s=2)
    assert_ended(int((tmp_path / "pid").read_text()))


def test_ctrl_c_leaves_nothing_behind(repo: Repository, remote: Path, tmp_path: Path) -> None:
    program = tmp_path / "hangs"
    program.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid.part\nmv {tmp_path}/pid.part {tmp_path}/pid\nexec sleep 600\n"
    )
    program.chmod(0o755)
    repo.git("config", "remote.origin.uploadpack", str(program))
    repo.ran("run-1")
    command = [sys.executable, "-m", "aegis", "baseline", "push"]
    with subprocess.Popen(command, cwd=repo.path, stderr=subprocess.PIPE, text=True) as process:
        wait_for((tmp_path / "pid").exists)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert_ended(int((tmp_path / "pid").read_text()))
    assert list((repo.path / ".git").rglob("*.lock")) == []


def test_a_ref_that_cannot_be_written(repo: Repository) -> None:
    folder = repo.path / ".git" / "refs" / "aegis"
    folder.write_text("in the way")
    with pytest.raises(GitError, match="git could not write refs/aegis/results"):
        Store(repo.path).git.update({REF: (None, repo.head())})


# -- uniting


def test_uniting_three_states() -> None:
    base = Entries({"a": "1", "b": "1", "c": "1"}, {"x": "a", "y": "b"})
    ours = Entries({"a": "1", "b": "1", "d": "1"}, {"x": "b", "y": "b"})
    theirs = Entries({"a": "1", "c": "1", "e": "1"}, {"x": "a", "y": "c", "z": "e"})
    assert unite(base, ours, theirs) == Entries(
        {"a": "1", "d": "1", "e": "1"}, {"x": "b", "y": "c", "z": "e"}
    )


def test_a_run_that_both_added_is_theirs() -> None:
    assert unite(tree.EMPTY, Entries({"a": "1"}), Entries({"a": "2"})).runs == {"a": "2"}


# -- how


def run_all(commands: list[list[str]]) -> None:
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    for process in running:
        out, _ = process.communicate(timeout=280)
        assert process.returncode == 0, out


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def assert_ended(pid: int) -> None:
    def ended() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(ended)
