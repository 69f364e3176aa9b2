"""How far two things that trials did are from each other: 0 (alike) to 1 (nothing in common)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set
from operator import add


def edit(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """The fewest insertions, deletions and replacements that make one sequence the other, over the longer length.

    V. I. Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", Soviet Physics
    Doklady 10 (1966), 707–710.
    """
    if first == second:
        return 0.0
    longer = max(len(first), len(second))
    if longer == 1:
        return 1.0
    begin, (first, second) = 0, sorted((first, second), key=len)
    for item, other in zip(first, second, strict=False):
        if item != other:
            break
        begin += 1
    first, second = first[begin:], second[begin:]
    if not first or not second:
        return (len(first) + len(second)) / longer
    return _edits(first, second) / longer


def _edits(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """A column of the table at a time, its differences in the bits of two numbers: H. Hyyrö, "A bit-vector algorithm
    for computing Levenshtein and Damerau edit distances", Nordic Journal of Computing 10 (2003), 29–39, after G. Myers,
    "A fast bit-vector algorithm for approximate string matching based on dynamic programming", Journal of the ACM 46
    (1999), 395–415."""
    places: dict[Hashable, int] = {}
    for index, item in enumerate(first):
        places[item] = places.get(item, 0) | 1 << index
    last, all_bits = 1 << (len(first) - 1), (1 << len(first)) - 1
    up, down, edits = all_bits, 0, len(first)
    for item in second:
        same = places.get(item, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        right_up = down | (all_bits & ~(diagonal | up))
        right_down = up & diagonal
        edits += ((right_up & last) > 0) - ((right_down & last) > 0)
        right_up = (right_up << 1 | 1) & all_bits
        right_down = right_down << 1 & all_bits
        up = right_down | (all_bits & ~(diagonal | right_up))
        down = right_up & diagonal
    return edits


def jaccard(first: Set[Hashable], second: Set[Hashable]) -> float:
    """The share of what only one of the sets holds among what either holds.

    P. Jaccard, "Étude comparative de la distribution florale dans une portion des Alpes et du Jura", Bulletin de la
    Société vaudoise des sciences naturelles 37 (1901), 547–579.
    """
    either = len(first | second)
    return 1 - len(first & second) / either if either else 0.0


def shingles(words: Sequence[str], width: int = 2) -> frozenset[tuple[str, ...]]:
    """All runs of `width` neighbouring words, so that sets of them see the order.

    A. Z. Broder, "On the resemblance and containment of documents", Compression and Complexity of Sequences (1997),
    21–29.
    """
    if len(words) <= width:
        return frozenset([tuple(words)] if words else [])
    return frozenset(zip(*(words[at:] for at in range(width)), strict=False))


def numbered_shingles(words: Sequence[int]) -> frozenset[int]:
    """`shingles` of words that are numbers, each run of two as one number."""
    if len(words) < 2:
        return frozenset([-1 - number for number in words])
    return frozenset(map(add, map(_SHIFT, words), words[1:]))


_SHIFT = (1 << 32).__mul__


def jaccards(sets: Sequence[Set[Hashable]]) -> list[list[float]]:
    """`jaccard` of each with each."""
    sizes = list(map(len, sets))
    rows = []
    for index, (one, size) in enumerate(zip(sets, sizes, strict=True)):
        # An empty set is 0 from another empty one.
        row = [
            1 - (both := len(one & other)) / (size + other_size - both) if size or other_size else 0.0
            for other, other_size in zip(sets[:index], sizes, strict=False)
        ]
        rows.append(row)
    return [
        [*row, 0.0, *[rows[other][index] for other in range(index + 1, len(rows))]]
        for index, row in enumerate(rows)
    ]
