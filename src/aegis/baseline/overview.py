"""What there is to compare with, for `aegis baseline list` and `show`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.baseline import facts as facts_
from aegis.baseline import lookup
from aegis.baseline.candidates import Candidate, Candidates, gather, open_store
from aegis.baseline.exchange import default_remote, tracking_ref
from aegis.baseline.found import Found, NoBaseline, Wanted
from aegis.baseline.store import Store
from aegis.errors import AegisError, UsageError
from aegis.regression.snapshot import Facts
from aegis.results import Ledger


@dataclass(frozen=True)
class Row:
    facts: Facts
    where: tuple[str, ...]
    """`ledger`, `git`, `remote`."""
    pins: tuple[str, ...]
    refused: str | None
    """Why the run is not taken, or not without being named."""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self.facts) | {
            "where": list(self.where),
            "pins": list(self.pins),
            "refused": self.refused,
        }


def overview(ledger: Ledger | None, root: Path, *, suite: str | None, branch: str | None) -> list[Row]:
    """All runs, the newest first. Of the remote, what was there when it was last asked."""
    store, _ = open_store(root)
    remote = frozenset() if store is None else _at_remote(store)
    pins = {} if store is None else store.entries().pins
    return [
        Row(
            run.facts,
            (*run.places, "remote") if run.meta and run.facts.run_id in remote else run.places,
            tuple(name for name, pinned in pins.items() if pinned == run.facts.run_id),
            run.never or facts_.not_by_itself(run.facts),
        )
        for run in gather(ledger, store).runs
        if suite in (None, run.facts.suite) and branch in (None, run.facts.branch)
    ]


@dataclass(frozen=True)
class Looked:
    """What a lookup from here comes to."""

    asked: str
    wanted: Wanted
    like: str | None
    """The run whose environment is wanted; None: it is that of the suite as it stands here."""
    found: Found | None
    nothing: NoBaseline | None

    def as_json(self) -> dict[str, Any]:
        told = self.found or self.nothing
        return {
            "asked": self.asked,
            "suite": self.wanted.suite,
            "environment": self.wanted.environment,
            "environment_of": self.like,
            "baseline": None if self.found is None else dataclasses.asdict(self.found.snapshots[0].facts),
            "pooled": []
            if self.found is None
            else [dataclasses.asdict(each.facts) for each in self.found.snapshots[1:]],
            "source": None if self.found is None else self.found.source,
            "merge_base": None if self.found is None else self.found.merge_base,
            "behind": None if self.found is None else self.found.behind,
            "notes": [] if self.found is None else list(self.found.notes),
            "skipped": [dataclasses.asdict(each) for each in told.skipped] if told else [],
            "problem": None if self.nothing is None else self.nothing.why,
            "fix": None if self.nothing is None else self.nothing.fix,
        }

    def lines(self) -> Iterator[str]:
        if self.found is not None:
            yield from _found_lines(self.asked, self.found)
        if self.nothing is not None:
            yield f"{self.asked}: no baseline: {self.nothing.why}"
            if self.nothing.fix:
                yield f"fix: {self.nothing.fix}"
        for each in (self.found or self.nothing or NoBaseline("")).skipped:
            yield f"  not run {each.run_id} at {(each.commit or '-')[:12]}: {each.why}"
        if self.found is not None:
            yield from (f"  note: {note}" for note in self.found.notes)
        yield f"  for a run {f'like {self.like}' if self.like else 'as it would be here'} (suite {self.wanted.suite})"


def look(
    asked: str,
    root: Path,
    ledger: Ledger | None,
    suite: str | None,
    environment_of: Callable[[str], str | None] = lambda suite: None,
) -> Looked:
    """What `asked` leads to for a run of the suite (of that of the newest run). `environment_of` gives a suite's
    environment; where that is None, it is taken to be the newest run's. Raises `UsageError` as `lookup.find` does, and
    when there is no run."""
    store, _ = open_store(root)
    like = _like(gather(ledger, store), suite)
    here = environment_of(like.facts.suite)
    wanted = Wanted(like.facts.suite, like.facts.environment if here is None else here)
    whose = like.facts.run_id if here is None else None
    try:
        found = lookup.find(asked, wanted, root=root, ledger=ledger)
    except NoBaseline as nothing:
        return Looked(asked, wanted, whose, None, nothing)
    return Looked(asked, wanted, whose, found, None)


def _found_lines(asked: str, found: Found) -> Iterator[str]:
    facts = found.snapshots[0].facts
    place = {"ledger": "the ledger", "git": "the git ref", "file": "the file"}[found.source]
    dirty = " with changes" if facts.dirty else ""
    yield (
        f"{asked}: run {facts.run_id} at {(facts.commit or 'no commit')[:12]}{dirty}, "
        f"{facts.passed}/{facts.planned} passed, {facts.started_at}, from {place}"
    )
    if found.merge_base is not None:
        yield f"  this left {asked} at {found.merge_base[:12]}; the run is {_back(found.behind)}"
    elif found.behind is not None:
        yield f"  the run is {_back(found.behind)}"
    if len(found.snapshots) > 1:
        ids = [each.facts.run_id for each in found.snapshots[1:]]
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        yield f"  with further trials of {shown}"


def _back(behind: int | None) -> str:
    if not behind:
        return "of that very commit"
    return f"{behind} commit{'' if behind == 1 else 's'} further back"


def _like(runs: Candidates, suite: str | None) -> Candidate:
    known = [run for run in runs.runs if run.facts.suite and suite in (None, run.facts.suite)]
    if not known:
        whose = f" of the suite {suite}" if suite else ""
        raise UsageError(
            f"there are no runs{whose} here", fix="aegis eval run --suite NAME, or aegis baseline pull"
        )
    suites = sorted({run.facts.suite for run in known})
    if len(suites) > 1:
        raise UsageError(f"there are runs of several suites: {', '.join(suites)}", fix=f"--suite {suites[0]}")
    return next((run for run in known if run.never is None), known[0])


def _at_remote(store: Store) -> frozenset[str]:
    try:
        remote = default_remote(store.git)
        return (
            frozenset() if remote is None else frozenset(store.entries(tracking_ref(store.git, remote)).runs)
        )
    except AegisError:  # several remotes, or nothing known of it
        return frozenset()
