"""All runs that could be a baseline: those of the ledger and those of the git ref, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from aegis.baseline import facts as facts_
from aegis.baseline.facts import Meta
from aegis.baseline.git import NoGitError, NoRepositoryError
from aegis.baseline.store import Store
from aegis.errors import AegisError, UsageError
from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Facts, Snapshot
from aegis.results import Ledger

MAX_RUNS = 10_000
"""Of the ledger that are looked at, the newest."""

SHORTEST_PREFIX = 4

Place = Literal["ledger", "git"]


@dataclass(frozen=True)
class Candidate:
    facts: Facts
    digest: str | None
    """Of the snapshot's blob in the ledger."""
    meta: Meta | None
    """In the git ref."""
    problem: str | None = None
    """Why it can't be read, where that is known without reading its snapshot."""

    @property
    def places(self) -> tuple[Place, ...]:
        in_ledger: tuple[Place, ...] = () if self.meta and not self.digest else ("ledger",)
        return (*in_ledger, "git") if self.meta else in_ledger

    @property
    def never(self) -> str | None:
        """Why it can be no baseline, however it is asked for."""
        if self.problem or (why := facts_.never(self.facts)) is None:
            return self.problem
        return why


class Candidates:
    def __init__(self, runs: Iterable[Candidate], ledger: Ledger | None, store: Store | None) -> None:
        self.runs = sorted(
            runs, key=lambda each: (moment(each.facts.started_at), each.facts.run_id), reverse=True
        )
        """The newest first."""
        self._ledger = ledger
        self._store = store

    def read(self, candidate: Candidate) -> tuple[Snapshot, Place]:
        """Its snapshot, and where that was. Raises `AegisError` when no place has it whole."""
        _, found, place = self.read_bytes(candidate)
        return found, place

    def read_bytes(self, candidate: Candidate) -> tuple[bytes, Snapshot, Place]:
        """As `read`, with the snapshot's bytes."""
        run_id = candidate.facts.run_id
        if candidate.digest and self._ledger is not None:
            try:
                data = self._ledger.blobs.get(candidate.digest)
                return (
                    data,
                    snapshots.from_bytes(data, f"the snapshot of run {run_id} in the ledger"),
                    "ledger",
                )
            except AegisError:
                if candidate.meta is None:
                    raise
        if candidate.meta is None or self._store is None:
            raise UsageError(f"run {run_id} kept nothing to compare with", fix="run the suite again")
        return *self._store.snapshot(run_id, candidate.meta), "git"

    def begin_with(self, written: str) -> list[Candidate]:
        """The run of this id, else all that begin so. A few characters are no beginning: they are names as well."""
        exact = [each for each in self.runs if each.facts.run_id == written]
        if exact or len(written) < SHORTEST_PREFIX:
            return exact
        return [each for each in self.runs if each.facts.run_id.startswith(written)]


def gather(ledger: Ledger | None, store: Store | None, *, everywhere: bool = False) -> Candidates:
    """All runs of the ledger, and of the git ref those of this project (`everywhere`: of all projects)."""
    runs = {} if ledger is None else {run.run_id: run for run in ledger.summaries(limit=MAX_RUNS)}
    found: dict[str, Candidate] = {}
    for run_id, run in runs.items():
        digest = (run.document or {}).get("snapshot")
        found[run_id] = Candidate(facts_.facts_of(run), digest, None, _ledger_problem(run.status, digest))
    for stored in () if store is None else store.runs():
        mine = found.get(stored.run_id)
        if stored.meta is None:
            if mine is None:
                nothing = Facts(stored.run_id, "", "", "unknown", complete=False)
                found[stored.run_id] = Candidate(nothing, None, None, stored.problem)
        elif mine is not None:
            found[stored.run_id] = Candidate(mine.facts, mine.digest, stored.meta)
        elif everywhere or store is None or stored.meta.prefix == store.prefix:
            found[stored.run_id] = Candidate(stored.meta.facts, None, stored.meta)
    return Candidates(found.values(), ledger, store)


def _ledger_problem(status: str, digest: str | None) -> str | None:
    if status != "complete":
        return "it is not finished" if status == "running" else "it was interrupted"
    return None if digest else "it was made by an Aegis that kept nothing to compare with"


def open_store(folder: Path) -> tuple[Store | None, AegisError | None]:
    """The repository's results, or why there are none to be had."""
    try:
        return Store(folder), None
    except (NoGitError, NoRepositoryError) as error:
        return None, error


def matching(asked: str, found: Sequence[Candidate]) -> Candidate:
    """The only one. Raises `UsageError` that lists several."""
    if len(found) > 1:
        ids = ", ".join(each.facts.run_id for each in found[:10]) + (", …" if len(found) > 10 else "")
        raise UsageError(f"{asked!r} is the beginning of several runs: {ids}", fix="write more of the id")
    return found[0]


def moment(written: str) -> datetime:
    """For sorting: what is no time is the oldest."""
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
