"""A simulated user by rules over the agent's answers: the same answers always get the same messages, and no model is
asked."""

from __future__ import annotations

from collections.abc import Sequence

from aegis.agents.base import UserFault
from aegis.agents.tail import one_line
from aegis.agents.users.base import Ended, Holds, Said
from aegis.suite.model import SimulatedUser

SHOWN_CHARS = 200


class RuleUser:
    """The first rule that matches the last answer, and is not used up, speaks."""

    def __init__(self, user: SimulatedUser, holds: Holds) -> None:
        self._user = user
        self._holds = holds
        self._used: set[int] = set()

    async def reply(self, said: Sequence[Said], own: int) -> str | Ended:
        answer = said[-1].answer if said else ""
        for number, rule in enumerate(self._user.script):
            if number in self._used:
                continue
            if rule.when is None or await self._holds(rule.when, answer):
                if rule.once:
                    self._used.add(number)
                return rule.say
        if self._user.unmatched == "error":
            shown = one_line(answer[: 4 * SHOWN_CHARS], SHOWN_CHARS) or "nothing"
            raise UserFault(f"no rule of its script matches the answer: {shown}")
        return Ended("no rule matched")
