"""The guest's server and the host's mux, joined by a socket pair: a connection passes from a client's socket through
both ends to a handler, without a machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aegis.sandbox.guest import wire
from aegis.sandbox.guest.server import Server
from aegis.sandbox.mux import Mux
from aegis.sandbox.network import NetworkHandler


class TwoEnds:
    """`port` on this host's loopback stands for the proxy port of a machine."""

    def __init__(self, mux: Mux, port: int) -> None:
        self.mux = mux
        self.port = port

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def two_ends(handler: NetworkHandler | None) -> AsyncIterator[TwoEnds]:
    ours, theirs = socket.socketpair()
    nursery, cradle = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = Server(theirs.fileno(), nursery, wait_on_hangup=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server.open_network().listen("127.0.0.1", port, lambda: {"via": "proxy"})
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    ours.setblocking(False)
    mux = Mux(*await asyncio.open_connection(sock=ours))
    mux.start()
    try:
        await mux.hello()
        # No `clock`: nothing of this host is changed.
        await mux.init({"nonce": "n"}, handler)
        yield TwoEnds(mux, port)
    finally:
        await mux.close()
        await asyncio.to_thread(thread.join, 60)
        for each in (theirs, nursery, cradle):
            each.close()
    assert not thread.is_alive(), "the guest's end has ended with its link"


def frames_of(data: bytes) -> list[wire.Frame]:
    return wire.Decoder().feed(data)
