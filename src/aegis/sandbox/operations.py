"""Operations of a machine that are programs with an input and an output of bounded size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from aegis.errors import GuestProtocolError, SandboxError
from aegis.sandbox.base import ExitStatus
from aegis.sandbox.mux import MuxProcess, operation_error


async def collect(
    process: MuxProcess, stdin: bytes, max_bytes: int, overflow: SandboxError | None = None
) -> tuple[bytes, bytes, ExitStatus]:
    """Feed an operation and read it to its end: its output, what it says of a failure, its status.

    Raises `overflow`, or GuestProtocolError, when it sends more than `max_bytes`.
    """

    async def feed() -> None:
        await process.write(stdin)
        await process.close_stdin()

    async def read(chunks: AsyncIterator[bytes], limit: int) -> bytes:
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            if len(data) > limit:
                raise overflow or GuestProtocolError(
                    f"the machine sent more than the {limit} bytes that were asked for"
                )
        return bytes(data)

    out, err, _ = await together(read(process.stdout(), max_bytes), read(process.stderr(), 65536), feed())
    return out or b"", err or b"", await process.wait()


async def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all to their end; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def check_operation(status: ExitStatus, stderr: bytes) -> None:
    """Raise the failure that a file operation reported."""
    if status.ok:
        return
    try:
        report = json.loads(stderr)
    except (ValueError, RecursionError):
        report = {"code": "failed", "message": f"the operation ended with {status.describe()}"}
    raise operation_error(report)
