"""Bytes carried as they are: plain TCP, TLS that is not opened, WebSocket after its upgrade."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aegis.gateway.base import ByteStream, is_slow
from aegis.gateway.failures import Failure
from aegis.gateway.streams import READ_BYTES

Check = Callable[[bytes], bytes]
"""Looks at a piece before it is passed on and returns what may pass now. Raises `Failure`."""


class Relay:
    """Two streams joined until both have ended, either breaks, or both are silent for `idle_s`. `last_words` is what
    `incoming` still holds back when the upstream has ended."""

    def __init__(
        self,
        client: ByteStream,
        upstream: ByteStream,
        *,
        outgoing: Check,
        incoming: Check,
        idle_s: float,
        write_s: float,
        last_words: Callable[[], bytes] = bytes,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._outgoing = outgoing
        self._incoming = incoming
        self._last_words = last_words
        self._idle_s = idle_s
        self._write_s = write_s
        self._moved = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Raises `Failure` when it broke; both streams are closed or reset afterwards."""
        pumps = (
            asyncio.ensure_future(self._pump(self._client, self._upstream, self._outgoing, "client")),
            asyncio.ensure_future(self._pump(self._upstream, self._client, self._incoming, "upstream")),
        )
        try:
            await asyncio.gather(*pumps)
        except BaseException:
            for stream in (self._client, self._upstream):
                with contextlib.suppress(OSError):
                    await stream.abort()
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            with contextlib.suppress(OSError):
                await self._upstream.close()

    async def _pump(self, source: ByteStream, sink: ByteStream, check: Check, side: str) -> None:
        while True:
            try:
                data = await self._read(source)
            except OSError as error:
                kind = "client-gone" if side == "client" else "upstream-reset"
                raise Failure(kind, f"the {side} reset the connection", status=None) from error
            try:
                async with asyncio.timeout(None if is_slow(sink) else self._write_s):
                    if not data:
                        if side == "upstream" and (rest := self._last_words()):
                            await sink.write(rest)
                        await sink.write_eof()
                        return
                    if passed := check(data):
                        await sink.write(passed)
            except TimeoutError:
                raise Failure("stalled", f"what the {side} sent was not taken", status=None) from None
            except OSError:
                # The other direction reads the reason; a half-closed peer may still be talking.
                return

    async def _read(self, source: ByteStream) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(self._moved + self._idle_s):
                    data = await source.read(READ_BYTES)
            except TimeoutError:
                # The other direction may have moved meanwhile.
                if loop.time() - self._moved < self._idle_s:
                    continue
                raise Failure("idle", "nothing moved for too long", status=None) from None
            self._moved = loop.time()
            return data


class Counted:
    """A client's stream whose written bytes are told to `record`."""

    def __init__(self, inner: ByteStream, record: Callable[[bytes], object]) -> None:
        self._inner = inner
        self._record = record

    async def read(self, max_bytes: int) -> bytes:
        return await self._inner.read(max_bytes)

    async def write(self, data: bytes) -> None:
        self._record(data)
        await self._inner.write(data)

    async def write_eof(self) -> None:
        await self._inner.write_eof()

    async def close(self) -> None:
        await self._inner.close()

    async def abort(self) -> None:
        await self._inner.abort()
