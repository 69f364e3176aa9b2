"""Fresh machines against shared ones: rates with intervals, and which cases differ by more than chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

from aegis.audit.model import Seen, Tally, by_case, tally
from aegis.audit.model import Sequence as Ran
from aegis.regression.stats import fisher, intervals, multiple, stratified

LEVEL = 0.05
"""The chance of a false alarm of the whole audit. Half of it belongs to the comparison of the rates, half to the
experiments that confirm single cases."""
MAX_REPEATS = 12
"""Of one experiment: more candidates than this covers are confirmed at the level that it gives."""


@dataclass(frozen=True, slots=True)
class Rate:
    passed: int
    judged: int
    errors: int
    low: float
    high: float
    """Of the 95 % interval, 0–1: trials of one case count as alike."""

    @property
    def value(self) -> float | None:
        return self.passed / self.judged if self.judged else None


def rate(seen: Iterable[Seen]) -> Rate:
    cases = [tally(each) for each in by_case(seen).values()]
    low, high = intervals.clustered([case.passed for case in cases], [case.judged for case in cases])
    return Rate(
        sum(case.passed for case in cases),
        sum(case.judged for case in cases),
        sum(case.errors for case in cases),
        low,
        high,
    )


def pooled(sequences: Iterable[Ran]) -> list[Seen]:
    """All trials of all orders."""
    return [seen for sequence in sequences for seen in sequence.seen]


def two_sided(one: Tally, other: Tally) -> float:
    """Fisher's exact test: twice the smaller tail."""
    if not one.judged or not other.judged:
        return 1.0
    low = fisher.lower(one.passed, one.judged, other.passed, other.judged)
    high = fisher.higher(one.passed, one.judged, other.passed, other.judged)
    return min(1.0, 2 * min(low, high))


def case_values(fresh: Iterable[Seen], after: Iterable[Seen]) -> dict[str, float]:
    """Case → p-value of "it passes as often in both", adjusted for all cases (Holm). A case that never differs, or that
    has no trial on a side, has 1.0."""
    alone, shared = by_case(fresh), by_case(after)
    values = {case: two_sided(tally(seen), tally(shared.get(case, ()))) for case, seen in alone.items()}
    # A case whose trials all agree can't differ: counting it would only blunt the test of the others.
    able = [case for case, value in values.items() if value < 1.0]
    adjusted = multiple.holm([values[case] for case in able])
    return {**dict.fromkeys(values, 1.0), **dict(zip(able, adjusted, strict=True))}


def suite_value(fresh: Iterable[Seen], after: Iterable[Seen]) -> float:
    """p-value of "the suite passes as often in both": the exact test over all cases, twice the smaller tail."""
    alone, shared = by_case(fresh), by_case(after)
    pairs = [(tally(seen), tally(shared.get(case, ()))) for case, seen in alone.items()]
    tables = [(a.passed, a.judged, b.passed, b.judged) for a, b in pairs]
    mirrored = [(b.passed, b.judged, a.passed, a.judged) for a, b in pairs]
    return min(1.0, 2 * min(stratified.lower(tables).p, stratified.lower(mirrored).p))


def candidates(fresh: Iterable[Seen], sequences: Sequence[Ran]) -> list[str]:
    """Cases that ended otherwise after others than they mostly do alone, at least once, in the order of the suite."""
    shared = by_case(pooled(sequences))
    found = []
    for case, seen in by_case(fresh).items():
        alone = tally(seen)
        if alone.judged and any(
            each.judged and each.passed != alone.majority for each in shared.get(case, ())
        ):
            found.append(case)
    return found


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each side of an experiment is run."""

    alone: int
    after: int

    @property
    def least(self) -> float:
        """The smallest p-value that it can give."""
        return 1 / comb(self.alone + self.after, self.after)


def repeats(experiments: int) -> Repeats:
    """The cheapest numbers with which each of so many experiments, when all its runs agree, stays below its share of
    the level (Bonferroni). A run alone is one trial, a run after a culprit is two."""
    level = LEVEL / 2 / max(1, experiments)
    able = [
        Repeats(alone, after)
        for alone in range(3, MAX_REPEATS + 1)
        for after in range(3, MAX_REPEATS + 1)
        if Repeats(alone, after).least <= level
    ]
    return min(able, key=lambda each: (each.alone + 2 * each.after, each.after), default=_MOST)


_MOST = Repeats(MAX_REPEATS, MAX_REPEATS)


def confirmed(usual: bool, alone: Tally, after: Tally, experiments: int) -> tuple[bool, float]:
    """Whether an experiment shows that a case that is usually passed (`usual`), or not, ends otherwise after its
    culprit; and the one-sided p-value."""
    test = fisher.lower if usual else fisher.higher
    value = test(after.passed, after.judged, alone.passed, alone.judged)
    return value <= LEVEL / 2 / max(1, experiments), value
