"""Protocol `text`: a program run once, messages on standard input, the answer on standard output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aegis.agents.base import MAX_ANSWER_BYTES, AgentResult, UserTurns, nothing_waited
from aegis.agents.record import AgentFault, Record
from aegis.agents.session import Session, conduct, describe_end, start_shell
from aegis.errors import UsageError
from aegis.sandbox.base import PreparedProcess, Sandbox
from aegis.suite.model import Agent
from aegis.suite.units import format_size


class TextDriver:
    """The command runs once under `sh -c` in /workspace.

    Several messages are separated by one empty line, and the output answers all of them: it is the last
    turn's answer, those of the turns before it are ""."""

    protocol = "text"

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
        if turns.total is None:
            raise UsageError(
                "the protocol text hands over all messages at once: what a user says cannot depend on the answers",
                fix="Use the protocol jsonl, python, chat or acp (docs/agents.md).",
            )
        record = Record(waited_s)

        async def talk(session: Session) -> None:
            messages: list[str] = []
            while (message := await turns.next("" if messages else None)) is not None:
                if messages:
                    record.answer("")
                if on_turn is not None:
                    on_turn(len(messages))
                record.ask(message)
                messages.append(message)
            session.send(as_input(messages))
            session.close_stdin()
            record.answer(await _answer(session))

        process = await start_shell(sandbox, agent)
        return await conduct(process, record, talk=talk, timeout_s=timeout_s, waited_s=waited_s)


def as_input(messages: Sequence[str]) -> bytes:
    """The messages as one text: each ends its line, one empty line stands between two."""
    return "\n".join(message.rstrip("\n") + "\n" for message in messages).encode("utf-8", "replace")


async def _answer(session: Session) -> str:
    record, output = session.record, bytearray()
    while (data := await session.chunk()) is not None:
        record.stdout.add(data)
        output += data
        if len(output) > MAX_ANSWER_BYTES:
            raise AgentFault(f"agent printed more than {format_size(MAX_ANSWER_BYTES)}", quote_stderr=False)
    status = await session.exit_status()
    record.stop_clock()
    if not status.ok:
        raise AgentFault(describe_end(status))
    record.stdout.clear()
    text = output.decode("utf-8", "replace")
    if "\ufffd" in text and text.encode("utf-8") != output:
        record.stdout.add("the answer held bytes that are not UTF-8; they are shown as \ufffd".encode())
    return text.rstrip("\r\n")


driver = TextDriver()
