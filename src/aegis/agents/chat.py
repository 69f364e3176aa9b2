"""Protocol `chat`: an HTTP server in the sandbox that answers chat completions in OpenAI's format.

Source of the format: https://platform.openai.com/docs/api-reference/chat/create (2026-11-23).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from aegis.agents.base import AgentResult, Earlier, UserTurns, nothing_waited
from aegis.agents.chatreply import Reply, read_reply
from aegis.agents.dialogue import FAREWELL_S
from aegis.agents.httpcall import BrokenOffError, post
from aegis.agents.record import AgentFault, Record
from aegis.agents.reported import Allowance
from aegis.agents.session import (
    DRAIN_GRACE_S,
    END_S,
    Session,
    conduct,
    describe_end,
    shares_host,
    start_shell,
    turn_name,
)
from aegis.errors import GuestOperationError, SandboxError
from aegis.sandbox.base import PreparedProcess, Process, Sandbox
from aegis.suite.model import Agent
from aegis.suite.units import format_duration

PATH = "/v1/chat/completions"
MODEL = "agent"
"""The format demands a model; a server that is an agent has no choice of them."""
PORT_VARIABLE = "PORT"
RECONNECT_S = 2.0
"""How long a server that has answered before may take to listen again. One that has ended is known to by then."""


class ChatDriver:
    """The command's server is started once and answers one request a turn. Each is a connection of its own."""

    protocol = "chat"

    def check(self, agent: Agent) -> str | None:
        if not agent.command.strip():
            return "the command is empty"
        if PORT_VARIABLE in agent.env:
            return f"{PORT_VARIABLE} in env is set by Aegis for this protocol: use agent.port"
        return None

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[PreparedProcess, ...]:
        return ()

    async def converse(
        self,
        sandbox: Sandbox,
        agent: Agent,
        turns: UserTurns,
        *,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
        on_turn: Callable[[int], None] | None = None,
    ) -> AgentResult:
        record = Record(waited_s)
        port = _free_port() if shares_host(sandbox) else agent.port
        told = agent.model_copy(update={"env": {**agent.env, PORT_VARIABLE: str(port)}})
        client = _Client(sandbox, record, turns, port, agent.ready_timeout, on_turn)
        process = await start_shell(sandbox, told)
        return await conduct(process, record, talk=client.talk, timeout_s=timeout_s, waited_s=waited_s)

    async def resume(
        self,
        sandbox: Sandbox,
        process: Process,
        agent: Agent,
        turns: UserTurns,
        *,
        earlier: Earlier,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
    ) -> AgentResult:
        record = Record(waited_s, earlier)
        client = _Client(sandbox, record, turns, agent.port, agent.ready_timeout, None)
        return await conduct(process, record, talk=client.talk, timeout_s=timeout_s, waited_s=waited_s)


def _free_port() -> int:
    """Of this host: trials without a machine share its ports, and must not meet each other's servers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Client:
    """Asks turn after turn, and notices when the server ends meanwhile."""

    def __init__(
        self,
        sandbox: Sandbox,
        record: Record,
        turns: UserTurns,
        port: int,
        ready_timeout_s: float,
        on_turn: Callable[[int], None] | None,
    ) -> None:
        self._sandbox = sandbox
        self._record = record
        self._turns = turns
        self._port = port
        self._ready_timeout_s = ready_timeout_s
        self._on_turn = on_turn
        self._history = History(record)
        self._allowance = Allowance()
        self._asked = len(record.turns)

    async def talk(self, session: Session) -> None:
        session.close_stdin()
        reading = asyncio.create_task(_keep_output(session))
        try:
            answer: str | None = None
            while (user := await self._turns.next(answer)) is not None:
                if self._on_turn is not None:
                    self._on_turn(self._asked)
                self._record.ask(user)
                self._asked += 1
                answer = await self._while_up(session, self._answer(user))
                self._record.answer(answer)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _while_up(self, session: Session, asking: Awaitable[str]) -> str:
        """The answer. Raises `AgentFault` when the server's program ends before it has come."""
        work, ended = asyncio.ensure_future(asking), asyncio.ensure_future(session.exit_status())
        try:
            await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
            # What it sent at last may still be on its way, and so may the news of its end.
            await asyncio.wait({work}, timeout=DRAIN_GRACE_S)
            if work.done():
                try:
                    return work.result()
                except BrokenOffError as broken:
                    await asyncio.wait({ended}, timeout=FAREWELL_S)
                    if not ended.done():
                        raise AgentFault(f"agent {broken} {self._where()}") from None
            raise AgentFault(f"{describe_end(ended.result())} {self._where()}")
        finally:
            for task in (work, ended):
                task.cancel()
            await asyncio.gather(work, ended, return_exceptions=True)

    def _where(self) -> str:
        return f"before answering {turn_name(self._asked, self._turns)}"

    async def _answer(self, user: str) -> str:
        connection = await self._connect()
        try:
            size_bytes = self._history.ask(user)
            response = await post(
                connection,
                host=f"127.0.0.1:{self._port}",
                path=PATH,
                content_type="application/json",
                size_bytes=size_bytes,
                body=self._history.request(),
            )
        finally:
            await _end(connection)
        reply = read_reply(response, turn_name(self._asked, self._turns))
        self._history.answered(reply.content)
        self._report(reply)
        return reply.content

    async def _connect(self) -> Process:
        first = self._asked == 1
        patience_s = self._ready_timeout_s if first else RECONNECT_S
        try:
            return await self._sandbox.dial(self._port, wait_s=patience_s)
        except GuestOperationError as error:
            if error.code != "not-found":
                raise AgentFault(f"agent cannot be reached {self._where()}: {error}") from None
        if not first:
            raise BrokenOffError(f"no longer listens on port {self._port}")
        waited = format_duration(patience_s)
        hint = f" (the one in ${PORT_VARIABLE})" if shares_host(self._sandbox) else ""
        raise AgentFault(f"agent did not listen on port {self._port}{hint} within {waited}")

    def _report(self, reply: Reply) -> None:
        for call in reply.tool_calls:
            self._allowance.spend(call.size_bytes)
            self._record.tool_call(call.name, call.arguments, None, id=call.id)


async def _keep_output(session: Session) -> None:
    """The server's output is no part of the conversation, but it must be read."""
    while (data := await session.chunk()) is not None:
        session.record.stdout.add(data)


async def _end(connection: Process) -> None:
    """What goes wrong with its end is found by whatever comes next."""
    with suppress(SandboxError, TimeoutError):
        async with asyncio.timeout(END_S):
            await connection.kill()


class History:
    """The requests of a conversation. Nothing is kept here but a length: the texts are the record's own, and each
    request is written from them piece by piece, so that a long conversation is held once."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._user = ""
        self._kept_bytes = 0
        for number, turn in enumerate(record.turns):  # said before this conversation went on
            self._kept_bytes += len(_message("user", turn.user)) + (1 if number else 0)
            self.answered(turn.answer)

    def ask(self, user: str) -> int:
        """The next message; the length of the request in bytes."""
        self._user = user
        self._kept_bytes += len(_message("user", user)) + (1 if self._record.turns else 0)
        return len(_HEAD) + self._kept_bytes + len(_TAIL)

    def answered(self, content: str) -> None:
        self._kept_bytes += 1 + len(_message("assistant", content))

    def request(self) -> Iterator[bytes]:
        yield _HEAD
        for turn in self._record.turns:
            yield _message("user", turn.user) + b","
            yield _message("assistant", turn.answer) + b","
        yield _message("user", self._user)
        yield _TAIL


def _message(role: str, content: str) -> bytes:
    return _json({"role": role, "content": content})


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


_HEAD = b'{"model": "%s", "stream": false, "messages": [' % MODEL.encode()
_TAIL = b"]}"

driver = ChatDriver()
