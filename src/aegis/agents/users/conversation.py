"""The conversation of a case: scripted messages and simulated users, one entry after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis.agents.base import UserFault
from aegis.agents.users.base import Ended, Holds, Player, Said
from aegis.agents.users.rules import RuleUser
from aegis.agents.users.spending import Spending
from aegis.errors import AegisError
from aegis.suite.model import SimulatedUser, Turn
from aegis.trace import Trace, TurnRecord

if TYPE_CHECKING:
    from aegis.llm.cache import AnswerCache


class Conversation:
    """The user of one trial (`aegis.agents.base.UserTurns`), and what is known of them afterwards."""

    def __init__(self, turns: Sequence[Turn], *, holds: Holds, answers: AnswerCache | None = None) -> None:
        """`answers`: where the messages of models are kept; None: every message is asked for anew."""
        self._turns = turns
        self._holds = holds
        self._answers = answers
        self._simulated = any(turn.simulate is not None for turn in turns)
        self._place = 0
        self._player: Player | None = None
        self._own = 0
        self._said: list[Said] = []
        self._asked: str | None = None
        self._given: str | None = None
        self._entries: list[int] = []
        self._endings: dict[int, str] = {}
        self._spending: list[Spending] = []
        self._waited_s = 0.0
        self._thinks_since: float | None = None

    @property
    def total(self) -> int | None:
        return None if self._simulated else len(self._turns)

    @property
    def waited_s(self) -> float:
        """Seconds that simulated users have thought, so far: the agent is not to blame for them."""
        now_s = 0.0 if self._thinks_since is None else time.monotonic() - self._thinks_since
        return self._waited_s + now_s

    @property
    def cost(self) -> dict[str, Any] | None:
        """What the models of simulated users took, kept messages being free: `model_calls`, `cached` (kept messages),
        `input_tokens`, `output_tokens`, `usd`, each None when a part is unknown. None without such a user."""
        return Spending.total(self._spending) if self._spending else None

    def position(self) -> dict[str, Any]:
        """Where the user is (JSON), for one who goes on from here with `resume`."""
        return {"place": self._place, "own": self._own, "entries": list(self._entries)}

    def resume(self, position: Mapping[str, Any], earlier: Sequence[TurnRecord], message: str) -> None:
        """Be where `position` says, after these turns, about to say `message`."""
        self._place, self._own = position["place"], position["own"]
        self._entries = list(position["entries"])
        self._said = [Said(turn.user, turn.answer) for turn in earlier] if self._simulated else []
        self._endings = {number: turn.user_ended for number, turn in enumerate(earlier) if turn.user_ended}
        self._given = message

    async def next(self, answer: str | None) -> str | None:
        if self._simulated and self._asked is not None:
            self._said.append(Said(self._asked, answer or ""))
        if self._given is not None:
            self._asked, self._given = self._given, None
            return self._asked
        while self._place < len(self._turns):
            entry = self._turns[self._place]
            message = entry.user if entry.simulate is None else await self._think(entry.simulate)
            if message is not None:
                self._entries.append(self._place)
                self._asked = message
            if message is None or entry.simulate is None:
                self._leave_entry()
            if message is not None:
                return message
        return None

    def marked(self, trace: Trace) -> Trace:
        """The trace with what each turn was said by, and why simulated users ended."""
        turns = list(trace.turns)
        for number, (turn, entry) in enumerate(zip(turns, self._entries, strict=False)):
            turns[number] = replace(
                turn,
                entry=entry,
                simulated=self._turns[entry].simulate is not None,
                user_ended=self._endings.get(number, ""),
            )
        return replace(trace, turns=tuple(turns))

    def _leave_entry(self) -> None:
        self._place += 1
        self._player = None
        self._own = 0

    async def _think(self, user: SimulatedUser) -> str | None:
        self._thinks_since = time.monotonic()
        try:
            reply = await self._reply(user)
        except (UserFault, AegisError) as error:
            raise UserFault(
                f"the simulated user of conversation[{self._place}] could not go on: {error}"
            ) from error
        finally:
            self._waited_s += time.monotonic() - self._thinks_since
            self._thinks_since = None
        if isinstance(reply, Ended):
            if last := len(self._entries):
                earlier = self._endings.get(last - 1)
                self._endings[last - 1] = f"{earlier}; {reply.reason}" if earlier else reply.reason
            return None
        self._own += 1
        return reply

    async def _reply(self, user: SimulatedUser) -> str | Ended:
        if self._own == 0 and user.begins is not None:
            return user.begins
        if self._own:
            if user.done is not None and await self._holds(user.done, self._said[-1].answer):
                return Ended("goal reached: the answer is as done asks for")
            if user.gives_up_after is not None and self._own >= user.gives_up_after:
                return Ended(f"gave up: the goal was not reached after {_messages(self._own)}")
            if self._own >= user.turns:
                return Ended(f"bound: {_messages(self._own)}")
        if self._player is None:
            self._player = self._new_player(user)
        return await self._player.reply(self._said, self._own)

    def _new_player(self, user: SimulatedUser) -> Player:
        if user.model is None:
            return RuleUser(user, self._holds)
        from aegis.agents.users.simulated import ModelUser

        spending = Spending(user.budget)
        self._spending.append(spending)
        return ModelUser(user, spending, self._answers)


def _messages(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"
