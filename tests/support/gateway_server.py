"""The gateway behind a listening socket, for clients that know nothing of it, and upstreams for it to reach.

`GatewayServer` plays the guest's connector: each accepted socket becomes a `ByteStream` with an `Origin`. Everything
runs in one event loop in a thread of its own, so that blocking clients can be used from the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from aegis.gateway import Authority, Bounds, Gateway, GatewayConfig, Origin, Session, SocketStream
from aegis.trace import Exchange

T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def close(self) -> None:
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Blobs(dict[str, bytes]):
    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self[digest] = data
        return digest


class GatewayServer:
    """One session of a gateway on loopback ports; `exchanges` and `blobs` are what it recorded."""

    def __init__(self, loop: Loop, gateway: Gateway, **session: Any) -> None:
        self.loop = loop
        self.gateway = gateway
        self.exchanges: list[Exchange] = []
        self._recorded = asyncio.Event()
        self.blobs = Blobs()
        self.session: Session = gateway.session("case/baseline/1", self._record, self.blobs.put, **session)
        self._servers: list[asyncio.Server] = []

    def _record(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self._recorded.set()

    def listen(self, origin: Origin, port: int = 0) -> int:
        """A port (this one, or any) whose connections arrive by this origin."""

        async def accepted(stream: SocketStream) -> None:
            await self.session.handle(stream, origin)

        made = self.loop.loop.create_server(lambda: SocketStream(accepted), "127.0.0.1", port, backlog=1024)
        server = self.loop.run(made)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.listen(Origin.proxy())}"

    def wait_for(self, count: int, timeout_s: float = 20) -> list[Exchange]:
        """The exchanges, once this many have ended, ordered by id."""

        async def enough() -> None:
            while len(self.exchanges) < count:
                self._recorded.clear()
                await self._recorded.wait()

        self.loop.run(asyncio.wait_for(enough(), timeout_s))
        return sorted(self.exchanges, key=lambda item: item.id)

    def close_listeners(self) -> None:
        async def close() -> None:
            for server in self._servers:
                server.close()

        self.loop.run(close())

    def close(self) -> None:
        self.close_listeners()
        self.loop.run(self.session.close())
        self.gateway.close()


class World:
    """A test's event loop with everything that runs in it."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.folder = folder
        self._open: list[GatewayServer] = []
        self._upstreams: list[asyncio.Server] = []
        self._authority: Authority | None = None

    def upstream(self, handler: Handler, **listen: Any) -> int:
        """A server on loopback; its port."""

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.close()

        server = self.loop.run(asyncio.start_server(served, "127.0.0.1", 0, **listen))
        self._upstreams.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def gateway(
        self,
        config: GatewayConfig | None = None,
        *,
        session: dict[str, Any] | None = None,
        gateway: dict[str, Any] | None = None,
        **fields: Any,
    ) -> GatewayServer:
        """A gateway with this configuration, or with the configuration that `fields` make."""
        made = Gateway(config or GatewayConfig(**fields), **(gateway or {}))

        async def start() -> GatewayServer:
            return GatewayServer(self.loop, made, **(session or {}))

        server = self.loop.run(start())
        self._open.append(server)
        return server

    def free_port(self) -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
            return port

    def wait_for_port(self, port: int, timeout_s: float = 60) -> None:
        """Until something listens there. Raises `OSError` when nothing does in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def ca_file(self, server: GatewayServer) -> str:
        path = self.folder / "ca.pem"
        path.write_text(server.gateway.ca_pem)
        return str(path)

    def close(self) -> None:
        for server in self._open:
            server.close()
        for upstream in self._upstreams:
            self.loop.loop.call_soon_threadsafe(upstream.close)
        self.loop.close()


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    made = World(folder)
    try:
        yield made
    finally:
        made.close()


def quick(**changes: Any) -> Bounds:
    """Bounds with short deadlines, for tests of what happens when one passes."""
    return Bounds(**{"head_timeout_s": 0.5, "body_timeout_s": 0.5, "response_timeout_s": 0.5, **changes})
