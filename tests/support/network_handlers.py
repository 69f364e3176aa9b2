"""Handlers of a sandbox's connections, as simple as they can be: what a driver promises is tested with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aegis.sandbox.network import Connection, Destination, LookupAnswer, Refusal

Serve = Callable[[Connection], Awaitable[None]]


async def echo(connection: Connection) -> None:
    """Gives back what comes until the client's end, then ends."""
    while data := await connection.read(65536):
        await connection.write(data)
    await connection.close()


class Handler:
    """Serves every connection in one way and remembers what it was told."""

    def __init__(self, serve: Serve = echo) -> None:
        self._serve = serve
        self.destinations: list[Destination] = []
        self.refusals: list[Refusal] = []
        self.errors: list[OSError] = []
        """What ended connections that did not end by themselves."""
        self.active = 0
        self.most_active = 0
        self.cancelled = 0
        self.told = asyncio.Event()
        """Set with each refusal."""

    async def connect(self, connection: Connection, destination: Destination) -> None:
        self.destinations.append(destination)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self._serve(connection)
        except OSError as error:
            self.errors.append(error)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)
        self.told.set()


class Plan:
    """A `Gate` that answers lookups and openings in this order, and raises `IndexError` when it has no answer left."""

    def __init__(self, lookups: Sequence[LookupAnswer], openings: Sequence[bool]) -> None:
        self._lookups = list(lookups)
        self._openings = list(openings)
        self.asked: list[str | Destination] = []

    def lookup(self, name: str) -> LookupAnswer:
        self.asked.append(name)
        return self._lookups.pop(0)

    def opening(self, destination: Destination) -> bool:
        self.asked.append(destination)
        return self._openings.pop(0)
