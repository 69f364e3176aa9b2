"""A conversation in JSON lines with a program that stays up: one message out, lines in until the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aegis.agents.base import UserTurns
from aegis.agents.lines import LineBuffer
from aegis.agents.record import AgentFault
from aegis.agents.session import Session, describe_end, turn_name

FAREWELL_S = 2.0
"""How long a program may take to end by itself after its input was closed. One that stays is ended without
blame."""

Hear = Callable[[bytes], str | None]
"""Takes one line; returns the answer when the line is one. Raises `AgentFault`."""


async def early_end(session: Session, where: str) -> AgentFault:
    """Why the standard output has ended. `where`: `before answering turn 2 of 3`."""
    try:
        async with asyncio.timeout(FAREWELL_S):
            status = await session.exit_status()
    except TimeoutError:
        return AgentFault(f"agent closed its standard output {where}")
    return AgentFault(f"{describe_end(status)} {where}")


class Dialogue:
    """The turns of one conversation. `hear` knows the lines' meaning, this class their order."""

    def __init__(
        self,
        turns: UserTurns,
        hear: Hear,
        on_turn: Callable[[int], None] | None = None,
        *,
        asked: int = 0,
    ) -> None:
        """`asked`: how many messages were answered before."""
        self._turns = turns
        self._asked = asked
        self._hear = hear
        self._on_turn = on_turn
        self._lines = LineBuffer()

    async def talk(self, session: Session) -> None:
        """Send each message once the one before it was answered."""
        answer: str | None = None
        while True:
            self._refuse_more_answers()
            user = await self._turns.next(answer)
            if user is None:
                return
            # A user may think for a while: what the agent wrote meanwhile is no answer to what comes now.
            if self._asked and (data := await session.arrived()) is not None:
                self._lines.add(data)
                self._refuse_more_answers()
            if self._on_turn is not None:
                self._on_turn(self._asked)
            session.record.ask(user)
            self._asked += 1
            message = json.dumps({"role": "user", "content": user}, ensure_ascii=False)
            session.send(message.encode("utf-8", "replace") + b"\n")
            answer = await self._answer(session)
            session.record.answer(answer)

    async def farewell(self, session: Session) -> None:
        """Close its input, and see that it neither answers once more nor ends badly."""
        session.close_stdin()
        self._refuse_more_answers()
        try:
            async with asyncio.timeout(FAREWELL_S):
                while (data := await session.chunk()) is not None:
                    self._lines.add(data)
                    self._refuse_more_answers()
                status = await session.exit_status()
        except TimeoutError:
            return
        if not status.ok:
            raise AgentFault(f"{describe_end(status)} after its last answer")

    async def _answer(self, session: Session) -> str:
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
                raise await self._early_end(session)

    def _unended_line(self, session: Session) -> str | None:
        """The answer in a last line without a line end. One that is broken was cut by the program's end,
        which is then what the failure tells."""
        rest = self._lines.rest()
        try:
            return self._hear(rest)
        except AgentFault:
            session.record.stdout.add(rest)
            return None

    async def _early_end(self, session: Session) -> AgentFault:
        return await early_end(session, f"before answering {turn_name(self._asked, self._turns)}")

    def _refuse_more_answers(self) -> None:
        while (line := self._lines.line()) is not None:
            if self._hear(line) is not None:
                early = "an answer came before the first message"
                what = f"turn {self._asked} was answered twice" if self._asked else early
                raise AgentFault(f"agent broke the protocol: {what}", quote_stderr=False)
