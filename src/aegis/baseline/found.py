"""What was looked for, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aegis.regression.snapshot import Snapshot

Source = Literal["ledger", "git", "file"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a baseline must be of."""

    suite: str
    environment: str
    run_id: str = ""
    """The run that is to be compared: never its own baseline."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A result that was nearer, or that was named, and cannot be the baseline."""

    run_id: str
    commit: str | None
    why: str


@dataclass(frozen=True)
class Found:
    asked: str
    """As the user wrote it."""
    snapshots: tuple[Snapshot, ...]
    """The baseline, and behind it runs of older commits (or further runs of the same) whose trials are added where it
    has fewer than `regression.trials.ENOUGH` of a case. All of the wanted suite and environment."""
    source: Source
    """Where the first of them was."""
    merge_base: str | None = None
    """The commit where this branch left the one that was asked for; None when that was not looked for."""
    behind: int | None = None
    """First parents from there (from the commit that was named) back to the baseline's commit; 0: that very commit.
    None when a run or a file was named."""
    skipped: tuple[Skipped, ...] = ()
    """Nearer results that were refused, with the reason."""
    notes: tuple[str, ...] = ()
    """What a reader should know: the history is cut off, another accelerator, uncommitted changes."""


class NoBaseline(Exception):
    """There is nothing to compare with, and nobody is to blame: the run goes on and is INCONCLUSIVE."""

    def __init__(self, why: str, *, fix: str | None = None, skipped: tuple[Skipped, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix
        self.skipped = skipped
