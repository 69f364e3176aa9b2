"""Which runs go into the git ref, and which leave it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aegis.baseline import facts as facts_
from aegis.baseline.candidates import Candidate, Candidates, moment
from aegis.baseline.found import Skipped
from aegis.baseline.store import Added, Stored
from aegis.errors import UsageError


@dataclass(frozen=True)
class Chosen:
    runs: list[Candidate]
    left: list[Skipped]
    """Runs that were passed over, with the reason."""


def newest(runs: Candidates, suite: str | None) -> Chosen:
    """The newest run of the ledger (of a suite) that can be a baseline by itself."""
    every = of_ledger(runs, suite)
    return Chosen(every.runs[:1], [each for each in every.left if _newer(runs, each, every.runs)])


def of_ledger(runs: Candidates, suite: str | None) -> Chosen:
    """All of them, the newest first."""
    chosen = Chosen([], [])
    for run in runs.runs:
        if "ledger" not in run.places or suite not in (None, run.facts.suite):
            continue
        why = run.never or facts_.not_by_itself(run.facts)
        if why is None:
            chosen.runs.append(run)
        else:
            chosen.left.append(Skipped(run.facts.run_id, run.facts.commit, why))
    return chosen


def check(run: Candidate) -> str | None:
    """Raise `UsageError` unless the run can be a baseline when it is named; returns why it is none by itself."""
    if run.never:
        raise UsageError(
            f"run {run.facts.run_id} cannot be a baseline: {run.never}",
            fix="name another one: aegis baseline list",
        )
    return facts_.not_by_itself(run.facts)


def added(runs: Candidates, chosen: Sequence[Candidate], known: Container[str]) -> Iterator[Added]:
    """What `Store.add` takes, of those that aren't `known` yet."""
    for run in chosen:
        if run.facts.run_id not in known:
            data, found, _ = runs.read_bytes(run)
            yield Added(run.facts.run_id, data, found.facts)


def outdated(
    stored: Sequence[Stored], pins: Mapping[str, str], *, keep: int | None, before: datetime | None
) -> dict[str, str]:
    """Runs to remove, with the reason: those beyond the newest `keep` of their project, suite and branch that began
    before `before` (each condition only when it is given). What is pinned stays; what can't be read goes."""
    gone = {run.run_id: run.problem or "" for run in stored if run.meta is None}
    groups: dict[tuple[str, str, str | None], list[tuple[datetime, str]]] = {}
    for run in stored:
        if run.meta is not None:
            facts = run.meta.facts
            group = groups.setdefault((run.meta.prefix, facts.suite, facts.branch), [])
            group.append((moment(facts.started_at), run.run_id))
    for group in groups.values():
        for place, (began, run_id) in enumerate(sorted(group, reverse=True)):
            if (keep is None or place >= keep) and (before is None or began < before):
                gone[run_id] = "" if keep is None else f"not among the newest {keep} of its suite and branch"
    pinned = set(pins.values())
    return {run_id: why for run_id, why in gone.items() if run_id not in pinned}


def _newer(runs: Candidates, left: Skipped, taken: Sequence[Candidate]) -> bool:
    order = [run.facts.run_id for run in runs.runs]
    return not taken or order.index(left.run_id) < order.index(taken[0].facts.run_id)
