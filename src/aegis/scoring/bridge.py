"""Client libraries that want a socket, on a connection into the sandbox."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from aegis.errors import SandboxError
from aegis.sandbox.base import Process

T = TypeVar("T")

READ_SIZE = 65536
ENDING_S = 30.0
"""How long ending the connection may take."""


class TooMuchError(Exception):
    """The other side sent more than it may."""


async def over(
    connection: Process, work: Callable[[socket.socket], T], *, timeout_s: float, max_bytes: int
) -> T:
    """Run `work`, which blocks, in a thread with a socket whose other end is the connection, and end both.

    Raises what `work` raises, `TimeoutError` after `timeout_s`, `TooMuchError` when more than `max_bytes` arrive, and
    `SandboxError` when the machine is lost, whatever `work` made of that.
    """
    ours, theirs = socket.socketpair()
    theirs.settimeout(timeout_s)
    reader, writer = await asyncio.open_connection(sock=ours)
    arriving = asyncio.create_task(_arrive(connection, writer, max_bytes))
    leaving = asyncio.create_task(_leave(connection, reader))
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(work, theirs)
    except Exception:
        if arriving.done() and not arriving.cancelled() and (error := arriving.exception()) is not None:
            raise error from None
        raise
    finally:
        # Wakes the thread, which may be waiting for an answer that never comes.
        with suppress(OSError):
            theirs.shutdown(socket.SHUT_RDWR)
        theirs.close()
        for task in (arriving, leaving):
            task.cancel()
        await asyncio.gather(arriving, leaving, return_exceptions=True)
        writer.close()
        await end(connection)


async def end(connection: Process) -> None:
    """Close a connection. What goes wrong with that is found by whatever comes next."""
    with suppress(SandboxError, TimeoutError):
        async with asyncio.timeout(ENDING_S):
            await connection.kill()


async def _arrive(connection: Process, writer: asyncio.StreamWriter, max_bytes: int) -> None:
    try:
        async for data in connection.stdout():
            max_bytes -= len(data)
            if max_bytes < 0:
                raise TooMuchError
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()
    finally:
        writer.close()


async def _leave(connection: Process, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(READ_SIZE):
        await connection.write(data)
    await connection.close_stdin()
