"""A simulated user that a model plays, asked from the host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aegis.agents.base import UserFault
from aegis.agents.tail import one_line
from aegis.agents.users import question as questions
from aegis.agents.users.base import Ended, Said
from aegis.agents.users.needs import endpoint_of
from aegis.agents.users.spending import Spending
from aegis.agents.users.staying import Reply, Script, read
from aegis.llm.base import Completion, Message
from aegis.suite.model import SimulatedUser

if TYPE_CHECKING:
    from aegis.llm.cache import AnswerCache

ATTEMPTS = 2
"""A message that leaves the script is asked for once more, with what is wrong with it."""
_AMOUNTS = ("input_tokens", "output_tokens", "usd")
_ENDS = {"goal_reached": "goal reached", "gave_up": "gave up"}


class ModelUser:
    """Each message is the answer to a question that holds the whole state, so that the same conversation gets the same
    message: from `answers` when it was asked before, anywhere."""

    def __init__(self, user: SimulatedUser, spending: Spending, answers: AnswerCache | None) -> None:
        self._user = user
        self._spending = spending
        self._answers = answers
        self._script = Script(user)
        self._heard = 0

    async def reply(self, said: Sequence[Said], own: int) -> str | Ended:
        for turn in said[self._heard :]:
            self._script.heard(turn.user, turn.answer)
        self._heard = len(said)
        asked = questions.question(self._user, said, own)
        self._spending.check()
        found = self._kept(asked, own) or await self._ask(asked, own)
        if found.status == "continue":
            return found.message
        return Ended(f"{_ENDS[found.status]}: {one_line(found.reason) or 'no reason given'}")

    async def _ask(self, asked: str, own: int) -> Reply:
        from aegis.llm.client import complete

        where, messages = endpoint_of(self._user), [Message("user", asked)]
        spent: list[Completion] = []
        for _ in range(ATTEMPTS):
            self._spending.check()
            answer = await complete(
                where,
                questions.SYSTEM,
                messages,
                schema=questions.SCHEMA,
                temperature=0.0,
                seed=self._user.seed,
            )
            spent.append(answer)
            text = answer.text or json.dumps(answer.data)
            sent = sum(len(message.text.encode("utf-8", "replace")) for message in messages)
            self._spending.pay(
                _took([answer]), sent + len(questions.SYSTEM) + len(text.encode("utf-8", "replace"))
            )
            reply = read(answer.data)
            wrong = reply if isinstance(reply, str) else self._script.departure(reply, own)
            if wrong is None and isinstance(reply, Reply):
                return self._keep(asked, own, reply, spent)
            messages += [Message("assistant", text), Message("user", questions.correction(str(wrong)))]
        raise UserFault(f"it left its script, twice: {wrong}; it said: {one_line(text) or 'nothing'}")

    def _keep(self, asked: str, own: int, reply: Reply, spent: list[Completion]) -> Reply:
        """The reply, or the one that another trial has kept meanwhile: all of them are to meet the same user."""
        if self._answers is None:
            return reply
        if (earlier := self._known(asked, own)) is not None:
            return earlier[0]
        self._answers.put(self._key(asked), {**asdict(reply), **_took(spent)})
        return reply

    def _kept(self, asked: str, own: int) -> Reply | None:
        known = self._known(asked, own)
        if known is None:
            return None
        reply, took = known
        self._spending.keep(took, len(asked.encode("utf-8", "replace")) + len(questions.SYSTEM))
        return reply

    def _known(self, asked: str, own: int) -> tuple[Reply, Mapping[str, Any]] | None:
        kept = None if self._answers is None else self._answers.get(self._key(asked))
        reply = read(kept) if kept is not None else "nothing is kept"
        if kept is None or isinstance(reply, str) or self._script.departure(reply, own) is not None:
            return None
        took = {name: kept.get(name) for name in _AMOUNTS}
        sound = all(
            value is None or (isinstance(value, int | float) and value >= 0) for value in took.values()
        )
        return (reply, took) if sound else None

    def _key(self, asked: str) -> str:
        from aegis.llm.cache import key_of

        where = asdict(endpoint_of(self._user))
        return key_of("simulate", questions.VERSION, where, self._user.seed, questions.SYSTEM, asked)


def _took(spent: Sequence[Completion]) -> dict[str, Any]:
    """Tokens and dollars, each None when a part is unknown."""
    took: dict[str, Any] = {}
    for name in _AMOUNTS:
        values = [getattr(answer, name) for answer in spent]
        took[name] = None if None in values else sum(values)
    return took
