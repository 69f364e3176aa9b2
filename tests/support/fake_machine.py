"""The machine's end of a `Mux`, played by a test: it sends what it likes and sees what the host sends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aegis.sandbox.guest import wire
from aegis.sandbox.mux import Mux


class FakeMachine:
    def __init__(self, mux: Mux, sock: socket.socket) -> None:
        self.mux = mux
        self._sock = sock
        self._decoder = wire.Decoder()
        self.received: list[wire.Frame] = []

    async def send(self, *frames: bytes) -> None:
        """Raw bytes. A host that has hung up already doesn't disturb."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, b"".join(frames))
        except ConnectionError:
            pass

    async def next_frame(self) -> wire.Frame:
        while not self.received:
            data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
            assert data, "the host hung up"
            self.received += self._decoder.feed(data)
        return self.received.pop(0)

    async def expect(self, kind: int, stream: int | None = None) -> wire.Frame:
        """The next frame of a kind; others before it are dropped."""
        while (frame := await self.next_frame())[0] != kind or (stream is not None and frame[1] != stream):
            pass
        return frame

    def hang_up(self) -> None:
        self._sock.close()

    def end_of_stream(self) -> None:
        """No more bytes from the machine; what the host still sends is not refused."""
        self._sock.shutdown(socket.SHUT_WR)


@asynccontextmanager
async def fake_machine(
    *, first_stream: int = 1, prepared: dict[str, int] | None = None
) -> AsyncIterator[FakeMachine]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    mux = Mux(reader, writer)
    mux.start(first_stream=first_stream, prepared=prepared)
    try:
        yield FakeMachine(mux, theirs)
    finally:
        await mux.close()
        theirs.close()
