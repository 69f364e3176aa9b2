"""What a user's own scoring function is given: the trial's words and its machine, usable without `await`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import MAX_GET_BYTES
from aegis.scoring.base import ScoreContext
from aegis.scoring.words import why_unreadable
from aegis.trace import ToolCall, Trace, TurnRecord

T = TypeVar("T")


class MissingFileError(FileNotFoundError):
    """A file that the agent was to leave behind can't be read. Uncaught, it is a failed score, not an
    error."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command in the sandbox ended. `exit_code` is None when a signal or the time limit ended it."""

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool


class UserContext:
    """The one argument of a scoring function, beside its `args`. Its methods may be called from any
    thread."""

    def __init__(self, context: ScoreContext, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop
        self._closed = threading.Event()

    @property
    def answer(self) -> str:
        """The last turn's answer."""
        return self._context.trace.answer

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        return self._context.trace.turns

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Each once, however it was seen: reported by the agent, asked for by a model, run by an MCP server."""
        return self._context.trace.tool_calls

    @property
    def trace(self) -> Trace:
        return self._context.trace

    @property
    def case_id(self) -> str:
        return self._context.case.id

    def read_file(self, path: str) -> str:
        """The text of a file of the sandbox, relative to /workspace; bytes that aren't UTF-8 become U+FFFD.
        Raises `MissingFileError` (a `FileNotFoundError`)."""
        return self.read_bytes(path).decode("utf-8", "replace")

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file, at most 64 MiB. Raises `MissingFileError`."""
        try:
            return self._wait(self._context.sandbox.get_file(path, max_bytes=MAX_GET_BYTES))
        except GuestOperationError as error:
            raise MissingFileError(why_unreadable(path, error, MAX_GET_BYTES)) from None

    def run(self, command: str, *, timeout_s: float = 60.0) -> CommandResult:
        """Run a shell command in /workspace and wait for its end; each output is kept up to 1 MiB."""
        argv = ("/bin/sh", "-c", command)
        done = self._wait(self._context.sandbox.run(argv, timeout_s=timeout_s))
        code = None if done.timed_out else done.status.code
        out, err = (data.decode("utf-8", "replace") for data in (done.stdout, done.stderr))
        return CommandResult(code, out, err, done.timed_out)

    def close(self) -> None:
        """Scoring is over: a function that is still running can't reach the sandbox any more."""
        self._closed.set()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed.is_set():
            work.close()
            raise InfrastructureError("scoring of this trial is over")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
