"""What is checked of conversations across values: expectations inside turns, and simulated users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis.suite.checks import CheckExpectation, cases_of
from aegis.suite.kinds import BAD, holds_bad
from aegis.suite.model import SimulatedUser
from aegis.suite.problems import Path, Problems
from aegis.suite.userkeys import ONLY_WITH_MODEL, ONLY_WITH_SCRIPT, TURN_SCORERS, user_fields

CheckUser = Callable[[SimulatedUser], str | None]
"""Why the simulated user's model cannot be asked from this host, or None."""

ONE_BLOCK = "the protocol text hands over all messages at once and gets one answer"
OTHERS = "use jsonl, python, chat or acp (agent.protocol)"


def check_conversations(
    data: dict[str, Any], found: Problems, check: CheckExpectation | None, check_user: CheckUser | None
) -> None:
    """Each turn's expectations and each simulated user of the suite."""
    agent = data.get("agent")
    as_text = isinstance(agent, dict) and agent.get("protocol", "text") == "text"
    checker = _Checker(found, check, check_user, as_text)
    for index, case in cases_of(data):
        turns = case.get("conversation")
        if isinstance(turns, list):
            for number, turn in enumerate(turns):
                if isinstance(turn, dict):
                    checker.turn(turn, ("cases", index, "conversation", number), len(turns))


class _Checker:
    def __init__(
        self, found: Problems, check: CheckExpectation | None, check_user: CheckUser | None, as_text: bool
    ) -> None:
        self._found = found
        self._check = check
        self._check_user = check_user
        self._as_text = as_text

    def turn(self, turn: dict[str, Any], place: Path, turns: int) -> None:
        expect = turn.get("expect")
        if isinstance(expect, list):
            if self._as_text and turns > 1:
                self._found.wrong((*place, "expect"), f"{ONE_BLOCK}, which no turn has to itself: {OTHERS}")
            for number, entry in enumerate(expect):
                if entry is not BAD:
                    self._expectation(entry[0], entry[1], (*place, "expect", number))
        user = turn.get("simulate")
        if isinstance(user, dict):
            self._user(user, (*place, "simulate"), first=place[-1] == 0)

    def _expectation(self, scorer: str, config: Any, place: Path) -> None:
        problems = () if self._check is None else self._check(scorer, config)
        for inside, message in problems:
            self._found.wrong((*place, scorer, *inside), message)
        if not problems and scorer not in TURN_SCORERS:
            known = ", ".join(TURN_SCORERS)
            self._found.wrong(
                (*place, scorer), f"cannot judge one turn (these can: {known}): move it to the case's expect"
            )

    def _user(self, user: dict[str, Any], place: Path, *, first: bool) -> None:
        if self._as_text:
            self._found.wrong(place, f"{ONE_BLOCK}: what a user says cannot depend on it; {OTHERS}")
        self._matchers(user, place)
        if "model" in user:
            self._played_by_model(user, place)
        elif "script" in user:
            self._scripted(user, place, first)

    def _matchers(self, user: dict[str, Any], place: Path) -> None:
        if self._check is None:
            return
        matchers: list[tuple[Path, Any]] = [(("done",), user.get("done"))]
        script = user.get("script")
        for number, rule in enumerate(script if isinstance(script, list) else ()):
            if rule is not BAD:
                matchers.append((("script", number, "when"), rule.get("when")))
        for where, matcher in matchers:
            if matcher is not None and matcher is not BAD:
                for inside, message in self._check("answer", matcher):
                    self._found.wrong((*place, *where, *inside), message)

    def _played_by_model(self, user: dict[str, Any], place: Path) -> None:
        self._refuse(user, place, ONLY_WITH_SCRIPT, "model")
        if "goal" not in user:
            self._found.wrong(place, "key 'goal' is missing: the model must know what its user wants")
        elif self._check_user is not None and not holds_bad(user):
            lack = self._check_user(SimulatedUser.model_validate(user_fields(user)))
            if lack is not None:
                self._found.wrong(place, lack)

    def _scripted(self, user: dict[str, Any], place: Path, first: bool) -> None:
        self._refuse(user, place, ONLY_WITH_MODEL, "script")
        if isinstance(user.get("gives_up"), str):
            self._found.wrong(
                (*place, "gives_up"), "rules cannot read: give a number of messages, or use 'done'"
            )
        if first and "begins" not in user:
            self._found.wrong(
                place, "key 'begins' is missing: there is no answer yet that a rule could match"
            )

    def _refuse(self, user: dict[str, Any], place: Path, keys: tuple[str, ...], beside: str) -> None:
        for key in keys:
            if key in user:
                self._found.wrong((*place, key), f"has no meaning beside {beside!r}: take it out")
