"""What a transform makes of a case, told for people: the core of `aegis suite preview`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aegis.errors import UsageError
from aegis.faults import doc, registry
from aegis.stress import generate
from aegis.stress.base import Refusal, Variant
from aegis.stress.reading import read_stress
from aegis.suite.model import Case, Expectation, FaultRule, SimulatedUser, StressRule
from aegis.suite.problems import Problems
from aegis.trace.tokens import estimate

MAX_VALUE = 100
"""Characters of a rewrite's parameter that are told."""


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of the variant's conversation."""

    text: str
    how: Literal["written", "changed", "added"]
    """As the case has it, changed, or added."""
    tokens: int
    """Estimated."""
    simulated: bool = False
    """A simulated user says it, who is described in `text`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A variant beside its case."""

    variant: str
    change: str
    turns: tuple[Said, ...]
    added: tuple[Expectation, ...]
    """Expectations that the case does not have."""
    dropped: tuple[Expectation, ...]
    """Expectations that only the case has."""
    rewrites: tuple[str, ...]
    """What the gateway changes, in words."""
    added_time_s: float
    """On top of the timeout."""

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "turns": [asdict(said) for said in self.turns],
            "added": [_expectation_json(entry) for entry in self.added],
            "dropped": [_expectation_json(entry) for entry in self.dropped],
            "rewrites": list(self.rewrites),
        }


def rules_for(case: Case, names: Sequence[str]) -> tuple[StressRule, ...]:
    """The rules that these names (`production`, `bloated-tools`, `bloated-tools.32k`) mean for the case, with the
    parameters that its own rules have; its own rules when there are no names. Raises `UsageError`."""
    if not names:
        if not case.stress:
            raise UsageError(
                f"case {case.id!r} has no stress of its own",
                fix="name some: --stress production, or --stress TRANSFORM",
            )
        return case.stress
    problems = Problems({}, lambda path: ("", 1))
    rules = read_stress(list(names), ("--stress",), problems) or ()
    if problems.found:
        raise UsageError("; ".join(found.message for found in problems.found))
    own = {rule.transform: rule.params for rule in case.stress}
    return tuple(rule.model_copy(update={"params": own.get(rule.transform, {})}) for rule in rules)


def previews(case: Case, rules: Sequence[StressRule]) -> tuple[list[Preview], tuple[Refusal, ...]]:
    """Every variant that the rules make of the case, and those that are not run."""
    made = generate.variants_of(case.model_copy(update={"stress": tuple(rules)}))
    return [preview(case, variant) for variant in made.variants], made.refusals


def preview(case: Case, variant: Variant) -> Preview:
    changed = variant.case
    return Preview(
        variant=variant.name,
        change=variant.change,
        turns=tuple(_turns(case, changed)),
        added=tuple(_without(changed.expect, case.expect)),
        dropped=tuple(_without(case.expect, changed.expect)),
        rewrites=tuple(in_words(rule) for rule in changed.rewrites),
        added_time_s=changed.added_time - case.added_time,
    )


def in_words(rule: FaultRule) -> str:
    """`Grows results to about …; on matches of any request, every match (tokens: 8000, rows: true)`."""
    given = ", ".join(f"{name}: {_short(doc.written(value))}" for name, value in rule.params.items())
    place = doc.in_words(rule.model_copy(update={"params": {}}))
    what = doc.summary(registry.get(rule.inject)).removesuffix(".")
    return f"{place}: {what}{f' ({given})' if given else ''}"


def _turns(case: Case, changed: Case) -> Iterator[Said]:
    known = Counter(turn.user for turn in case.turns if turn.simulate is None)
    texts = [text for text in known if text]
    same_length = len(case.turns) == len(changed.turns)
    for turn in changed.turns:
        if turn.simulate is not None:
            yield Said(_user_in_words(turn.simulate), "written", 0, simulated=True)
            continue
        if known[turn.user] > 0:
            known[turn.user] -= 1
            how: Literal["written", "changed", "added"] = "written"
        else:
            how = "changed" if same_length or any(text in turn.user for text in texts) else "added"
        yield Said(turn.user, how, estimate(turn.user))


def _user_in_words(user: SimulatedUser) -> str:
    goal = f", who wants: {user.goal}" if user.goal else ""
    return f"a simulated user{goal} (at most {user.turns} messages)"


def _without(entries: Sequence[Expectation], known: Sequence[Expectation]) -> Iterator[Expectation]:
    """The entries that are not among the known ones, wherever in the file those stand."""
    pairs = [(entry.scorer, entry.config) for entry in known]
    return (entry for entry in entries if (entry.scorer, entry.config) not in pairs)


def _expectation_json(entry: Expectation) -> dict[str, Any]:
    return {entry.scorer: entry.config}


def _short(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
