"""Tokens, cost and latency over the whole suite: does a case take more, or less, than it did?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from statistics import fmean, median

from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect, Finding, Ratio
from aegis.regression.findings import probability
from aegis.regression.stats import wilcoxon
from aegis.regression.trials import CaseKey

ALPHA = 0.01
RATIO = 1.10
"""A smaller change is not worth a line, however certain it is."""
_LEADING = 3

_AMOUNTS: tuple[tuple[Aspect, Callable[[Behaviour], float | None], str], ...] = (
    ("tokens", attrgetter("tokens"), "{:,.0f} tokens"),
    ("cost", attrgetter("cost_usd"), "{:.4f} USD"),
    ("latency", attrgetter("latency_s"), "{:.2f} s"),
)


def ratios(
    both: Mapping[CaseKey, tuple[Sequence[Behaviour], Sequence[Behaviour]]],
) -> dict[Aspect, dict[CaseKey, Ratio]]:
    """Each case's means, before and now, of trials that have the amount; cases without a positive one on both sides are
    left out."""
    found: dict[Aspect, dict[CaseKey, Ratio]] = {}
    for aspect, amount, _ in _AMOUNTS:
        of_aspect = found[aspect] = {}
        for key, (before, now) in both.items():
            means = _mean(map(amount, before)), _mean(map(amount, now))
            if means[0] > 0 and means[1] > 0:
                of_aspect[key] = Ratio(*means)
    return found


def find(measured: Mapping[Aspect, Mapping[CaseKey, Ratio]]) -> Iterator[Finding]:
    """One finding for each amount whose typical case takes more, or less, by more than a tenth: Wilcoxon's signed-rank
    test on the logarithms of the cases' ratios, each direction at `ALPHA`."""
    for aspect, _, form in _AMOUNTS:
        cases = measured[aspect]
        logs = [math.log(item.ratio) for item in cases.values()]
        if not logs or abs(median(logs)) <= math.log(RATIO):
            continue
        up = median(logs) > 0
        # With ties in the sign the smallest possible p-value of n cases is 2^-n.
        testable = 2.0 ** -len(logs) < ALPHA
        p = wilcoxon.greater(logs if up else [-value for value in logs])
        if testable and p >= ALPHA:
            continue
        yield _finding(aspect, cases, form, up=up, p=p if testable else None)


def _finding(
    aspect: Aspect, cases: Mapping[CaseKey, Ratio], form: str, *, up: bool, p: float | None
) -> Finding:
    ratio = math.exp(median(math.log(item.ratio) for item in cases.values()))
    leading = sorted(cases, key=lambda key: cases[key].ratio, reverse=up)[:_LEADING]
    named = ", ".join(f"{key} × {cases[key].ratio:.2f}" for key in leading)
    before, now = (form.format(fmean(values)) for values in zip(*_pairs(cases), strict=True))
    few = "1 case is" if len(cases) == 1 else f"{len(cases)} cases are"
    told = f"p {probability(p)}" if p is not None else f"{few} too few to tell it from chance"
    return Finding(
        None,
        aspect,
        f"{aspect}, typical case × {ratio:.2f}",
        f"{before} a trial",
        f"{now} a trial ({named}; {told})",
        "significant" if p is not None else "untested",
        p,
    )


def _pairs(cases: Mapping[CaseKey, Ratio]) -> list[tuple[float, float]]:
    return [(item.before, item.now) for item in cases.values()]


def _mean(amounts: Iterable[float | None]) -> float:
    values = [value for value in amounts if value is not None and math.isfinite(value)]
    return math.fsum(values) / len(values) if values else 0.0
