"""From the name of a branch, a tag or a commit to the commits whose results may be the baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aegis.baseline.exchange import default_remote
from aegis.baseline.found import NoBaseline
from aegis.baseline.git import Git
from aegis.errors import UsageError

MAX_COMMITS = 100_000
"""First parents that are looked through for a result."""

UNSHALLOW = (
    "git fetch --unshallow; in GitHub Actions: fetch-depth: 0 for actions/checkout; in GitLab: GIT_DEPTH: 0"
)
_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Line:
    """Commits, the nearest first: where the search begins, its first parent, that one's, …"""

    asked: str
    commits: list[str]
    merge_base: str | None
    tip: str
    """Of the branch; else the commit that was named."""
    branch: str | None
    """The branch's own name, without a remote's."""
    cut_off: bool
    """Whether history ends early here (a shallow clone)."""
    notes: tuple[str, ...] = ()


def line(git: Git, asked: str) -> Line | None:
    """None when git knows no branch, tag or commit of that name. Raises `NoBaseline` when it does, and nothing connects
    it with what is checked out."""
    if not asked or asked.startswith("-") or not asked.isprintable():
        return None
    found = _branch(git, asked)
    if found is not None:
        return _of_branch(git, asked, *found)
    commit = git.resolve(f"refs/tags/{asked}") or git.resolve(asked)
    shallow = git.is_shallow()
    if commit is not None:
        return Line(asked, git.first_parents(commit, MAX_COMMITS), None, commit, None, shallow)
    if _FULL.fullmatch(asked):  # a shallow clone lacks the commit; what ran on it may be known all the same
        note = f"commit {asked[:12]} is not in this clone: only results of that very commit were looked for"
        return Line(asked, [asked], None, asked, None, shallow, (note,))
    return None


def _of_branch(git: Git, asked: str, ref: str, tip: str, name: str) -> Line:
    head, shallow = git.head(), git.is_shallow()
    if head is None:
        raise NoBaseline(
            "there is no commit here yet, so none that it shares with " + asked, fix="git commit"
        )
    base = git.merge_base(head, tip)
    if base is None and shallow:
        raise NoBaseline(
            f"this clone's history ends before the commit where it left {asked} (a shallow clone)",
            fix=UNSHALLOW,
        )
    if base is None:
        raise NoBaseline(
            f"what is checked out and {asked} have no commit in common: one of them was rewritten",
            fix=f"git fetch, then rebase onto {asked}; or name a run: --baseline RUN (aegis baseline list)",
        )
    notes = (f"{ref.removeprefix('refs/remotes/')} was used: it is ahead of the local {name}",)
    ahead = ref.startswith("refs/remotes/") and git.ref(f"refs/heads/{name}") is not None and asked == name
    return Line(asked, git.first_parents(base, MAX_COMMITS), base, tip, name, shallow, notes if ahead else ())


def _branch(git: Git, asked: str) -> tuple[str, str, str] | None:
    """Ref, commit and name of a branch."""
    for start in ("refs/heads/", "refs/remotes/"):
        if asked.startswith(start) and (tip := git.resolve(asked)) is not None:
            return asked, tip, _name(git, asked)
    local, remote = f"refs/heads/{asked}", f"refs/remotes/{_remote(git)}/{asked}"
    mine, theirs = git.resolve(local), git.resolve(remote)
    if theirs is not None and (mine is None or (mine != theirs and git.is_ancestor(mine, theirs))):
        return remote, theirs, asked
    if mine is not None:
        return local, mine, asked
    tracking = f"refs/remotes/{asked}"
    tip = git.resolve(tracking)
    return None if tip is None else (tracking, tip, _name(git, tracking))


def _remote(git: Git) -> str:
    try:
        return default_remote(git) or "origin"
    except UsageError:  # several, and none is origin: none is meant
        return "origin"


def _name(git: Git, ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return ref.removeprefix("refs/heads/")
    rest = ref.removeprefix("refs/remotes/")
    known = [remote for remote in git.remotes() if rest.startswith(f"{remote}/")]
    return rest.removeprefix(f"{max(known, key=len)}/") if known else rest.partition("/")[2]
