"""A conversation in JSON lines with a program that stays up: one message out, lines in until the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aegis.agents.lines import LineBuffer
from aegis.agents.record import AgentFault
from aegis.agents.session import Session, describe_end
from aegis.suite.model import Turn

FAREWELL_S = 2.0
"""How long a program may take to end by itself after its input was closed. One that stays is ended without
blame."""

Hear = Callable[[bytes], str | None]
"""Takes one line; returns the answer when the line is one. Raises `AgentFault`."""


class Dialogue:
    """The turns of one conversation. `hear` knows the lines' meaning, this class their order."""

    def __init__(
        self, turns: tuple[Turn, ...], hear: Hear, on_turn: Callable[[int], None] | None = None
    ) -> None:
        self._turns = turns
        self._hear = hear
        self._on_turn = on_turn
        self._lines = LineBuffer()

    async def talk(self, session: Session) -> None:
        """Send each message once the one before it was answered."""
        for index, turn in enumerate(self._turns):
            self._refuse_more_answers(index)
            if self._on_turn is not None:
                self._on_turn(index)
            session.record.ask(turn)
            message = json.dumps({"role": "user", "content": turn.user}, ensure_ascii=False)
            session.send(message.encode("utf-8", "replace") + b"\n")
            session.record.answer(await self._answer(session, index))

    async def farewell(self, session: Session) -> None:
        """Close its input, and see that it neither answers once more nor ends badly."""
        session.close_stdin()
        self._refuse_more_answers(len(self._turns))
        try:
            async with asyncio.timeout(FAREWELL_S):
                while (data := await session.chunk()) is not None:
                    self._lines.add(data)
                    self._refuse_more_answers(len(self._turns))
                status = await session.exit_status()
        except TimeoutError:
            return
        if not status.ok:
            raise AgentFault(f"{describe_end(status)} after its last answer")

    async def _answer(self, session: Session, index: int) -> str:
        while True:
            while (line := self._lines.line()) is not None:
                if (answer := self._hear(line)) is not None:
                    return answer
            data = await session.chunk()
            if data is not None:
                self._lines.add(data)
            elif (answer := self._unended_line(session)) is not None:
                return answer
            else:
                raise await self._early_end(session, index)

    def _unended_line(self, session: Session) -> str | None:
        """The answer in a last line without a line end. One that is broken was cut by the program's end,
        which is then what the failure tells."""
        rest = self._lines.rest()
        try:
            return self._hear(rest)
        except AgentFault:
            session.record.stdout.add(rest)
            return None

    async def _early_end(self, session: Session, index: int) -> AgentFault:
        where = f"before answering turn {index + 1} of {len(self._turns)}"
        try:
            async with asyncio.timeout(FAREWELL_S):
                status = await session.exit_status()
        except TimeoutError:
            return AgentFault(f"agent closed its standard output {where}")
        return AgentFault(f"{describe_end(status)} {where}")

    def _refuse_more_answers(self, asked: int) -> None:
        while (line := self._lines.line()) is not None:
            if self._hear(line) is not None:
                what = (
                    f"turn {asked} was answered twice" if asked else "an answer came before the first message"
                )
                raise AgentFault(f"agent broke the protocol: {what}", quote_stderr=False)
