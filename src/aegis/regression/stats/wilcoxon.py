"""Do paired values tend to be larger than 0? The signed-rank test, one-sided.

F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945), 80–83. Zeros are left out, as
there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import NormalDist

EXACT_UP_TO = 50
"""Differences. Beyond, the normal approximation is good to the third digit, corrected for ties and continuity."""


def greater(differences: Sequence[float]) -> float:
    """P(so large a sum of the ranks of positive differences, or larger), if they were symmetric around 0.

    Exact up to `EXACT_UP_TO` differences, with ties too: all sums that mid-ranks with random signs can have are
    counted.
    """
    sizes = sorted((abs(value), value > 0) for value in differences if value)
    if not sizes:
        return 1.0
    # Doubled, mid-ranks are whole numbers.
    ranks: list[int] = []
    ties: list[int] = []
    for _, group in groupby(sizes, key=lambda item: item[0]):
        count = len(list(group))
        ranks += [2 * len(ranks) + count + 1] * count
        ties.append(count)
    positive = sum(rank for rank, (_, is_positive) in zip(ranks, sizes, strict=True) if is_positive)
    return _exact(ranks, positive) if len(ranks) <= EXACT_UP_TO else _normal(ties, positive / 2)


def _exact(ranks: Sequence[int], positive: int) -> float:
    ways = [1]
    for rank in ranks:
        without = ways + [0] * rank
        ways = [a + b for a, b in zip(without, [0] * rank + ways, strict=True)]
    return sum(ways[positive:]) / (1 << len(ranks))


def _normal(ties: Sequence[int], positive: float) -> float:
    n = sum(ties)
    mean = n * (n + 1) / 4
    variance = n * (n + 1) * (2 * n + 1) / 24 - sum(t**3 - t for t in ties) / 48
    return 1 - NormalDist().cdf((positive - mean - 0.5) / math.sqrt(variance))
