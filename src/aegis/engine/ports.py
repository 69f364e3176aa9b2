"""What the engine needs from its surroundings, as protocols: it imports neither the ledger nor the blob
store."""

from __future__ import annotations

from typing import Protocol

from aegis.engine.spec import PlannedTrial, TrialResult


class BlobSource(Protocol):
    """Contents by digest."""

    def get(self, digest: str) -> bytes:
        """The bytes whose SHA-256 is `digest` (hex). Raises `LedgerError` when they are missing or
        damaged."""


class BlobStore(BlobSource, Protocol):
    """Contents by digest, and a way to add some."""

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their SHA-256 (hex)."""


class Sink(Protocol):
    """Where attempts are written down, before they start and after they end."""

    def begin_attempt(self, trial: PlannedTrial) -> int:
        """Note that an attempt starts; returns its epoch, which supersedes all earlier attempts of this
        trial."""

    def finish_attempt(self, result: TrialResult, *, final: bool) -> bool:
        """Note how the attempt ended. `final` is False for one that is to be repeated.

        False, and nothing noted, when a newer attempt has superseded this one or the trial has its final
        result.
        """
