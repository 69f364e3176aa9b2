"""Two sides' behaviour, case by case."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from aegis.regression.drift import always, amounts, aspects
from aegis.regression.drift.aspects import Series, Trials
from aegis.regression.drift.behaviour import CaseBehaviours
from aegis.regression.drift.findings import Drift, Finding, Grade
from aegis.regression.drift.views import Views
from aegis.regression.nocycles import uncollected
from aegis.regression.stats import permutation
from aegis.regression.stats.multiple import benjamini_hochberg
from aegis.regression.trials import CaseKey

Q = 0.10
"""At most this share of the differences that are called significant is expected to be chance."""


@dataclass(frozen=True, slots=True)
class _Tested:
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
    views = Views(chars)
    findings: list[Finding] = []
    tested: list[_Tested] = []
    for key, sides in both.items():
        before, now = (Trials.of(trials, views) for trials in sides)
        findings += always.find(key, before, now)
        tested += _test(key, before, now, q)
    for aspect in dict.fromkeys(item.series.aspect for item in tested):
        findings += _grade([item for item in tested if item.series.aspect == aspect], q)
    measured = amounts.ratios(both)
    return Drift((*findings, *amounts.find(measured)), measured)


def _test(key: CaseKey, before: Trials, now: Trials, q: float) -> Iterator[_Tested]:
    # What is always the same can't differ, and is not counted among the tests.
    for series in aspects.series(before, now):
        sizes = len(series.before), len(series.now)
        # What is above the level before the correction is above it afterwards, too.
        p = _probability(series, q)
        yield _Tested(key, series, p, testable=permutation.least(*sizes) <= q)


def _grade(tested: Sequence[_Tested], q: float) -> Iterator[Finding]:
    able = [item for item in tested if item.testable]
    for item, p in zip(able, benjamini_hochberg([item.p for item in able]), strict=True):
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
