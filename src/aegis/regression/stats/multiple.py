"""Many tests at once: p-values adjusted so that they can be compared with one level."""

from __future__ import annotations

from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false alarm stays below the level, however the tests depend on one another.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979),
    65–70.
    """
    adjusted = [0.0] * len(values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = worst
    return adjusted


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Adjusted so that the expected share of false ones among those found stays below the level.

    Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57
    (1995), 289–300.
    """
    adjusted = [0.0] * len(values)
    best = 1.0
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    for rank, index in zip(range(len(values), 0, -1), order, strict=True):
        best = min(best, values[index] * len(values) / rank)
        adjusted[index] = best
    return adjusted
