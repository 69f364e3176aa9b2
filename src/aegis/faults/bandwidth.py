"""A slow link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.pace import Bucket, slices
from aegis.faults.streams import Carried, after_upgrade
from aegis.gateway.base import ByteStream, Forward, RequestBody, ResponsePlan
from aegis.suite.kinds import Choice, Key, Size


class Bandwidth(Fault):
    """Lets bytes pass at a limited rate, as a crowded uplink, a throttled tenant or a mobile network does.

    Counted are the bytes on the wire, headers and chunk marks included, of each exchange by itself, by a token bucket
    that begins with `burst`: N bytes take (N - burst) / rate seconds. `direction` says which way is slow; towards
    upstream it is the request's body. On plain TCP, and on a WebSocket after its upgrade, each connection is limited.

    Clients whose limit is for the time between two bytes, as read timeouts of requests and httpx are, do not notice;
    those with a limit for the whole call give up in the middle of the body.
    """

    name = "bandwidth"
    group = "time"
    stage = "time"
    layers = frozenset({"http", "tcp"})
    keys = (
        Key("rate", Size(64, 2**40), "Bytes a second", default="64KiB"),
        Key("burst", Size(1, 2**30), "Bytes that pass at once after a pause; none unless given"),
        Key(
            "direction",
            Choice("direction", ("to-client", "from-client", "both")),
            "Which way is slow",
            default="to-client",
        ),
    )

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        request = seen.request
        request.end_with_client()
        if self._limits("from-client"):
            request = replace(request, body=_SlowBody(request.body, self._bucket()))
        plan = await forward(request)
        if self._limits("to-client"):
            inner = plan.wire
            plan.wire = self._paced if inner is None else lambda framed: self._paced(inner(framed))
        after_upgrade(plan, lambda client: self.tunnel(hit, client))
        return plan

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        return _Link(
            client,
            self._bucket() if self._limits("to-client") else None,
            self._bucket() if self._limits("from-client") else None,
        )

    def _limits(self, direction: str) -> bool:
        return self.params["direction"] in (direction, "both")

    def _bucket(self) -> Bucket:
        return Bucket(self.params["rate"], self.params.get("burst", 0))

    async def _paced(self, framed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        bucket = self._bucket()
        async for data in framed:
            for part in slices(data, bucket.slice_bytes):
                await bucket.take(len(part))
                yield part


class _SlowBody:
    """A request's body that comes no faster than the bucket says. Fulfils `RequestBody`."""

    def __init__(self, inner: RequestBody, bucket: Bucket) -> None:
        self._inner = inner
        self._bucket = bucket
        self.length = inner.length

    async def read(self) -> bytes:
        data = await self._inner.read()
        await self._bucket.take(len(data))
        return data


class _Link(Carried):
    def __init__(self, inner: ByteStream, towards: Bucket | None, back: Bucket | None) -> None:
        super().__init__(inner)
        self._towards = towards
        self._back = back

    async def write(self, data: bytes) -> None:
        if self._towards is None:
            await self._send(data)
            return
        for part in slices(data, self._towards.slice_bytes):
            await self._towards.take(len(part))
            await self._send(part)

    async def read(self, max_bytes: int) -> bytes:
        if self._back is None:
            return await self._inner.read(max_bytes)
        data = await self._inner.read(min(max_bytes, self._back.slice_bytes))
        await self._back.take(len(data))
        return data


fault = Bandwidth
