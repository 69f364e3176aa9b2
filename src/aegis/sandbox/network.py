"""The contract of a sandbox's network: connections that the workload opens become calls of a handler on the host.

A sandbox has no network card. Drivers carry each connection to the `NetworkHandler` that its trial was started with,
and to nothing else; without one every connection is reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection wanted to go, as the machine tells it; hostile like everything else from there."""

    via: Literal["proxy", "direct"]
    name: str | None = None
    address: str | None = None
    port: int = 0
    let_in: bool = False
    """Whether the trial's `Gate` was asked about it and let it come about."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A conversation with the outside that the machine's own kernel refused: no listener stands for it."""

    address: str
    port: int
    protocol: str
    """`tcp`, `udp` or `icmp`."""
    name: str | None = None


class Connection(Protocol):
    """A connection's bytes. One reader and one writer; every method may raise OSError when the other side is gone."""

    async def read(self, max_bytes: int) -> bytes:
        """At least one byte and at most `max_bytes`; b"" at the end, and again after it."""

    async def write(self, data: bytes) -> None:
        """Send all of it; waits while the other side doesn't read."""

    async def write_eof(self) -> None:
        """End this direction; reading goes on."""

    async def close(self) -> None:
        """Deliver what was written and end both directions. May be called repeatedly."""

    async def abort(self) -> None:
        """Drop what is left and reset the connection."""


class NetworkHandler(Protocol):
    """Serves a machine's connections; the gateway's session behind a thin adapter."""

    async def connect(self, connection: Connection, destination: Destination) -> None:
        """Serve one connection to its end. Raises nothing but CancelledError."""

    def refused(self, refusal: Refusal) -> None:
        """Told of each refused conversation once."""


Question = Literal["lookup", "opening"]
LookupAnswer = Literal["", "nxdomain", "servfail", "timeout"]
"""How a lookup ends: with an address, with one of two failures, or with silence."""


class Gate(Protocol):
    """Asked by a machine before its workload sees anything of a lookup or of a connection that goes past the proxy:
    only so can a name not resolve, and `connect()` fail. Raises nothing, and answers at once."""

    def lookup(self, name: str) -> LookupAnswer:
        """Of a program that looks up a name; once, however often its resolver asks."""

    def opening(self, destination: Destination) -> bool:
        """Whether a connection comes about; otherwise it is refused, as where nothing listens."""


@dataclass(frozen=True, slots=True)
class NetworkAccess:
    """What one trial's sandbox is connected to; given to `Driver.start`."""

    handler: NetworkHandler
    ports: tuple[int, ...] = ()
    """Besides 80 and 443: ports at which every name's address listens for clients that use no proxy."""
    addresses: tuple[tuple[str, int], ...] = ()
    """Literal IPv4 addresses with ports at which the machine listens."""
    ca_pem: str | None = None
    """Certificate (PEM) of the authority that the sandbox's clients shall trust, besides those of its image."""
    gate: Gate | None = None
    """Asked about what `asks` names. A driver whose programs use nothing but the proxy never asks."""
    asks: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPaths:
    """What a client inside the sandbox needs to know; the same for all trials of a machine driver."""

    proxy: str
    """URL of the HTTP proxy, as seen from inside: `http://127.0.0.1:3128`."""
    ca_file: str | None
    """Path, as seen from inside, of the run's authority alone (PEM). None when there is none."""
    ca_bundle: str | None
    """Path of all trusted authorities, the run's included (PEM)."""
    direct: bool = False
    """Whether clients that use no proxy reach the handler too."""
