"""The proxy port of a trial without a machine, when it ends under its clients."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

from aegis.sandbox.network import Connection, Destination, NetworkHandler
from aegis.sandbox.proxyport import ProxyPort

DEADLINE_S = 60.0


class Holding:
    """Reads one byte of each connection, and does nothing then."""

    def __init__(self) -> None:
        self.reached = asyncio.Semaphore(0)

    async def connect(self, connection: Connection, destination: Destination) -> None:
        await connection.read(1)
        self.reached.release()
        await asyncio.Event().wait()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks for {name}")


class Failing(Holding):
    async def connect(self, connection: Connection, destination: Destination) -> None:
        self.reached.release()
        raise RuntimeError("broken on purpose")


async def dial(port: ProxyPort) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(port.url).port)
    writer.write(b"x")
    return reader, writer


def troubles() -> list[dict[str, Any]]:
    """What would be printed as a traceback."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context))
    return found


def end_under(handler: type[Holding], count: int) -> list[dict[str, Any]]:
    async def scenario() -> list[dict[str, Any]]:
        found = troubles()
        made = handler()
        typed: NetworkHandler = made  # type: ignore[assignment]
        port = ProxyPort(typed)
        await port.open()
        clients = [await dial(port) for _ in range(count)]
        for _ in clients:
            await made.reached.acquire()
        await port.close()
        for reader, writer in clients:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        await asyncio.sleep(0)
        return found

    async def bounded() -> list[dict[str, Any]]:
        async with asyncio.timeout(DEADLINE_S):
            return await scenario()

    return asyncio.run(bounded())


def test_connections_that_the_end_cuts_off_leave_no_traceback() -> None:
    assert end_under(Holding, 3) == []


def test_a_handler_that_breaks_is_told_once_for_each_connection() -> None:
    found = end_under(Failing, 2)
    assert [str(context.get("exception")) for context in found] == ["broken on purpose"] * 2
