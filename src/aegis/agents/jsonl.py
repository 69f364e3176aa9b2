"""Protocol `jsonl`: a program that stays up and speaks one JSON object a line, in and out."""

from __future__ import annotations

from collections.abc import Callable

from aegis.agents.base import AgentResult, Earlier, UserTurns, nothing_waited
from aegis.agents.dialogue import Dialogue
from aegis.agents.lines import parse_object
from aegis.agents.record import AgentFault, Record
from aegis.agents.reported import Allowance
from aegis.agents.session import conduct, start_shell
from aegis.agents.tail import one_line
from aegis.sandbox.base import PreparedProcess, Process, Sandbox
from aegis.suite.model import Agent


class JsonlDriver:
    protocol = "jsonl"

    def check(self, agent: Agent) -> str | None:
        return None if agent.command.strip() else "the command is empty"

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
        dialogue = Dialogue(turns, _Listener(record).hear, on_turn)
        process = await start_shell(sandbox, agent)
        return await conduct(
            process,
            record,
            talk=dialogue.talk,
            farewell=dialogue.farewell,
            timeout_s=timeout_s,
            waited_s=waited_s,
        )

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
        dialogue = Dialogue(turns, _Listener(record).hear, asked=len(earlier.turns))
        return await conduct(
            process,
            record,
            talk=dialogue.talk,
            farewell=dialogue.farewell,
            timeout_s=timeout_s,
            waited_s=waited_s,
        )


class _Listener:
    """What each line of the agent means."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._allowance = Allowance()

    def hear(self, line: bytes) -> str | None:
        if not line.strip():
            return None
        try:
            message = parse_object(line)
            if message.get("type") == "tool_call":
                self._tool_call(message, len(line))
                return None
            if message.get("role") == "assistant":
                self._check_turn(message)
                return _content(message)
            if not isinstance(message.get("type"), str):
                shown = one_line(line[:400].decode("utf-8", "replace"), 100)
                kinds = 'neither {"role": "assistant"} nor any "type"'
                raise AgentFault(f"agent broke the protocol with an object of {kinds}: {shown}")
        except AgentFault:
            self._record.stdout.add(line + b"\n")
            raise
        self._record.stdout.add(line + b"\n")
        return None

    def _check_turn(self, message: dict[str, object]) -> None:
        """An answer may say which message it answers, counted from 1."""
        if "turn" not in message:
            return
        turn, answered = message["turn"], len(self._record.turns)
        if not isinstance(turn, int) or isinstance(turn, bool):
            raise AgentFault('agent broke the protocol with an answer whose "turn" is not a number')
        if 0 < turn <= answered:
            raise AgentFault(f"agent broke the protocol: turn {turn} was answered twice", quote_stderr=False)
        if turn != answered + 1:
            raise AgentFault(
                f"agent broke the protocol: it answered turn {turn}, but turn {answered + 1} is to be answered"
            )

    def _tool_call(self, message: dict[str, object], size_bytes: int) -> None:
        name = message.get("name")
        if not isinstance(name, str) or not name:
            raise AgentFault('agent broke the protocol with a tool_call whose "name" is not a text')
        self._allowance.spend(size_bytes)
        self._record.tool_call(name, message.get("arguments"), message.get("result"))


def _content(message: dict[str, object]) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        raise AgentFault('agent broke the protocol with an assistant message whose "content" is not a text')
    return content


driver = JsonlDriver()
