"""Distributions on whole numbers, from the ratio of neighbouring probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable


def probabilities(low: int, high: int, start: int, ratio: Callable[[int], float]) -> list[float]:
    """P(low), …, P(high), where `ratio(x)` is P(x + 1) / P(x).

    Begins at `start`, which should be near the mode, and works outwards with multiplications only: small tails keep
    their relative precision, nothing overflows, and what is below 1e-308 of the mode is 0.
    """
    up = [1.0]
    for x in range(start, high):
        up.append(up[-1] * ratio(x))
    down = [1.0]
    for x in range(start - 1, low - 1, -1):
        down.append(down[-1] / ratio(x))
    weights = down[:0:-1] + up
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def hypergeometric(successes: int, total: int, drawn: int) -> tuple[int, list[float]]:
    """The number of successes among `drawn` of `total` things of which `successes` are: (smallest possible number,
    probabilities from there on)."""
    low = max(0, drawn - (total - successes))
    high = min(drawn, successes)
    failures_left = total - successes - drawn
    mode = (drawn + 1) * (successes + 1) // (total + 2)

    def ratio(x: int) -> float:
        return (successes - x) * (drawn - x) / ((x + 1) * (failures_left + x + 1))

    return low, probabilities(low, high, min(max(mode, low), high), ratio)
