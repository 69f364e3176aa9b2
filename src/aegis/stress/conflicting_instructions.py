"""Transform `conflicting-instructions`: what the operator's instructions say, and a user who asks for the opposite."""

from __future__ import annotations

import random
from typing import ClassVar

from aegis.stress import toolkeys
from aegis.stress.base import NotApplicableError, RejectedError, Transform, rng_of
from aegis.stress.constraints import KINDS, Constraint, matchers
from aegis.suite.kinds import Choice, Key
from aegis.suite.model import Case, Expectation, FaultMatch, FaultRule, Turn


class ConflictingInstructions(Transform):
    """Adds an instruction about the form of answers to the system prompt, and lets the user ask for the opposite, as
    users do who know nothing of an operator's rules. The operator's side is the right one.

    The gateway adds the instruction to every request to a language model, in the formats of OpenAI (chat completions,
    responses), Anthropic and Google Gemini, behind the agent's own system prompt. It is one that code can check, chosen
    for the case: `closing-line` (answers end with a given line), `opening-label` (they begin with a given label),
    `banned-word` (they never hold a given word), `one-paragraph` (they have no line break). What the user says stands
    at the end of the last scripted turn.

    - `reference`: the instruction alone; the user says nothing about it.
    - `aligned`: the user asks for the same.
    - `conflict`: the user asks for the opposite.

    All three have the same instruction: what `conflict` costs more than the other two is the cost of the conflict, and
    not of the instruction. A trial in which no request to a model was rewritten has proved nothing and is an `error`
    (`require_fired: false` lets it pass): the agent must reach its model through the gateway, unsigned.

    The oracle stays valid because the instruction is about form: what the case expects of the answer is checked against
    it, and one that might collide is not taken (nothing is added where the answer must equal a text, be JSON, or match
    an expression with that end; no word is banned that is expected). Where each of them might, the variant is rejected.
    That the instruction was followed is one more `answer` expectation.
    """

    name: ClassVar[str] = "conflicting-instructions"
    levels: ClassVar[tuple[str, ...]] = ("reference", "aligned", "conflict")
    usual: ClassVar[tuple[str, ...]] = ("reference", "aligned", "conflict")
    keys: ClassVar[tuple[Key, ...]] = (
        Key(
            "constraint",
            Choice("constraint", tuple(KINDS)),
            "The instruction; by default one that collides with nothing the case expects",
        ),
        toolkeys.HOSTS,
        toolkeys.require_fired(True),
    )

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        # Not `rng`, which differs between the levels: they are compared, so their instruction is one.
        constraint = self._choose(case, rng_of(case.id, self.name, "constraint"))
        wish = {"aligned": constraint.aligned, "conflict": constraint.opposite}.get(level, "")
        rule = FaultRule(
            id=self.name,
            inject="rewrite/system-prompt",
            match=FaultMatch(call="model", host=toolkeys.place(self.params).host),
            require_fired=self.params["require_fired"],
            params={"text": constraint.system},
        )
        changed = toolkeys.added(case, rule).model_copy(
            update={
                "turns": _with_wish(case.turns, wish),
                "expect": (*case.expect, Expectation(scorer="answer", config=constraint.expected)),
            }
        )
        said = f"; the user adds: {wish}" if wish else "; the user says nothing about it"
        return changed, f"the system prompt says: {constraint.system}{said}"

    def _choose(self, case: Case, rng: random.Random) -> Constraint:
        given: str | None = self.params.get("constraint")
        judged = any(entry.scorer == "judge" for entry in toolkeys.expectations(case))
        names = [given] if given else rng.sample(sorted(KINDS), len(KINDS))
        made = [KINDS[name](rng) for name in names]
        # A judge may take an added line for a mistake.
        fit = [item for item in made if _fits(case, item) and (given or not (judged and item.adds))]
        if not fit:
            what = f"the instruction {given}" if given else "each of the instructions"
            raise RejectedError(
                f"{what} might collide with what the case expects of the answer: name another (constraint: "
                f"{' | '.join(KINDS)}), or expect contents and not the whole text"
            )
        return fit[0]


def _fits(case: Case, constraint: Constraint) -> bool:
    return not any(constraint.collides(matcher) for matcher in matchers(toolkeys.expectations(case)))


def _with_wish(turns: tuple[Turn, ...], wish: str) -> tuple[Turn, ...]:
    places = [place for place, turn in enumerate(turns) if turn.simulate is None and turn.user.strip()]
    if not places:
        raise NotApplicableError(
            "it has no scripted turn whose user could ask for something: add one (user: …)"
        )
    if not wish:
        return turns
    place = places[-1]
    turn = turns[place]
    said = turn.model_copy(update={"user": f"{turn.user.rstrip()} {wish}"})
    return (*turns[:place], said, *turns[place + 1 :])


transform = ConflictingInstructions
