"""Two sides' behaviour, case by case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from aegis.regression.drift import always, amounts, aspects
from aegis.regression.drift.aspects import Series, Trials
from aegis.regression.drift.behaviour import CaseBehaviours
from aegis.regression.drift.findings import Aspect, Drift, Finding, Grade
from aegis.regression.drift.views import Views
from aegis.regression.nocycles import uncollected
from aegis.regression.stats import permutation
from aegis.regression.stats.multiple import benjamini_hochberg
from aegis.regression.trials import CaseKey

Q = 0.10
"""At most this share of the differences that are called significant is expected to be chance."""


class _Tested(NamedTuple):
    key: CaseKey
    series: Series
    p: float
    testable: bool


@uncollected()
def compare(
    baseline: CaseBehaviours, candidate: CaseBehaviours, q: float = Q, *, chars: int | None = None
) -> Drift:
    """What the candidate does differently in the cases that both sides have judged trials of.

    Tool calls, arguments, hosts, writes and answers: the distances between trials of both sides against those within
    a side, by permutation, corrected for all cases with Benjamini and Hochberg's method for each aspect. Tokens, cost
    and latency: over the suite. Texts are cut to `chars` characters: where a side was cut when it was stored, so must
    the other be (`snapshot.common_chars`).
    """
    both = {key: (baseline[key], trials) for key, trials in candidate.items() if trials and baseline.get(key)}
    findings: list[Finding] = []
    tested: dict[Aspect, list[_Tested]] = {}
    tests: Counter[Aspect] = Counter()
    for key, (before, now) in both.items():
        views = Views(chars)
        sides = Trials.of(before, views), Trials.of(now, views)
        findings += always.find(key, *sides)
        for item in _test(key, *sides, q):
            of_aspect = tested.setdefault(item.series.aspect, [])
            tests[item.series.aspect] += item.testable
            # Of what is not significant by itself nothing but the number matters.
            if item.p <= q or not item.testable:
                of_aspect.append(item)
    for aspect, items in tested.items():
        findings += _grade(items, tests[aspect], q)
    measured = amounts.ratios(both)
    return Drift((*findings, *amounts.find(measured)), measured)


def _test(key: CaseKey, before: Trials, now: Trials, q: float) -> Iterator[_Tested]:
    # What is always the same can't differ, and is not counted among the tests.
    for series in aspects.series(before, now):
        sizes = len(series.before), len(series.now)
        # What is above the level before the correction is above it afterwards, too.
        p = _probability(series, q)
        yield _Tested(key, series, p, testable=permutation.least(*sizes) <= q)


def _grade(tested: Sequence[_Tested], tests: int, q: float) -> Iterator[Finding]:
    """`tests` were done; those that are not among `tested` had a larger p-value than `q`."""
    able = [item for item in tested if item.testable]
    values = [*(item.p for item in able), *[1.0] * (tests - len(able))]
    for item, p in zip(able, benjamini_hochberg(values), strict=False):
        if p <= q:
            yield _finding(item, p)
    for item in tested:
        # Only what changed altogether: with a few trials that vary anyway, any two sides differ somewhere.
        if not item.testable and not {*item.series.before} & {*item.series.now}:
            yield _finding(item, None)


def _finding(item: _Tested, p: float | None) -> Finding:
    series = item.series
    before, now = (aspects.side(values, series.show) for values in (series.before, series.now))
    grade: Grade = "untested" if p is None else "significant"
    return Finding(item.key, series.aspect, series.what, before, now, grade, p)


def _probability(series: Series, q: float) -> float:
    values = (*series.before, *series.now)
    number: dict[Hashable, int] = {}
    places = [number.setdefault(value, len(number)) for value in values]
    # Each pair of different values is measured once: most trials of a case do the same.
    pairs, first = series.distances(list(number)), len(series.before)
    if len(number) == len(values):
        return permutation.larger_between_pairs(pairs, first, len(values) - first, above=q)
    return permutation.larger_between_kinds(places, pairs, first, above=q)
