"""Results in a git ref of the repository: `refs/aegis/results`, a chain of commits of its own (tree.py).

The ref is changed by compare-and-swap, so that any number of processes may add to it at once. What other repositories
have is exchange.py's business.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from aegis.baseline import facts as facts_
from aegis.baseline import tree
from aegis.baseline.facts import Meta
from aegis.baseline.git import Git, RefMovedError
from aegis.baseline.tree import Entries
from aegis.errors import UsageError
from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Facts, Snapshot

REF = "refs/aegis/results"
MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024
_TRIES = 30
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Stored:
    """A run in the ref, as its description tells it."""

    run_id: str
    meta: Meta | None
    problem: str | None = None
    """Why there is no `meta`."""


@dataclass(frozen=True, slots=True)
class Added:
    run_id: str
    data: bytes
    """The snapshot's."""
    facts: Facts


class Store:
    """Methods raise the errors of git.py and, for a ref that is damaged, foreign or newer, `UsageError`."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the project's. Raises `NoGitError` and `NoRepositoryError`."""
        self.git = Git(folder)
        self.prefix = self.git.prefix()
        self._read: dict[str, Entries] = {}

    def entries(self, ref: str = REF) -> Entries:
        """Of the ref as it is now; empty when it isn't there."""
        commit = self.git.ref(ref)
        return tree.EMPTY if commit is None else self.entries_of(commit, ref)

    def entries_of(self, commit: str, where: str) -> Entries:
        """Of a commit; `where` is for messages."""
        if commit not in self._read:
            self._read[commit] = tree.read(self.git, commit, where)
        return self._read[commit]

    def runs(self) -> list[Stored]:
        """All runs, by id. No snapshot is read."""
        return self.described(self.entries())

    def described(self, entries: Entries) -> list[Stored]:
        names = {run: f"{oid}:meta.json" for run, oid in entries.runs.items()}
        sizes = self.git.sizes(list(names.values()))
        short = [oid for oid, size in sizes.values() if size <= facts_.MAX_META_BYTES]
        blobs = self.git.blobs(short)
        return [self._stored(run, blobs.get(sizes.get(name, ("", 0))[0])) for run, name in names.items()]

    def _stored(self, run_id: str, data: bytes | None) -> Stored:
        if data is None:
            return Stored(run_id, None, "its description is missing, damaged or too large")
        try:
            return Stored(run_id, facts_.read_meta(data, run_id))
        except ValueError as error:
            return Stored(run_id, None, str(error))

    def _data(self, run_id: str, meta: Meta, where: str) -> bytes:
        name = f"{self.entries().runs.get(run_id, '')}:snapshot"
        oid, size = self.git.sizes([name]).get(name, ("", 0))
        found = self.git.blobs([oid]) if oid and size <= MAX_SNAPSHOT_BYTES else {}
        if oid not in found or hashlib.sha256(found[oid]).hexdigest() != meta.sha256:
            raise UsageError(
                f"the snapshot of {where} is missing or damaged",
                fix="aegis baseline pull, or push the run again from where it was made",
            )
        return found[oid]

    def snapshot(self, run_id: str, meta: Meta) -> tuple[bytes, Snapshot]:
        """A run's snapshot and its bytes. Raises `UsageError` when it is gone, damaged, newer, or another run's."""
        where = f"run {run_id} in {REF}"
        data = self._data(run_id, meta, where)
        found = snapshots.from_bytes(data, where)
        if not _same(found.facts, meta.facts):
            raise UsageError(
                f"the snapshot of {where} is of another run than its description says",
                fix="find out who wrote it: git log refs/aegis/results",
            )
        return data, found

    def add(self, runs: Iterable[Added]) -> tuple[list[str], list[str]]:
        """Add runs. Returns the ids of those that are new here, and of those under whose id there is another run
        already, which are left as they are."""
        made = {run.run_id: self._run_tree(run) for run in runs}
        new: list[str] = []
        taken: list[str] = []

        def change(now: Entries) -> Entries:
            new[:] = [run for run in made if run not in now.runs]
            taken[:] = [run for run, oid in made.items() if now.runs.get(run, oid) != oid]
            return Entries({**made, **now.runs}, now.pins)

        self.change(change, "Add results")
        return new, taken

    def pin(self, name: str, run_id: str | None) -> None:
        """Make the name stand for a run of the ref, or for none."""
        tree.check_pin(name)

        def change(now: Entries) -> Entries:
            pins = {**now.pins, name: run_id or ""}
            return Entries(now.runs, {key: run for key, run in pins.items() if run})

        self.change(change, "Pin a result" if run_id else "Unpin a result")

    def change(self, change: Callable[[Entries], Entries], message: str, *, fresh: bool = False) -> None:
        """Apply a function to the entries. It is called again when another process was quicker. `fresh`: as the
        beginning of a new chain."""
        for _ in range(_TRIES):
            commit = self.git.ref(REF)
            now = tree.EMPTY if commit is None else self.entries_of(commit, REF)
            wanted = change(now)
            if wanted == now:
                return
            parents = () if commit is None or fresh else (commit,)
            new = tree.write(self.git, wanted, parents, message)
            try:
                self.git.update({REF: (commit, new)})
            except RefMovedError as error:
                moved = error
                time.sleep(random.uniform(0, _PAUSE_S))
            else:
                return
        raise moved

    def _run_tree(self, run: Added) -> str:
        meta = Meta(run.facts, self.prefix, hashlib.sha256(run.data).hexdigest())
        described = self.git.put(facts_.meta_bytes(meta))
        return self.git.tree([("meta.json", "blob", described), ("snapshot", "blob", self.git.put(run.data))])


def _same(one: Facts, other: Facts) -> bool:
    def told(facts: Facts) -> tuple[object, ...]:
        return (facts.run_id, facts.suite, facts.environment, facts.isolation, facts.commit, facts.replay_of)

    return told(one) == told(other)
