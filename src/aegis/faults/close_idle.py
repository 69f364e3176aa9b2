"""A kept connection turns out to be closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.endings import cut, drop
from aegis.faults.pace import now_s
from aegis.faults.streams import Carried
from aegis.faults.words import times
from aegis.gateway.base import ByteStream, Forward, ResponsePlan
from aegis.suite.kinds import Choice, Duration, Key


class CloseIdle(Fault):
    """Lets a request on a kept-alive connection meet a closed one, as happens when the server's idle limit passes while
    the request is on its way: the stale connection of a pool.

    Only requests on a connection that has carried one before are hit; upstream hears nothing of them, and the same
    request on a new connection is answered. `how: close` ends the connection properly, which is what a client mostly
    sees; `how: reset` resets it. On plain TCP it is the first thing that the client sends after the connection has
    carried something and then been silent for `idle`, as with pooled database connections.

    A client may repeat the request by itself when it is safe to (RFC 9112, section 9.3.1). requests and httpx raise the
    errors of `empty-reply` and `reset` and don't; official provider clients try again.
    """

    name = "close-idle"
    group = "connection"
    stage = "answer"
    layers = frozenset({"http", "tcp"})
    recurs = False
    keys = (
        Key(
            "how", Choice("ending", ("close", "reset")), "How the connection is found ended", default="close"
        ),
        Key(
            "idle",
            Duration(0.001, 3600.0),
            "Plain TCP: how long it must have been silent before",
            default="1s",
        ),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._busy = 0

    def admits(self, seen: Seen) -> bool:
        return seen.request.reused

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        await drop(seen.request)
        raise cut("the kept connection is closed", reset=self.params["how"] == "reset")

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        return _Stale(client, self, hit)

    def notes(self) -> tuple[str, ...]:
        if not self._busy:
            return ()
        return (f"a connection was never used again after being idle {times(self._busy)}",)

    def missed(self, hit: Hit) -> None:
        """A connection that was never used again after having been silent."""
        self._busy += 1
        hit.spare()


class _Stale(Carried):
    def __init__(self, inner: ByteStream, fault: CloseIdle, hit: Hit) -> None:
        super().__init__(inner)
        self._fault = fault
        self._hit = hit
        self._moved_s: float | None = None
        self._judged = False

    async def read(self, max_bytes: int) -> bytes:
        data = await self._inner.read(max_bytes)
        params = self._fault.params
        if data and self._moved_s is not None and now_s() - self._moved_s >= params["idle"]:
            self._judged = True
            await self._end("the kept connection is closed", reset=params["how"] == "reset")
        if data and self._moved_s is not None:
            self._moved_s = now_s()
        if not data:
            self._spare()
        return data

    async def write(self, data: bytes) -> None:
        await self._send(data)
        self._moved_s = now_s()

    async def write_eof(self) -> None:
        self._spare()
        await super().write_eof()

    async def abort(self) -> None:
        self._spare()
        await super().abort()

    def _spare(self) -> None:
        if not self._judged:
            self._judged = True
            self._fault.missed(self._hit)


fault = CloseIdle
