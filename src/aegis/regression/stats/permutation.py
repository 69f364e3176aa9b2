"""Do two groups differ more from each other than within themselves? A permutation test on distances.

The statistic is the mean distance between the groups less the mean of the mean distances within them, as in the
energy statistic of G. J. Székely and M. L. Rizzo, "Energy statistics: a class of statistics based on distances",
Journal of Statistical Planning and Inference 143 (2013), 1249–1272; a group of one has no distance within. The
p-value counts the ways of dealing the trials anew that give as large a value: M. D. Ernst, "Permutation methods: a
basis for exact inference", Statistical Science 19 (2004), 676–685. When there are more than `EXACT_UP_TO` ways, a
sample of them is drawn, and the true one is counted with it: B. Phipson, G. K. Smyth, "Permutation p-values should
never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010), article 39.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from operator import itemgetter
from random import Random
from typing import Any

EXACT_UP_TO = 2_000
_ROUNDING = 1e-9
_AT_ONCE = 16
_MOST_KINDS = 4

Distances = Sequence[Sequence[float]]
"""A symmetric matrix with zeros on its diagonal."""


def larger_between(distances: Distances, first: int, above: float = 1.0) -> float:
    """P(so much more distance between than within) when the first `first` trials are one group, the others the other.

    1.0 at once when the distance between is not the larger one. Always the same for the same input. Who has no use for
    p-values larger than `above` gets 1.0 for them, and much sooner.
    """
    flat = [distance for index, row in enumerate(distances) for distance in row[index + 1 :]]
    return larger_between_pairs(flat, first, len(distances) - first, above)


def larger_between_pairs(pairs: Sequence[float], first: int, second: int, above: float = 1.0) -> float:
    """The same, with the distance of each pair once: 0 and 1, 0 and 2, …, 1 and 2, …"""
    if first < 1 or second < 1:
        return 1.0
    sides = _sides(first, second)
    observed = sides.statistic(pairs)
    if observed <= _ROUNDING:
        return 1.0
    ways = min(math.comb(first + second, second), EXACT_UP_TO)
    found = _found(sides, pairs, observed - _ROUNDING, above * ways)
    return 1.0 if found is None else found


def larger_between_kinds(
    places: Sequence[int], kinds: Sequence[float], first: int, above: float = 1.0
) -> float:
    """The same for trials of a few kinds: `places` has the kind of each trial, 0, 1, …, and `kinds` the distance of
    each pair of kinds once. What was asked before is known."""
    size = len(places)
    if min(kinds, default=0.0) == max(kinds, default=0.0) > 0.0:
        # Neither the order of p-values nor what is equal changes with the unit of distances.
        kinds = (1.0,) * len(kinds)
    elif max(places) >= _MOST_KINDS:
        return larger_between_pairs(_spread(places, kinds), first, size - first, above)
    if _exact(first, size - first):
        # Who of a side is which trial does not matter when all ways are looked at.
        places = (*sorted(places[:first]), *sorted(places[first:]))
    return _known(tuple(places), tuple(kinds), first, above)


@lru_cache(maxsize=32_768)
def _known(places: tuple[int, ...], kinds: tuple[float, ...], first: int, above: float) -> float:
    return larger_between_pairs(_spread(places, kinds), first, len(places) - first, above)


def _spread(places: Sequence[int], kinds: Sequence[float]) -> list[float]:
    """The distance of each pair of trials."""
    count = max(places) + 1
    between = [[0.0] * count for _ in range(count)]
    for (row, column), distance in zip(_pairs(count), kinds, strict=True):
        between[row][column] = between[column][row] = distance
    return [between[place][other] for index, place in enumerate(places, 1) for other in places[index:]]


def statistic(distances: Distances, first: int) -> float:
    """Mean distance between the groups less the mean distance within."""
    flat = [distance for index, row in enumerate(distances) for distance in row[index + 1 :]]
    return _sides(first, len(distances) - first).statistic(flat)


@lru_cache(maxsize=4_096)
def least(first: int, second: int) -> float:
    """The smallest p-value that groups of these sizes can have. Groups of the same size can change places."""
    ways = math.comb(first + second, second)
    return min(1.0, (2 if first == second else 1) / min(ways, EXACT_UP_TO))


@lru_cache(maxsize=4_096)
def _exact(first: int, second: int) -> bool:
    """Whether all ways of dealing are looked at."""
    return math.comb(first + second, second) <= EXACT_UP_TO


def _found(sides: _Sides, pairs: Sequence[float], bound: float, most: float) -> float | None:
    """The share of dealings with as large a statistic; None as soon as more than `most` of them have one."""
    deals, sampled = _deals(sides.first, sides.second)
    terms, constant = sides.terms(pairs)
    bound += constant
    # Groups of the same size can change places: half of the ways are looked at.
    weight = 2 if sides.first == sides.second and not sampled else 1
    # The true one is counted with a sample.
    count = 1 if sampled else 0
    for begin in range(0, len(deals), _AT_ONCE):
        picks = deals[begin : begin + _AT_ONCE]
        if sides.alone:
            values = [pick(terms) for pick in picks]
        else:
            values = [sum(pick(terms)) for pick in picks]
        count += weight * len([value for value in values if value >= bound])
        if count > most:
            return None
    return count / (EXACT_UP_TO if sampled else weight * len(deals))


_Pick = Callable[[Sequence[float]], Any]
"""Takes out of a list of pairs those within one group."""


@lru_cache(maxsize=64)
def _deals(first: int, second: int) -> tuple[list[_Pick], bool]:
    """The ways to deal anew, and whether they are a sample: each as the pairs within the smaller group."""
    size = first + second
    everyone = range(size)
    random = Random(0)  # any fixed number: the same traces give the same report
    sampled = math.comb(size, second) > EXACT_UP_TO
    if sampled:
        dealt = [tuple(random.sample(everyone, second)) for _ in range(EXACT_UP_TO - 1)]
    else:
        dealt = list(combinations(everyone, second))
    if first < second:
        dealt = [tuple(set(everyone).difference(group)) for group in dealt]
    elif first == second and not sampled:
        dealt = [group for group in dealt if 0 in group]
    # In no order, so that counting can stop soon.
    random.shuffle(dealt)
    number = {pair: index for index, pair in enumerate(_pairs(size))}
    return [itemgetter(*_within(group, number)) for group in dealt], sampled


def _within(group: Sequence[int], number: Mapping[tuple[int, int], int]) -> Sequence[int]:
    if len(group) == 1:
        return group
    return [number[pair] for pair in combinations(sorted(group), 2)]


@lru_cache(maxsize=64)
def _pairs(size: int) -> list[tuple[int, int]]:
    return list(combinations(range(size), 2))


def _picker(places: Sequence[int]) -> _Pick:
    """Always gives a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda items: (items[places[0]],)) if places else lambda items: ()


class _Sides:
    """The statistic of divisions into groups of two sizes.

    It is linear in the distances within the smaller group and in what its members are from everyone, which can be
    shared out among the pairs of members: so it is a sum over that group's pairs (over its members, when there is but
    one).
    """

    def __init__(self, first: int, second: int) -> None:
        self.first, self.second = first, second
        size = first + second
        small = min(first, second)
        groups = (first > 1) + (second > 1)
        pairs = _pairs(size)
        self._all = pairs
        self._in_first = _picker([at for at, (_, b) in enumerate(pairs) if b < first])
        self._in_second = _picker([at for at, (a, _) in enumerate(pairs) if a >= first])
        self._rows = [
            _picker([at for at, pair in enumerate(pairs) if member in pair]) for member in range(size)
        ]
        self._between = 1 / (first * second)
        self._of_first = 2 / (first * (first - 1) * groups) if first > 1 else 0.0
        self._of_second = 2 / (second * (second - 1) * groups) if second > 1 else 0.0
        self._of_large = self._of_first if first > second else self._of_second
        of_small = self._of_second if first > second else self._of_first
        self._inside = 2 * self._between + self._of_large + of_small
        self._single = small == 1
        self.alone = small <= 2
        """Whether a group's sum has but one term."""
        self._share = (self._between + self._of_large) / max(1, small - 1)

    def statistic(self, pairs: Sequence[float]) -> float:
        """Mean distance between the groups less the mean distance within."""
        first, second = sum(self._in_first(pairs)), sum(self._in_second(pairs))
        between = sum(pairs) - first - second
        return between * self._between - first * self._of_first - second * self._of_second

    def terms(self, pairs: Sequence[float]) -> tuple[list[float], float]:
        """What a group's statistic is the sum of, and what has to be subtracted from that."""
        share, inside = self._share, self._inside
        rows = [sum(row(pairs)) * share for row in self._rows]
        constant = sum(pairs) * self._of_large
        if self._single:
            return rows, constant
        terms = [rows[a] + rows[b] - inside * pair for (a, b), pair in zip(self._all, pairs, strict=True)]
        return terms, constant


@lru_cache(maxsize=64)
def _sides(first: int, second: int) -> _Sides:
    return _Sides(first, second)
