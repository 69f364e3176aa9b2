"""What one case did on both sides, as JSON: the values of each thing that is compared, and how often each was seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from statistics import fmean
from typing import Any

from aegis.regression import document as documents
from aegis.regression.drift import aspects, normal
from aegis.regression.drift.aspects import Series
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Finding
from aegis.regression.drift.views import Views
from aegis.regression.findings import CaseResult
from aegis.regression.trials import CaseKey, Trials

MAX_VALUES = 5
"""Different values that are listed of one thing on one side; the others are only counted."""

_Trials = Sequence[Behaviour]
_AMOUNTS: tuple[tuple[str, Callable[[Behaviour], float | None]], ...] = (
    ("tokens", lambda trial: trial.tokens),
    ("cost", lambda trial: trial.cost_usd),
    ("latency", lambda trial: trial.latency_s),
)


def build(
    key: CaseKey,
    tallies: tuple[Trials | None, Trials | None],
    behaviours: tuple[_Trials, _Trials],
    result: CaseResult | None,
    drift: Sequence[Finding],
) -> dict[str, Any]:
    """`tallies` and `behaviours` are those before and now; a side that does not have the case has None and nothing.
    `result` is None for a case that was not compared; `drift` are the findings about the case."""
    before, now = behaviours
    views = Views()
    viewed = (aspects.Trials.of(before, views), aspects.Trials.of(now, views))
    return {
        "case": key.case,
        "variant": key.variant,
        "result": None if result is None else documents.case(result),
        "before": _tally(tallies[0]),
        "now": _tally(tallies[1]),
        "observed": {"before": len(before), "now": len(now)},
        "aspects": [_aspect(series, before, now) for series in aspects.everything(*viewed)],
        "amounts": list(_amounts(before, now)),
        "rules": list(_rules(before, now)),
        "drift": [documents.finding(item) for item in drift],
    }


def _tally(trials: Trials | None) -> dict[str, int] | None:
    return None if trials is None else documents.tally(trials)


def _aspect(series: Series, before: _Trials, now: _Trials) -> dict[str, Any]:
    # Of answers the words are compared, and the sentences shown.
    texts: dict[Hashable, list[str]] = {}
    if series.aspect == "answer":
        for values, trials in ((series.before, before), (series.now, now)):
            for value, trial in zip(values, trials, strict=True):
                texts.setdefault(value, [normal.text(trial.answer)])
    return {
        "aspect": series.aspect,
        "what": series.what,
        "before": _values(series.before, texts),
        "now": _values(series.now, texts),
    }


def _values(values: Sequence[Hashable], texts: dict[Hashable, list[str]]) -> dict[str, Any]:
    counted = Counter(values).most_common()
    listed = [{"value": texts.get(value) or _listed(value), "trials": n} for value, n in counted[:MAX_VALUES]]
    return {"trials": len(values), "values": listed, "others": len(counted) - len(listed)}


def _listed(value: Any) -> list[str]:
    return sorted(value) if isinstance(value, frozenset) else list(value)


def _amounts(before: _Trials, now: _Trials) -> Iterator[dict[str, Any]]:
    for aspect, amount in _AMOUNTS:
        means = [_mean(trials, amount) for trials in (before, now)]
        if means != [None, None]:
            yield {"aspect": aspect, "before": means[0], "now": means[1]}


def _mean(trials: _Trials, amount: Callable[[Behaviour], float | None]) -> float | None:
    values = [value for trial in trials if (value := amount(trial)) is not None and math.isfinite(value)]
    return fmean(values) if values else None


def _rules(before: _Trials, now: _Trials) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(name for trial in (*before, *now) for name in trial.rules):
        yield {"name": name, "before": _kept(name, before), "now": _kept(name, now)}


def _kept(name: str, trials: _Trials) -> dict[str, int]:
    judged = [trial.rules[name] for trial in trials if name in trial.rules]
    return {"kept": sum(judged), "judged": len(judged)}
