"""The contract of machines that are kept: written to a folder while they run, and restored from there later.

Only drivers with machines of their own fulfil it; a plain process of the host cannot be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from aegis.sandbox.base import Process, Progress, Sandbox
from aegis.sandbox.network import NetworkAccess


@dataclass(frozen=True, slots=True)
class Copied:
    """What keeping a machine took."""

    size_bytes: int
    """On disk."""
    paused_s: float
    """How long the machine stood still."""
    total_s: float
    """Until the copy was complete on disk; the machine runs on during most of it."""


@runtime_checkable
class Keepable(Protocol):
    """A sandbox whose machine can be kept."""

    @property
    def newest(self) -> Process | None:
        """The program that was started (`exec`) or attached to last."""

    async def keep(self, folder: Path, notes: Mapping[str, Any], program: Process | None = None) -> Copied:
        """Write the machine as it is now to the new folder, which appears whole or not at all, and let it go on: what
        it and its host are saying to each other is neither lost nor said twice.

        `notes` (JSON) are given back by `Reopening.notes`. `program`: one that a restored copy can go on with.
        Raises SandboxError, also when the disk is full; the machine goes on all the same, unless it is lost."""


class ReopenedSandbox(Sandbox, Protocol):
    """A restored copy. It has the names and the time that the machine had, but random numbers of its own."""

    def program(self) -> Process:
        """The program that `keep` was told of. Raises SandboxStartError when it was told of none."""


@runtime_checkable
class Reopening(Protocol):
    """A driver that can restore a kept machine."""

    def notes(self, folder: Path) -> Mapping[str, Any]:
        """What `keep` was given. Blocks. Raises SandboxStartError."""

    async def reopen(
        self, folder: Path, *, network: NetworkAccess | None = None, progress: Progress | None = None
    ) -> ReopenedSandbox:
        """A fresh restore of the copy, which stays as it is. Raises SandboxStartError that says what is missing: the
        template, the image, another version of the monitor."""
