"""The body comes in drops."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.dribble import by_event, even, in_pieces
from aegis.faults.pace import slices
from aegis.faults.streams import Carried, after_upgrade
from aegis.faults.words import times
from aegis.gateway.base import ByteStream, Forward, Framing, ResponsePlan
from aegis.gateway.failures import Cut
from aegis.gateway.heads import first
from aegis.suite.kinds import Choice, Duration, Integer, Key

_MAX_COLLECTED_BYTES = 8 * 1024 * 1024
_TIME = Duration(0.001, 3600.0)


class SlowBody(Fault):
    """Sends the headers at once and the body in small pieces with pauses, as an overloaded server, a stalling proxy or
    a model that generates slowly does.

    Three ways: `chunks` pieces over a `duration` (10 over 5s unless something is given); `chunk_bytes` every `pause`;
    or, with `by: event`, one server-sent event every `pause`. Each piece waits for its pause first. The framing stays
    right: the pieces are chunks of a chunked body, or parts of one with a length. A body whose length nobody knows is
    collected before it is divided into `chunks`, up to 8 MiB; an event stream is not, and goes event by event with a
    pause of `duration / chunks`. On plain TCP, and on a WebSocket after its upgrade, only `chunk_bytes` and `pause`
    mean anything.

    Clients whose time limit is for the time between two bytes (requests, httpx, both official provider clients) wait
    for all of it as long as each pause is shorter, so that a call may take many times its limit.
    """

    name = "slow-body"
    group = "time"
    stage = "time"
    layers = frozenset({"http", "tcp"})
    keys = (
        Key("chunks", Integer(2, 100_000), "Into how many pieces the body is divided"),
        Key("duration", _TIME, "How long all of them take"),
        Key("chunk_bytes", Integer(1, 16 * 1024 * 1024), "Bytes of each piece"),
        Key("pause", _TIME, "Time before each piece"),
        Key("by", Choice("unit", ("bytes", "event")), "What a piece is made of", default="bytes"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._bodiless = self._eventless = self._too_long = self._lengthless = 0

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> dict[str, Any]:
        if not written.keys() & {"chunks", "duration", "chunk_bytes", "pause", "by"}:
            written = {"chunks": 10, "duration": "5s", **written}
        return super().read(written)

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        given = params.keys() - {"by"}
        if params["by"] == "event":
            return None if given == {"pause"} else "by: event needs 'pause', and nothing else"
        if given not in ({"chunks", "duration"}, {"chunk_bytes", "pause"}):
            return "give 'chunks' and 'duration', or 'chunk_bytes' and 'pause', or 'by: event' and 'pause'"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        seen.request.end_with_client()
        plan = await forward(seen.request)
        after_upgrade(plan, lambda client: self.tunnel(hit, client))
        if plan.status == 101:
            return plan
        events = (first(plan.headers, b"content-type") or b"").lower().startswith(b"text/event-stream")
        if plan.framing is Framing.NONE or _length(plan) == 0:
            self._bodiless += 1
            hit.spare()
        elif self.params["by"] == "event" and not events:
            self._eventless += 1
            hit.spare()
        else:
            plan.body = self._dribbled(plan.body, _length(plan), events)
        return plan

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        if "chunk_bytes" in self.params:
            return _Drops(client, self.params["chunk_bytes"], self.params["pause"])
        self._lengthless += 1
        hit.spare()
        return client

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"passed unchanged {times(count)}: {why}"
            for count, why in (
                (self._bodiless, "there was no body to slow down"),
                (self._eventless, "the body was no event stream"),
                (self._lengthless, "a carried connection has no body: give chunk_bytes and pause"),
                (
                    self._too_long,
                    "a body without a length was longer than 8 MiB, and its rest came undivided",
                ),
            )
            if count
        )

    async def _dribbled(
        self, body: AsyncIterator[bytes], length: int | None, events: bool
    ) -> AsyncIterator[bytes]:
        params = self.params
        if params["by"] == "event":
            pieces, pause_s = by_event(body), params["pause"]
        elif "chunk_bytes" in params:
            pieces, pause_s = in_pieces(body, itertools.repeat(params["chunk_bytes"])), params["pause"]
        elif events:
            pieces, pause_s = by_event(body), params["duration"] / params["chunks"]
        else:
            if length is None:
                collected, body = await self._collected(body)
                length = len(collected)
            pause_s = params["duration"] / max(1, min(params["chunks"], length))
            pieces = in_pieces(body, even(length, params["chunks"]))
        async for piece in pieces:
            await asyncio.sleep(pause_s)
            yield piece

    async def _collected(self, body: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
        """The body's beginning, which is nearly always all of it, and the body with it before the rest. A cut comes
        out of the latter."""
        kept = bytearray()

        async def whole() -> AsyncIterator[bytes]:
            yield bytes(kept)
            if ended is not None:
                raise ended
            async for piece in body:
                yield piece

        ended: Cut | None = None
        try:
            async for piece in body:
                kept += piece
                if len(kept) > _MAX_COLLECTED_BYTES:
                    self._too_long += 1
                    break
        except Cut as cut:
            ended = cut
        return bytes(kept), whole()


class _Drops(Carried):
    def __init__(self, inner: ByteStream, size_bytes: int, pause_s: float) -> None:
        super().__init__(inner)
        self._size_bytes = size_bytes
        self._pause_s = pause_s

    async def write(self, data: bytes) -> None:
        for part in slices(data, self._size_bytes):
            await asyncio.sleep(self._pause_s)
            await self._send(part)


def _length(plan: ResponsePlan) -> int | None:
    """What its Content-Length says."""
    said = first(plan.headers, b"content-length") if plan.framing is Framing.LENGTH else None
    return int(said) if said is not None and said.isdigit() and len(said) < 16 else None


fault = SlowBody
