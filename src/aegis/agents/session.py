"""One agent's process, from its first byte to its certain end, whatever it does in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aegis.agents.base import AgentResult, UserFault, UserTurns, nothing_waited
from aegis.agents.deadline import OwnTimeLimit
from aegis.agents.record import AgentFault, Record
from aegis.agents.tail import Tail, last_line
from aegis.errors import GuestOperationError, SandboxError, SandboxLostError
from aegis.sandbox.base import ExitStatus, Process, Sandbox
from aegis.suite.model import Agent
from aegis.suite.units import format_duration, format_size

DRAIN_GRACE_S = 1.0
"""How long output may still arrive after the program ended: longer only when a child of it holds the pipe
open."""

MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""So much may wait for an agent that does not read before it gets more."""

END_S = 60.0
"""How long ending an agent may take on a very slow host before the sandbox counts as broken."""


async def start_shell(sandbox: Sandbox, agent: Agent) -> Process:
    """Start the agent's command in a fresh machine.

    A shell that can't be started is no failure of the agent, which hasn't run yet: raises
    `GuestOperationError`."""
    try:
        return await sandbox.exec(("/bin/sh", "-c", agent.command), env=agent.env)
    except GuestOperationError as error:
        raise GuestOperationError(
            f"the agent's command cannot be started, since /bin/sh cannot: {error}",
            code=error.code,
            fix="Use an image with a shell at /bin/sh, or check what `setup` does to it.",
        ) from error


def shares_host(sandbox: Sandbox) -> bool:
    """Whether trials run as plain programs of the host: its ports are theirs, and `/workspace` is a folder of it."""
    return sandbox.info.driver == "process"


def turn_name(number: int, turns: UserTurns) -> str:
    """For a failure: `turn 3 of 40`, or `turn 3` where nobody knows how many there will be."""
    return f"turn {number}" if turns.total is None else f"turn {number} of {turns.total}"


def describe_end(status: ExitStatus) -> str:
    """For a failure: `agent ended with exit code 3`, `agent was killed by signal 9`."""
    return f"agent {'ended with' if status.signal is None else 'was'} {status.describe()}"


class Session:
    """The process with both outputs read at once and its input fed in the background."""

    def __init__(self, process: Process, record: Record) -> None:
        self.process = process
        self.record = record
        self._stdout = aiter(process.stdout())
        self._next: asyncio.Task[bytes | None] | None = None
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent_bytes = 0
        self._exited = asyncio.create_task(process.wait())
        self._exited.add_done_callback(lambda _: record.mark_end())
        self._stderr = asyncio.create_task(_drain(process.stderr(), record.stderr))
        self._writer = asyncio.create_task(self._write())
        self._sweep_at: float | None = None
        self._swept = False

    def send(self, data: bytes) -> None:
        """Queue bytes for standard input; an agent that doesn't read them can't hold up its reader. Raises `AgentFault`
        when more than `MAX_UNSENT_BYTES` wait already."""
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            size = format_size(MAX_UNSENT_BYTES)
            raise AgentFault(
                f"agent goes on without reading its input, of which more than {size} wait for it"
            )
        self._unsent_bytes += len(data)
        self._input.put_nowait(data)

    def close_stdin(self) -> None:
        """End of file, after everything sent."""
        self._input.put_nowait(None)

    async def chunk(self) -> bytes | None:
        """The next piece of standard output; None at its end."""
        if self._next is None:
            self._next = asyncio.create_task(_advance(self._stdout))
        if not self._exited.done():
            await asyncio.wait({self._next, self._exited}, return_when=asyncio.FIRST_COMPLETED)
        if self._exited.done():
            self._exited.result()
            await self._take_leave(self._next)
        if not self._next.done():
            return None
        data, self._next = self._next.result(), None
        return data

    async def arrived(self) -> bytes | None:
        """What of the standard output has come already, without waiting for more; None when nothing has."""
        if self._next is None:
            self._next = asyncio.create_task(_advance(self._stdout))
            await asyncio.sleep(0)
        if not self._next.done() or self._next.result() is None:
            return None
        data, self._next = self._next.result(), None
        return data

    async def _take_leave(self, pending: asyncio.Task[bytes | None]) -> None:
        """The program has ended. Its output usually ends at once; what it left behind may hold it open, or
        even go on writing: that gets `DRAIN_GRACE_S` and is killed, after which only what is on its way
        already can arrive."""
        clock = asyncio.get_running_loop().time
        if self._sweep_at is None:
            self._sweep_at = clock() + DRAIN_GRACE_S
        if not self._swept:
            await asyncio.wait({pending}, timeout=max(0.0, self._sweep_at - clock()))
            if pending.done() and clock() < self._sweep_at:
                return
            self._swept = True
            await self.process.kill()
        await asyncio.wait({pending}, timeout=DRAIN_GRACE_S)

    async def exit_status(self) -> ExitStatus:
        """Wait for the program's end and note it."""
        status = await asyncio.shield(self._exited)
        self.record.exit = status.describe()
        return status

    async def end(self) -> None:
        """Kill what is left, children included, and take in the rest of standard error."""
        async with asyncio.timeout(END_S):
            await self.process.kill()
            await asyncio.wait({self._exited})
            self._exited.result()
            await asyncio.wait({self._stderr}, timeout=DRAIN_GRACE_S)
            if self._stderr.done():
                self._stderr.result()

    async def release(self) -> None:
        """Stop reading and writing. The process is not touched."""
        tasks = [task for task in (self._next, self._exited, self._stderr, self._writer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while (data := await self._input.get()) is not None:
            await self.process.write(data)
            self._unsent_bytes -= len(data)
        await self.process.close_stdin()


async def conduct(
    process: Process,
    record: Record,
    *,
    talk: Callable[[Session], Awaitable[None]],
    farewell: Callable[[Session], Awaitable[None]] | None = None,
    timeout_s: float,
    waited_s: Callable[[], float] = nothing_waited,
) -> AgentResult:
    """Run `talk` within the time allowed, to which what `waited_s()` grows by is added, then `farewell` (which bounds
    itself), and end the agent for certain.

    Both raise `AgentFault` for what the agent does wrong; `talk` may raise `UserFault`. Raises `SandboxError`s, but not
    the loss of a machine that its own workload ended: that is the agent's failure."""
    session = Session(process, record)
    limit = OwnTimeLimit(timeout_s, waited_s)
    failure: str | None = None
    user_fault: str | None = None
    quote_stderr = timed_out = False
    try:
        try:
            async with limit:
                await talk(session)
            if farewell is not None:
                await farewell(session)
        except TimeoutError:
            if not limit.expired():
                raise
            timed_out = True
            record.stop_clock()
            which = f" to turn {len(record.turns) + 1}" if record.turns else ""
            failure = f"timed out: no complete answer{which} within {limit.describe()}"
        except AgentFault as fault:
            record.stop_clock()
            failure, quote_stderr = fault.text, fault.quote_stderr
        except UserFault as unable:
            record.stop_clock()
            user_fault = str(unable)
        try:
            await session.end()
        except (SandboxError, TimeoutError) as error:
            # Already judged: what the machine does in its last moment can't make the agent's failure less
            # certain.
            if failure is None and user_fault is None:
                raise _not_ended(error) from error
    except SandboxLostError as lost:
        if not lost.by_guest:
            raise
        record.stop_clock()
        failure, quote_stderr, timed_out = "the agent shut its machine down", False, False
    finally:
        await session.release()
    if quote_stderr and (words := last_line(record.stderr.text())):
        failure = f"{failure}: {words}"
    return AgentResult(record.trace(), failure, timed_out, user_fault)


def _not_ended(error: SandboxError | TimeoutError) -> SandboxError:
    if isinstance(error, SandboxError):
        return error
    return SandboxLostError(
        f"the sandbox did not end the agent's processes within {format_duration(END_S)}",
        fix="The host may be overloaded: lower --jobs.",
    )


async def _drain(chunks: AsyncIterator[bytes], tail: Tail) -> None:
    async for data in chunks:
        tail.add(data)


async def _advance(chunks: AsyncIterator[bytes]) -> bytes | None:
    with contextlib.suppress(StopAsyncIteration):
        return await anext(chunks)
    return None
