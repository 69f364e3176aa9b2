"""Files that are kept with a trial, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeptFile:
    path: str
    """In the machine: absolute."""
    bytes: int
    blob: str
    """Digest of its content."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was kept of what `collect` names."""

    files: tuple[KeptFile, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """Path or pattern, and why."""
    more: int = 0
    """How many more were left out."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Collected:
        """The inverse of `dataclasses.asdict`, through JSON."""
        return cls(
            tuple(KeptFile(**item) for item in data["files"]),
            tuple((path, why) for path, why in data["left_out"]),
            data["more"],
        )

    def row(self) -> dict[str, Any]:
        """As the ledger keeps it and the run document shows it."""
        missing: list[dict[str, str | None]] = [{"path": path, "why": why} for path, why in self.left_out]
        if self.more:
            missing.append({"path": None, "why": f"{self.more} more"})
        return {
            "collected": [{"path": file.path, "bytes": file.bytes, "blob": file.blob} for file in self.files],
            "not_collected": missing,
        }
