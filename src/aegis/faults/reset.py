"""The connection is reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.endings import ARRIVE_S, cut, undergo, upstream_key
from aegis.faults.streams import Carried, Ended, after_upgrade
from aegis.faults.words import times
from aegis.gateway.base import ByteStream, Forward, Framing, ResponsePlan
from aegis.suite.kinds import Choice, Integer, Key


class Reset(Fault):
    """Ends the connection with a TCP reset, as a crashed process, a restarted load balancer or a firewall that has
    forgotten the connection does: before any byte of the answer, or after `at_byte` bytes of its body.

    By default upstream has processed the request and only the answer is lost, so that the client cannot know whether
    its order was placed: an ambiguous failure. With `upstream: not-called` the request is lost. A body that is not
    longer than `at_byte` passes whole. On plain TCP the reset comes instead of the first byte that would reach the
    client (`upstream: not-called`: when its first bytes come), or after `at_byte` of them.

    Official provider clients try again twice after a reset before the answer; inside a stream they raise an error and
    don't. requests raises ConnectionError (ChunkedEncodingError inside a chunked body), httpx ReadError. Inside TLS,
    older versions of Python take a reset for the end of the connection (python/cpython#115627, fixed in 2024).
    """

    name = "reset"
    group = "connection"
    stage = "answer"
    layers = frozenset({"http", "tcp"})
    keys = (
        Key(
            "at",
            Choice("moment", ("before", "body")),
            "before any byte, or inside the body; which one `at_byte` decides unless given",
        ),
        Key("at_byte", Integer(0, 2**40), "Bytes of the body that the client gets before the reset"),
        upstream_key("called"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._short = 0

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        inside = "at_byte" in params
        if params.get("at") == "body" and not inside:
            return "at: body needs 'at_byte'"
        if params.get("at") == "before" and inside:
            return "at: before has no 'at_byte'"
        if inside and params["upstream"] == "not-called":
            return "'at_byte' needs an answer: upstream: not-called gives none"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if "at_byte" not in self.params:
            await undergo(seen.request, forward, self.params["upstream"])
            raise cut("reset before the answer", reset=True)
        plan = await forward(seen.request)
        after_upgrade(plan, lambda client: self.tunnel(hit, client))
        if plan.framing is not Framing.NONE:
            plan.body = self._reset_inside(hit, plan.body)
        elif plan.status != 101:
            self.missed(hit)
        return plan

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        if "at_byte" in self.params:
            return _ResetInside(client, self, hit)
        return Ended(client, "reset before any byte", self.params["upstream"], reset=True)

    def notes(self) -> tuple[str, ...]:
        if not self._short:
            return ()
        return (f"passed whole {times(self._short)}: not longer than at_byte",)

    def missed(self, hit: Hit) -> None:
        """What was to be reset inside has ended before."""
        self._short += 1
        hit.spare()

    async def _reset_inside(self, hit: Hit, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.params["at_byte"]
        async for piece in body:
            if len(piece) > left:
                if left:
                    yield piece[:left]
                await asyncio.sleep(ARRIVE_S)
                raise cut(f"reset after {self.params['at_byte']} bytes of the body", reset=True)
            left -= len(piece)
            yield piece
        self.missed(hit)


class _ResetInside(Carried):
    def __init__(self, inner: ByteStream, fault: Reset, hit: Hit) -> None:
        super().__init__(inner)
        self._fault = fault
        self._hit = hit
        self._left = fault.params["at_byte"]

    async def write(self, data: bytes) -> None:
        if len(data) > self._left:
            await self._send(data[: self._left])
            await asyncio.sleep(ARRIVE_S)
            await self._end(f"reset after {self._fault.params['at_byte']} bytes", reset=True)
        self._left -= len(data)
        await self._send(data)

    async def write_eof(self) -> None:
        self._fault.missed(self._hit)
        await super().write_eof()


fault = Reset
