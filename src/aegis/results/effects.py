"""What each kind of stress costs: variants against the case as written, pair by pair. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

REFERENCE = "baseline"
"""The variant that is the case as written."""
Z_95 = 1.959964
"""The 97.5 % point of the normal distribution."""

_JUDGED = ("passed", "failed", "timeout")

Trial = Mapping[str, Any]


def effects(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """One entry for each variant, in the order of their first trials: over the cases that ran both ways, the pass rate
    as written, the variant's, and the change in the mean case's rate with its interval (95 %), all 0–1.

    Trial n of a variant is paired with trial n of the case as written; pairs of which one was not judged are left out.
    The interval is that of Bonett and Price for a difference of paired proportions ("Adjusted Wald Confidence Interval
    for a Difference of Binomial Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics
    37(4), 2012), with one observation a case: the pairs of a case are no independent evidence, so each counts by its
    share.
    """
    outcomes: dict[str, dict[str, dict[int, bool]]] = {}
    for trial in trials:
        if trial["outcome"] in _JUDGED:
            cases = outcomes.setdefault(trial["variant"], {})
            cases.setdefault(trial["case"], {})[trial["number"]] = trial["outcome"] == "passed"
        else:
            outcomes.setdefault(trial["variant"], {})
    written = outcomes.pop(REFERENCE, {})
    return [_effect(variant, written, cases) for variant, cases in outcomes.items()]


def _effect(
    variant: str, written: Mapping[str, Mapping[int, bool]], cases: Mapping[str, Mapping[int, bool]]
) -> dict[str, Any]:
    transform, _, level = variant.partition(".")
    pairs = {
        case: [
            (written[case][number], passed)
            for number, passed in sorted(found.items())
            if number in written[case]
        ]
        for case, found in cases.items()
        if case in written
    }
    pairs = {case: found for case, found in pairs.items() if found}
    entry: dict[str, Any] = {
        "variant": variant,
        "transform": transform,
        "level": level,
        "cases": len(pairs),
        "pairs": sum(map(len, pairs.values())),
        "reference_rate": None,
        "rate": None,
        "change": None,
        "interval": None,
        "broken": [],
    }
    if not pairs:
        return entry
    lost = [_share(found, before=True, after=False) for found in pairs.values()]
    won = [_share(found, before=False, after=True) for found in pairs.values()]
    every = [pair for found in pairs.values() for pair in found]
    low, high = interval(sum(won), sum(lost), len(pairs))
    return {
        **entry,
        "reference_rate": sum(before for before, _ in every) / len(every),
        "rate": sum(after for _, after in every) / len(every),
        "change": (sum(won) - sum(lost)) / len(pairs),
        "interval": [low, high],
        "broken": [case for case, share in zip(pairs, lost, strict=True) if share > 0],
    }


def _share(pairs: Sequence[tuple[bool, bool]], *, before: bool, after: bool) -> float:
    return sum(pair == (before, after) for pair in pairs) / len(pairs)


def interval(won: float, lost: float, count: int) -> tuple[float, float]:
    """95 % interval of (won − lost) / count, by Bonett and Price (2012); within [−1, 1]."""
    total = count + 2
    gained, given = (won + 1) / total, (lost + 1) / total
    change = gained - given
    spread = Z_95 * math.sqrt(max(0.0, gained + given - change * change) / total)
    return max(-1.0, change - spread), min(1.0, change + spread)
