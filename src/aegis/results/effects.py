"""What each kind of stress costs: variants against the case as written, pair by pair. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

REFERENCE = "baseline"
"""The variant that is the case as written."""
Z_95 = 1.959964
"""The 97.5 % point of the normal distribution."""

_JUDGED = ("passed", "failed", "timeout")

Trial = Mapping[str, Any]


def effects(trials: Iterable[Trial], own_oracles: Collection[str] = ()) -> list[dict[str, Any]]:
    """One entry for each variant, in the order of their first trials: over the cases that ran both ways, the mean
    case's pass rate as written, the variant's, the change (their difference) and its interval (95 %), all 0–1.

    Trial n of a variant is paired with trial n of the case as written. Pairs of which one was not judged are left out,
    and pairs in which the gateway had something to rewrite for the variant and found nothing (`rewritten` is 0): the
    agent met the case as written. A trial without rewrites (None) has nothing to find.

    The interval is that of Bonett and Price for a difference of paired proportions ("Adjusted Wald Confidence Interval
    for a Difference of Binomial Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics
    37(4), 2012), with one observation a case: the pairs of a case are no independent evidence, so each counts by its
    share. The change always lies inside it.

    Variants of the transforms in `own_oracles` expect something else than the case as written. They are compared with
    nothing: their rate is the mean case's, and the cases that failed it are `broken`.
    """
    judged: dict[str, list[Trial]] = {}
    for trial in trials:
        found = judged.setdefault(trial["variant"], [])
        if trial["outcome"] in _JUDGED:
            found.append(trial)
    written = {(trial["case"], trial["number"]): _passed(trial) for trial in judged.pop(REFERENCE, [])}
    return [
        _effect(variant, found, None if variant.partition(".")[0] in own_oracles else written)
        for variant, found in judged.items()
    ]


def _passed(trial: Trial) -> bool:
    return bool(trial["outcome"] == "passed")


def _effect(
    variant: str, found: Sequence[Trial], written: Mapping[tuple[str, int], bool] | None
) -> dict[str, Any]:
    transform, _, level = variant.partition(".")
    reached = [trial for trial in found if trial.get("rewritten") != 0]
    pairs: dict[str, list[tuple[bool, bool]]] = {}
    for trial in reached:
        before = None if written is None else written.get((trial["case"], trial["number"]))
        if before is not None:
            pairs.setdefault(trial["case"], []).append((before, _passed(trial)))
    entry: dict[str, Any] = {
        "variant": variant,
        "transform": transform,
        "level": level,
        "own_oracle": written is None,
        "trials": len(found),
        "unreached": len(found) - len(reached),
        "cases": len(pairs),
        "pairs": sum(map(len, pairs.values())),
        "reference_rate": None,
        "rate": None,
        "change": None,
        "interval": None,
        "broken": [],
    }
    if written is None:
        return {**entry, **_alone(reached)}
    return {**entry, **_compared(pairs)} if pairs else entry


def _alone(found: Sequence[Trial]) -> dict[str, Any]:
    by_case: dict[str, list[bool]] = {}
    for trial in found:
        by_case.setdefault(trial["case"], []).append(_passed(trial))
    rates = {case: sum(passed) / len(passed) for case, passed in by_case.items()}
    return {
        "cases": len(rates),
        "rate": min(1.0, math.fsum(rates.values()) / len(rates)) if rates else None,
        "broken": [case for case, rate in rates.items() if rate < 1],
    }


def _compared(pairs: Mapping[str, Sequence[tuple[bool, bool]]]) -> dict[str, Any]:
    """Means over cases, each by the share of its pairs."""
    lost = [_share(found, (True, False)) for found in pairs.values()]
    won = [_share(found, (False, True)) for found in pairs.values()]
    both = [_share(found, (True, True)) for found in pairs.values()]
    reference_rate = min(1.0, math.fsum((*both, *lost)) / len(pairs))
    rate = min(1.0, math.fsum((*both, *won)) / len(pairs))
    low, high = interval(math.fsum(won), math.fsum(lost), len(pairs))
    return {
        "reference_rate": reference_rate,
        "rate": rate,
        "change": rate - reference_rate,
        "interval": [low, high],
        "broken": [case for case, share in zip(pairs, lost, strict=True) if share > 0],
    }


def _share(pairs: Sequence[tuple[bool, bool]], wanted: tuple[bool, bool]) -> float:
    return sum(pair == wanted for pair in pairs) / len(pairs)


def interval(won: float, lost: float, count: int) -> tuple[float, float]:
    """95 % interval of (won − lost) / count, by Bonett and Price (2012); within [−1, 1]."""
    total = count + 2
    gained, given = (won + 1) / total, (lost + 1) / total
    change = gained - given
    spread = Z_95 * math.sqrt(max(0.0, gained + given - change * change) / total)
    return max(-1.0, change - spread), min(1.0, change + spread)
