"""Connecting this terminal with a program in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator

from aegis.sandbox.base import Process, Sandbox


async def interact(machine: Sandbox, argv: tuple[str, ...]) -> int:
    """Run a program with our standard input and output; returns its exit code (128 + n for signal n).

    With a terminal it gets a pseudo-terminal of the same size, which follows when ours is resized.
    """
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    size = os.get_terminal_size() if terminal else None
    process = await machine.exec(argv, terminal=(size.lines, size.columns) if size else None)
    with _raw() if terminal else contextlib.nullcontext():
        if terminal:
            _follow_size(process)
        feeding = asyncio.create_task(_feed(process))
        try:
            await asyncio.gather(_show(process.stdout(), 1), _show(process.stderr(), 2))
            status = await process.wait()
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
    await process.kill()
    return status.code if status.code is not None else 128 + (status.signal or 0)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _follow_size(process: Process) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def resized() -> None:
        size = os.get_terminal_size()
        task = loop.create_task(process.resize(size.lines, size.columns))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGWINCH, resized)


async def _feed(process: Process) -> None:
    """Standard input, read in a way that can be cancelled where it is a terminal or a pipe."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    try:
        loop.add_reader(0, arrived.set)
    except PermissionError:  # a regular file is always ready
        while data := os.read(0, 65536):
            await process.write(data)
        await process.close_stdin()
        return
    try:
        while True:
            await arrived.wait()
            arrived.clear()
            data = os.read(0, 65536)
            if not data:
                break
            await process.write(data)
        await process.close_stdin()
    finally:
        loop.remove_reader(0)


async def _show(chunks: object, fd: int) -> None:
    async for chunk in chunks:  # type: ignore[attr-defined]
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
