"""What a run keeps of its machines, from the request to the ledger's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.engine.keeping import Keeping, Which
from aegis.engine.network import RunNetwork
from aegis.engine.spec import PlannedTrial
from aegis.errors import UsageError
from aegis.report.text import counted
from aegis.results.machines import DEFAULT_MAX_BYTES, Machines, Pruned
from aegis.suite.units import format_size

WHICH: tuple[Which, ...] = ("none", "failed", "all")


@dataclass(frozen=True, slots=True)
class KeepSetting:
    """As asked for."""

    which: Which = "none"
    every: int = 0
    """A checkpoint before every so many turns; 0: none."""
    max_bytes: int = DEFAULT_MAX_BYTES

    @property
    def any(self) -> bool:
        return self.which != "none" or self.every > 0

    def check(self, isolation: str) -> None:
        """Raise `UsageError` for what makes no sense."""
        if self.which not in WHICH:
            raise UsageError(
                f"--keep {self.which}: there is no such choice", fix=f"one of: {', '.join(WHICH)}"
            )
        if self.every < 0 or self.max_bytes < 1:
            raise UsageError("the number of turns between checkpoints, and --keep-max, must be positive")
        if self.any and isolation == "none":
            raise UsageError(
                "there are no machines to keep with --isolation=none: its trials are plain processes of this host",
                fix="use --isolation=vm, or leave --keep and --checkpoints away",
            )

    def to_json(self) -> dict[str, Any]:
        return {"which": self.which, "every": self.every, "max_bytes": self.max_bytes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> KeepSetting:
        """The inverse of `to_json`; None, as in runs from before this was there, is nothing."""
        return cls(**data) if data else cls()

    def keeping(self, folder: Path, network: RunNetwork, say: Callable[[str], None]) -> Keeping | None:
        """`folder` is the ledger's."""
        if not self.any:
            return None
        shelf = _Shelf(Machines(folder, self.max_bytes), self.max_bytes)
        return Keeping(shelf, self.which, self.every, say, network.carried)


class _Shelf:
    """Fulfils `aegis.engine.keeping.Shelf`."""

    def __init__(self, machines: Machines, max_bytes: int) -> None:
        self._machines = machines
        self._max_bytes = max_bytes

    def folder(self, run_id: str, trial: PlannedTrial, epoch: int) -> Path:
        return self._machines.attempt(run_id, *trial, epoch)

    def drop(self, folder: Path) -> None:
        self._machines.drop(folder)

    def make_room(self, newest: Path) -> str | None:
        removed = self._machines.make_room(newest)
        if not removed.machines:
            return None
        return f"kept machines took more than {format_size(self._max_bytes)}: {told(removed)} (--keep-max)"


def told(removed: Pruned) -> str:
    """What was removed, in words."""
    first = removed.machines[0].name
    more = f" and {len(removed.machines) - 1} more" if len(removed.machines) > 1 else ""
    what = counted(len(removed.machines), "machine")
    return f"removed {what}, {removed.freed_bytes / 1e6:.1f} MB: {first}{more}"
