"""What of production a suite covers, what stress would add, what is missing: the table of `aegis suite lint`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aegis._eval import coveragetopics as topics
from aegis._eval.coveragetopics import Topic, View
from aegis.engine.spec import BASELINE
from aegis.report.text import counted
from aegis.stress import generate
from aegis.suite.model import Suite

State = Literal["covered", "gap", "unknown"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What runs of the suite have shown of the results of tools."""

    runs: int
    """How many were looked at."""
    tokens: int | None = None
    """Estimated, of the largest result; None when no result was seen."""
    case: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    topic: str
    title: str
    state: State
    has: str
    """What the suite has, in words; "" for nothing."""
    cases: tuple[str, ...] = ()
    """Ids of the cases that have it."""
    adds: str = ""
    """What stress or profiles of faults would add; "" for nothing."""
    missing: str = ""
    """What to add to the suite; "" when it is covered."""


@dataclass(frozen=True, slots=True)
class Coverage:
    rows: tuple[Row, ...]
    trials: int
    """Of a run of the suite as it stands."""
    stressed_trials: int
    """Of a run with the stress that was asked about."""

    @property
    def gaps(self) -> tuple[str, ...]:
        return tuple(row.topic for row in self.rows if row.state == "gap")

    def to_json(self) -> dict[str, Any]:
        return {
            "trials": self.trials,
            "stressed_trials": self.stressed_trials,
            "gaps": list(self.gaps),
            "rows": [{**asdict(row), "cases": list(row.cases)} for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """One case or variant that has a topic."""

    case: str
    variant: str
    words: str


def coverage(
    suite: Suite, stressed: Suite, recorded: Recorded, profiles: Mapping[str, Sequence[str]]
) -> Coverage:
    """The table. `stressed` is the same suite with more stress; `profiles` says which profiles have faults of a
    group."""
    own, trials = _look_through(suite)
    more, stressed_trials = _look_through(stressed)
    rows = [_row(topic, suite, own[topic.id], more[topic.id], profiles) for topic in topics.TOPICS]
    rows = [_seen(row, recorded) if row.topic == topics.RESULTS else row for row in rows]
    return Coverage((*rows, _repeats(suite)), trials, stressed_trials)


def _look_through(suite: Suite) -> tuple[dict[str, list[_Found]], int]:
    """By topic who has it, in the suite's order, and how many trials a run has. Variants may have megabytes: none is
    kept."""
    found: dict[str, list[_Found]] = {topic.id: [] for topic in topics.TOPICS}
    trials = 0
    for view in views(suite):
        trials += suite.trials_of(view.case)
        for topic in topics.TOPICS:
            if (words := topics.shown(topic, view)) is not None:
                found[topic.id].append(_Found(view.case.id, view.variant, words))
    return found, trials


def views(suite: Suite) -> Iterator[View]:
    """Every case and every variant that a run of the suite has."""
    for case in suite.cases:
        yield View(case)
        for variant in generate.variants_of(case).variants:
            yield View(variant.case, variant.name)


def _row(
    topic: Topic,
    suite: Suite,
    own: Sequence[_Found],
    more: Sequence[_Found],
    profiles: Mapping[str, Sequence[str]],
) -> Row:
    plain = {entry.case for entry in own if entry.variant == BASELINE}
    known = {(entry.case, entry.variant) for entry in own}
    new = [entry for entry in more if entry.case not in plain and (entry.case, entry.variant) not in known]
    adds = ", ".join([*_by_variant(new), *(f"--faults {name}" for name in profiles.get(topic.group, ()))])
    if not own:
        return Row(topic.id, topic.title, "gap", topic.below(suite.cases), (), adds, topic.fix)
    cases = tuple(dict.fromkeys(entry.case for entry in own))
    first, others = own[0], len(cases) - 1
    variant = "" if first.variant == BASELINE else f" ({first.variant})"
    also = f" and {counted(others, 'more case')}" if others else ""
    has = f"{first.words} in {first.case}{variant}{also}"
    return Row(topic.id, topic.title, "covered", has, cases, adds)


def _by_variant(found: Iterable[_Found]) -> Iterator[str]:
    """`deep-conversation.40 for 3 cases`."""
    numbers: dict[str, int] = {}
    for entry in found:
        numbers[entry.variant] = numbers.get(entry.variant, 0) + 1
    return (f"{variant} for {counted(number, 'case')}" for variant, number in numbers.items())


def _seen(row: Row, recorded: Recorded) -> Row:
    """With what runs have shown. What a suite's text does not say is not known without them."""
    if recorded.tokens is not None and recorded.tokens >= topics.NEARLY * topics.RESULT_TOKENS:
        words = f"{recorded.tokens:,} tokens in {recorded.case}, recorded in run {recorded.run_id}"
        cases = tuple(dict.fromkeys((*row.cases, recorded.case)))
        return Row(row.topic, row.title, "covered", words, cases, row.adds)
    if row.state == "covered":
        return row
    if recorded.tokens is None:
        why = "no run shows a result of a tool" if recorded.runs else "no run of this suite is recorded here"
        return Row(row.topic, row.title, "unknown", f"not known: {why}", (), row.adds, row.missing)
    words = f"the largest recorded one has {recorded.tokens:,} tokens ({recorded.case})"
    return Row(row.topic, row.title, "gap", words, (), row.adds, row.missing)


def _repeats(suite: Suite) -> Row:
    few = [case.id for case in suite.cases if suite.trials_of(case) < topics.TRIALS]
    title = f"{topics.TRIALS} trials of each case or more"
    least = min((suite.trials_of(case) for case in suite.cases), default=0)
    if not few:
        enough = tuple(case.id for case in suite.cases)
        return Row("trials", title, "covered", f"{counted(least, 'trial')} at least", enough)
    many = tuple(case.id for case in suite.cases if case.id not in few)
    has = f"{counted(len(few), 'case')} with fewer, such as {few[0]} with {counted(least, 'trial')}"
    return Row(
        "trials",
        title,
        "gap",
        has,
        many,
        "",
        f"trials: {topics.TRIALS} (one trial tells luck from skill badly)",
    )
