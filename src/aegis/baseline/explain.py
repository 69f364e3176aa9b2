"""Why there is no baseline, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aegis.baseline.candidates import Candidate, Candidates
from aegis.baseline.exchange import default_remote
from aegis.baseline.found import NoBaseline, Skipped, Wanted
from aegis.baseline.git import Git
from aegis.baseline.history import MAX_COMMITS, UNSHALLOW, Line
from aegis.baseline.store import REF, Store
from aegis.errors import AegisError, UsageError

_DAY_S = 86_400


def nothing_found(
    line: Line,
    wanted: Wanted,
    runs: Candidates,
    git: Git | None,
    skipped: tuple[Skipped, ...],
    refused: Callable[[Candidate], str | None],
) -> NoBaseline:
    """`refused`: why a run is not taken without being named."""
    of_suite = [run for run in runs.runs if run.facts.suite == wanted.suite]
    fitting = [run for run in of_suite if refused(run) is None]
    searched = _searched(line)
    if not of_suite:
        return NoBaseline(
            f"there are no results of the suite {wanted.suite}", fix=_make(line, wanted, git), skipped=skipped
        )
    if not fitting:
        return NoBaseline(
            f"no result of the suite {wanted.suite} can be compared with: {_reasons(of_suite, refused)}",
            fix=_make(line, wanted, git),
            skipped=skipped,
        )
    if line.cut_off and len(line.commits) < MAX_COMMITS:
        return NoBaseline(
            f"{searched} has a result, and this clone's history ends there (a shallow clone)",
            fix=UNSHALLOW,
            skipped=skipped,
        )
    newest = next((run for run in fitting if run.facts.branch == line.branch), fitting[0])
    return NoBaseline(
        f"{searched} has a result; the newest that there is, {_described(newest)}, {_where(newest, line, git)}",
        fix=f"--baseline {newest.facts.run_id} compares with it all the same",
        skipped=skipped,
    )


def unknown_name(asked: str, store: Store | None, no_git: AegisError | None) -> UsageError:
    shown = asked[:200]
    if store is None:
        why = no_git.message if no_git is not None else "there is no repository"
        return UsageError(
            f"{shown!r} is no run and no file, and branches can't be looked up: {why}",
            fix="name a run (aegis baseline list) or a file (aegis baseline export), or run in a git repository",
        )
    what = f"{shown!r} is no branch, tag, commit, pin, run or file here"
    if store.git.is_shallow():
        return UsageError(f"{what}; this clone is shallow and may lack it", fix=UNSHALLOW)
    return UsageError(
        what,
        fix=f"git fetch {_remote(store.git)}, or name a run: aegis baseline list; pins: aegis baseline pull",
    )


def _searched(line: Line) -> str:
    start = line.commits[0][:12]
    if line.merge_base is not None:
        place = f"where this left {line.asked} ({start})"
    else:
        place = f"{line.asked} ({start})"
    if len(line.commits) == 1:
        return f"no commit from {place} back"
    return f"none of the {len(line.commits):,} commits from {place} back"


def _reasons(runs: Sequence[Candidate], refused: Callable[[Candidate], str | None]) -> str:
    """Why none of them will do, the commonest reason first."""
    counted: dict[str, int] = {}
    for run in runs:
        why = refused(run) or ""
        counted[why] = counted.get(why, 0) + 1
    common = sorted(counted.items(), key=lambda item: -item[1])
    told = [f"{why} ({count} of {len(runs)})" if len(counted) > 1 else why for why, count in common[:3]]
    return "; ".join(told)


def _described(run: Candidate) -> str:
    facts = run.facts
    branch = f" of {facts.branch}" if facts.branch else ""
    return f"run {facts.run_id}{branch} at {(facts.commit or '')[:12]}{_age(facts.started_at)}"


def _where(run: Candidate, line: Line, git: Git | None) -> str:
    commit = run.facts.commit or ""
    if git is None:
        return "is not among them"
    if not git.is_ancestor(commit, line.tip):
        if run.facts.branch is not None and run.facts.branch == line.branch:
            return f"is no longer in the history of {line.asked}, which was rewritten since"
        return f"is not in the history of {line.asked}"
    if line.merge_base is not None and not git.is_ancestor(commit, line.merge_base):
        return f"is of a later commit: rebase onto {line.asked} to compare with it"
    return f"was merged into {line.asked} from a side branch"


def _make(line: Line, wanted: Wanted, git: Git | None) -> str:
    place = line.branch or line.asked[:12]
    run = f"git switch {place}; aegis eval run --suite {wanted.suite}; aegis baseline push"
    if git is not None and git.ref(REF) is None and git.remotes():
        return f"aegis baseline pull, if results were pushed; else make one: {run}"
    return f"make one: {run}"


def _remote(git: Git) -> str:
    try:
        return default_remote(git) or "REMOTE"
    except UsageError:
        return "REMOTE"


def _age(started_at: str) -> str:
    try:
        then = datetime.fromisoformat(started_at)
    except ValueError:
        return ""
    past_s = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    days = int(past_s // _DAY_S)
    return f", {days} day{'' if days == 1 else 's'} old" if days > 0 else ""
