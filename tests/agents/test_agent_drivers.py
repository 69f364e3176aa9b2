"""What all drivers have in common: how they are found, and whose fault a lost machine is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aegis.agents import get, protocols
from aegis.agents.lines import LineBuffer
from aegis.agents.record import AgentFault
from aegis.agents.tail import Tail, last_line, one_line
from aegis.agents.users import ScriptedUser
from aegis.errors import GuestOperationError, GuestProtocolError, SandboxError, SandboxLostError, UsageError
from aegis.sandbox.base import ExitStatus, SandboxInfo
from aegis.suite.model import Agent


def test_every_protocol_has_a_driver_of_its_name() -> None:
    assert protocols() == ["text", "jsonl", "python", "chat", "acp"]
    assert [get(name).protocol for name in protocols()] == protocols()


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown agent protocol 'grpc'"):
        get("grpc")


@pytest.mark.parametrize("protocol", ["text", "jsonl", "chat", "acp"])
def test_commands_are_checked(protocol: Any) -> None:
    assert get(protocol).check(Agent(command="python3 a.py", protocol=protocol)) is None
    assert get(protocol).check(Agent(command="  ", protocol=protocol)) == "the command is empty"
    assert get(protocol).prepare(Agent(command="x", protocol=protocol)) == ()


@pytest.mark.parametrize(
    "command", ["python3 agent.py", "agent", "agent:", ":f", "a-b:c", "a:b:c", "a.py:f()"]
)
def test_functions_are_checked(command: str) -> None:
    message = get("python").check(Agent(command=command, protocol="python"))
    assert message is not None
    assert "module:function" in message


@pytest.mark.parametrize("command", ["agent:answer", "pkg.sub:Class.method", "größe:f"])
def test_good_functions_pass_the_check(command: str) -> None:
    assert get("python").check(Agent(command=command, protocol="python")) is None


class LostProcess:
    """A process whose machine goes away before it says anything."""

    def __init__(self, error: SandboxError, killed: SandboxError | None = None) -> None:
        self.error, self.killed = error, killed

    async def write(self, data: bytes) -> None:
        raise self.error

    async def close_stdin(self) -> None:
        raise self.error

    async def _nothing(self) -> AsyncIterator[bytes]:
        raise self.error
        yield b""

    def stdout(self) -> AsyncIterator[bytes]:
        return self._nothing()

    stderr = stdout

    async def signal(self, number: int) -> None:
        raise self.error

    async def kill(self) -> None:
        raise self.killed or self.error

    async def resize(self, rows: int, columns: int) -> None:
        raise self.error

    async def wait(self) -> ExitStatus:
        raise self.error


class OneProcess:
    """A sandbox whose every start gives one process, or one error."""

    network = None
    info = SandboxInfo("fake", "fake", 0.0, restored=False, memory_mib=0)

    def __init__(self, process: Any) -> None:
        self.process = process

    async def exec(self, argv: tuple[str, ...], **options: Any) -> Any:
        if isinstance(self.process, Exception):
            raise self.process
        return self.process

    async def attach(self, name: str) -> Any:
        return await self.exec((name,))

    async def dial(self, port: int, *, wait_s: float) -> Any:
        return await self.exec((str(port),))


def converse_with(protocol: Any, process: Any) -> Any:
    agent = Agent(command="a:b", protocol=protocol)
    work = get(protocol).converse(OneProcess(process), agent, ScriptedUser("x"), timeout_s=60)  # type: ignore[arg-type]
    return asyncio.run(work)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["text", "jsonl", "python", "chat", "acp"])
def test_an_agent_that_shuts_its_machine_down_has_failed(protocol: str) -> None:
    result = converse_with(protocol, LostProcess(SandboxLostError("rebooted", by_guest=True)))
    assert result.failure == "the agent shut its machine down"
    assert not result.timed_out
    assert [turn.user for turn in result.trace.turns] == ["x"]


@pytest.mark.parametrize("protocol", ["text", "jsonl", "python", "chat", "acp"])
@pytest.mark.parametrize("error", [SandboxLostError("gone"), GuestProtocolError("bad frame")])
def test_a_machine_lost_otherwise_is_not_the_agents_failure(protocol: str, error: SandboxError) -> None:
    with pytest.raises(type(error), match=str(error)):
        converse_with(protocol, LostProcess(error))


@pytest.mark.parametrize("protocol", ["text", "jsonl", "chat", "acp"])
def test_an_image_without_a_shell_is_not_the_agents_failure(protocol: str) -> None:
    with pytest.raises(GuestOperationError, match="/bin/sh") as caught:
        converse_with(protocol, GuestOperationError("not found", code="not-found"))
    assert caught.value.code == "not-found"
    assert "shell" in str(caught.value.fix)


class AnsweredThenStuck(LostProcess):
    """Breaks the protocol, then the machine breaks while it is being ended."""

    async def write(self, data: bytes) -> None:
        return

    async def _line(self) -> AsyncIterator[bytes]:
        yield b"not the protocol\n"
        await asyncio.sleep(3600)

    def stdout(self) -> AsyncIterator[bytes]:
        return self._line()

    stderr = stdout

    async def wait(self) -> ExitStatus:
        await asyncio.sleep(3600)
        raise self.error


def test_a_certain_failure_stays_one_when_the_machine_breaks_afterwards() -> None:
    result = converse_with("jsonl", AnsweredThenStuck(SandboxLostError("gone")))
    assert "not JSON: not the protocol" in result.failure


def test_a_cancelled_conversation_leaves_no_task_behind() -> None:
    async def body() -> int:
        agent = Agent(command="x", protocol="jsonl")
        sandbox = OneProcess(AnsweredThenStuck(SandboxLostError("gone"), SandboxLostError("gone")))
        sandbox.process._line = lambda: _silence()
        work = get("jsonl").converse(sandbox, agent, ScriptedUser("x"), timeout_s=60)  # type: ignore[arg-type]
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    async def _silence() -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    assert asyncio.run(body()) == 1


def test_lines_are_cut_wherever_the_chunks_are() -> None:
    for step in range(1, 12):
        buffer, lines = LineBuffer(limit=10), []
        stream = b"one\n\ntwo three\nrest"
        for start in range(0, len(stream), step):
            buffer.add(stream[start : start + step])
            while (line := buffer.line()) is not None:
                lines.append(line)
        assert lines == [b"one", b"", b"two three"]
        assert buffer.rest() == b"rest"


@pytest.mark.parametrize("stream", [b"x" * 11, b"x" * 11 + b"\n"])
def test_a_line_over_the_limit_is_refused(stream: bytes) -> None:
    buffer = LineBuffer(limit=10)
    buffer.add(b"x" * 10 + b"\n")
    assert buffer.line() == b"x" * 10
    buffer.add(stream)
    with pytest.raises(AgentFault, match="longer than 10B"):
        buffer.line()


def test_a_tail_keeps_the_end_and_no_half_character() -> None:
    tail = Tail(limit=5)
    for char in "aäöü":
        tail.add(char.encode())
    assert tail.text() == "öü"
    tail.add(b"0123456789" * 1000)
    assert tail.text() == "56789"


def test_untrusted_text_in_one_line() -> None:
    assert one_line("a\x1b[31m\n\tb\u202ec") == "a [31m b c"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"
    assert last_line("first\nlast \n\n \x07 \n") == "last"
    assert last_line("\n\n") == ""
