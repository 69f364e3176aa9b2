"""What the engine needs from its surroundings, as protocols: it imports neither the ledger nor the blob
store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aegis.engine.spec import DeniedHost, PlannedTrial, TrialResult
from aegis.sandbox.network import NetworkAccess, NetworkPaths
from aegis.suite.model import FaultRule
from aegis.trace import Exchange
from aegis.trace.faults import FaultReport


class BlobSource(Protocol):
    """Contents by digest."""

    def get(self, digest: str) -> bytes:
        """The bytes whose SHA-256 is `digest` (hex). Raises `LedgerError` when they are missing or
        damaged. May be called from any thread."""


class BlobStore(BlobSource, Protocol):
    """Contents by digest, and a way to add some."""

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their SHA-256 (hex). Raises `LedgerError`. May be called from any thread."""


class TrialNetwork(Protocol):
    """One attempt's way out, from the first moment of its machine to the end of its agent."""

    @property
    def access(self) -> NetworkAccess:
        """What the driver connects the machine to."""

    def environment(self, paths: NetworkPaths | None) -> dict[str, str]:
        """Variables that programs inside need: proxy, authorities, placeholders of secrets. `paths`: as the driver
        tells them; None for a machine without a network."""

    def start_clock(self) -> None:
        """The agent starts now: second 0 of the exchanges. What began earlier belongs to the set-up of the world."""

    @property
    def waited_s(self) -> float:
        """Seconds that requests of this attempt have waited for a provider's shared limit."""

    async def end(self) -> None:
        """Nothing passes any more; exchanges in progress are recorded as cancelled. Raises nothing."""

    def check(self) -> None:
        """Raises `InfrastructureError` when something on this host failed that the agent cannot be blamed for: an
        upstream program ended, a body could not be stored. After `end`."""

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Those that began since `start_clock`. Complete after `end`."""

    @property
    def setup(self) -> Sequence[Exchange]:
        """Those that began before it. Complete after `end`."""

    @property
    def faults(self) -> tuple[FaultReport, ...]:
        """What the fault rules came to. Complete after `end`."""

    @property
    def denied(self) -> tuple[DeniedHost, ...]:
        """What was refused, since the machine's first moment."""

    async def close(self) -> None:
        """End everything that was started for the attempt. Raises nothing."""


class NetworkSource(Protocol):
    """Makes the way out of each attempt."""

    async def open(
        self,
        trial: PlannedTrial,
        *,
        suite: str = "",
        faults: Sequence[FaultRule] = (),
        shown_s: float | None = None,
        weather_of: PlannedTrial | None = None,
    ) -> TrialNetwork:
        """A fresh one, in the weather of these rules, which `suite` and `trial` decide (or `weather_of` in its place).
        `shown_s`: what the machine's
        clock shows when the agent starts, as seconds since 1970; None: the real time. Raises `InfrastructureError` when
        something that it needs does not start; nothing is left of it then."""


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
