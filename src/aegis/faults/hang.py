"""No answer comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.endings import cut, drop, lose, upstream_key
from aegis.faults.pace import now_s, sleep_until
from aegis.faults.streams import Carried, after_upgrade
from aegis.faults.words import times
from aegis.gateway.base import ByteStream, Forward, Framing, ResponsePlan
from aegis.gateway.failures import Failure
from aegis.suite.kinds import Choice, Duration, Integer, Key


class Hang(Fault):
    """Takes the request and never answers, as a deadlocked worker, a lost reply or a black hole in the network does;
    or, with `after_bytes`, goes silent inside the body.

    It lasts until the client gives up. `for` bounds it: after that time the connection is closed without a word, as a
    load balancer closes an idle one, or (`then: answer`) the answer follows after all. By default upstream has
    processed the request before the silence, so that trying again may do the work twice: an ambiguous failure. With
    `upstream: not-called` it has heard nothing. On plain TCP `after_bytes` counts what is sent to the client.

    requests and urllib3 wait for ever unless they are given a timeout; httpx gives up after 5 s; both official provider
    clients give up after 10 minutes, twice more.
    """

    name = "hang"
    group = "time"
    stage = "answer"
    layers = frozenset({"http", "tcp", "mcp"})
    keys = (
        Key(
            "after_bytes",
            Integer(0, 2**40),
            "Bytes of the body that still come; without it, nothing comes at all",
        ),
        Key(
            "for",
            Duration(0.001, 24 * 3600.0),
            "How long the silence lasts; until the client gives up unless given",
        ),
        Key("then", Choice("ending", ("close", "answer")), "What follows after `for`", default="close"),
        upstream_key("called"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._short = 0

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if params["then"] == "answer" and "for" not in params:
            return "then: answer needs 'for'"
        if params["upstream"] == "not-called" and (params["then"] == "answer" or "after_bytes" in params):
            what = "then: answer" if params["then"] == "answer" else "'after_bytes'"
            return f"{what} needs an answer: upstream: not-called gives none"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        seen.request.end_with_client()
        if self.params["upstream"] == "not-called":
            await drop(seen.request)
            await self._silence()
            raise cut("no answer, then closed")
        plan = await forward(seen.request)
        if "after_bytes" in self.params:
            after_upgrade(plan, lambda client: self.tunnel(hit, client))
            if plan.framing is not Framing.NONE:
                plan.body = self._going_silent(hit, plan.body)
            elif plan.status != 101:
                self.missed(hit)
            return plan
        if self.params["then"] == "answer":
            try:
                await self._silence()
            except asyncio.CancelledError:
                await plan.release()
                raise
            return plan
        await lose(plan)
        await self._silence()
        raise cut("no answer, then closed")

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        return _Silent(client, self, hit)

    def notes(self) -> tuple[str, ...]:
        if not self._short:
            return ()
        return (f"passed whole {times(self._short)}: not longer than after_bytes",)

    def missed(self, hit: Hit) -> None:
        """What was to go silent inside has ended before."""
        self._short += 1
        hit.spare()

    async def _silence(self) -> None:
        await silence(self.params.get("for"))

    async def _going_silent(self, hit: Hit, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.params["after_bytes"]
        silent = False
        async for piece in body:
            if not silent and len(piece) > left:
                silent = True
                if left:
                    yield piece[:left]
                await self._silence()
                if self.params["then"] == "close":
                    raise cut(f"silence after {self.params['after_bytes']} bytes, then closed")
                piece = piece[left:]
            left -= len(piece)
            yield piece
        if not silent:
            self.missed(hit)


async def silence(lasting_s: float | None) -> None:
    """So long, or for ever."""
    if lasting_s is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(lasting_s)


class _Silent(Carried):
    """Takes what is written and delivers nothing of it from a byte on."""

    def __init__(self, inner: ByteStream, fault: Hang, hit: Hit) -> None:
        super().__init__(inner)
        self._fault = fault
        self._hit = hit
        self._params = fault.params
        self._left = self._params.get("after_bytes", 0)
        self._over = False
        self._since_s: float | None = None if "after_bytes" in self._params else now_s()

    async def read(self, max_bytes: int) -> bytes:
        while True:
            try:
                async with asyncio.timeout_at(self._until_s()):
                    data = await self._inner.read(max_bytes)
            except TimeoutError:
                await self._closed_now()
            if not data and self._silent:
                raise Failure("client-gone", "the client left while nothing came", status=None)
            if not data or self._params["upstream"] == "called":
                return data

    async def write(self, data: bytes) -> None:
        if not self._over and len(data) > self._left:
            if self._left:
                await self._send(data[: self._left])
            data, self._left = data[self._left :], 0
            await self._fall_silent()
        self._left -= len(data)
        await self._send(data)

    async def write_eof(self) -> None:
        if self._silent:
            await self._fall_silent()
        elif not self._over:
            self._fault.missed(self._hit)
        await self._inner.write_eof()

    @property
    def _silent(self) -> bool:
        return self._since_s is not None and not self._over

    def _until_s(self) -> float | None:
        """When the connection is closed, once that is known."""
        if not self._silent or self._params["then"] == "answer" or "for" not in self._params:
            return None
        return float(self._since_s + self._params["for"]) if self._since_s is not None else None

    async def _fall_silent(self) -> None:
        if self._since_s is None:
            self._since_s = now_s()
        if "for" not in self._params:
            await silence(None)
        await sleep_until(self._since_s + self._params["for"])
        if self._params["then"] == "close":
            await self._closed_now()
        self._over = True

    async def _closed_now(self) -> None:
        await self._end("silence, then closed")


fault = Hang
