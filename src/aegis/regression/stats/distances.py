"""How far two things that trials did are from each other: 0 (alike) to 1 (nothing in common)."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence, Set
from functools import reduce
from itertools import accumulate, chain, combinations
from operator import or_


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


def shingles(words: Sequence[Hashable], width: int = 2) -> frozenset[tuple[Hashable, ...]]:
    """All runs of `width` neighbouring words, so that sets of them see the order.

    A. Z. Broder, "On the resemblance and containment of documents", Compression and Complexity of Sequences (1997),
    21–29.
    """
    if len(words) <= width:
        return frozenset([tuple(words)] if words else [])
    return frozenset(zip(*(words[at:] for at in range(width)), strict=False))


def shingle_jaccards(texts: Sequence[Sequence[int]]) -> list[float]:
    """`jaccard` of the `shingles` of each pair of texts (0 and 1, 0 and 2, …), whose words are numbers below 2^32."""
    ends = list(accumulate(map(len, texts)))
    words = array("I", list(chain.from_iterable(texts)))
    if words.itemsize != 4:  # pragma: no cover - no platform that is supported
        raise TypeError("an unsigned int has four bytes")
    # Two words that follow one another are one number: those at even places, and those at odd ones.
    raw, size = memoryview(words).cast("B"), len(words)
    runs = [0] * max(0, size - 1)
    if size > 1:
        runs[::2] = raw[: size // 2 * 8].cast("Q")
        runs[1::2] = raw[4 : 4 + (size - 1) // 2 * 8].cast("Q")
    # Each different run is a bit. Those that begin in one text and end in the next do no harm.
    bits = dict(zip(dict.fromkeys(runs), _powers(len(runs) + len(texts)), strict=False))
    bit = bits.__getitem__
    masks = []
    for text, end in zip(texts, ends, strict=True):
        if len(text) > 1:
            masks.append(reduce(or_, map(bit, runs[end - len(text) : end - 1])))
        else:
            # A single word is no run of two.
            masks.append(bits.setdefault(-1 - text[0], 1 << len(bits)) if text else 0)
    sizes = [mask.bit_count() for mask in masks]
    boths = [(one & other).bit_count() for one, other in combinations(masks, 2)]
    # Nothing is 0 from nothing.
    return [
        1 - both / (size - both) if size else 0.0
        for both, size in zip(boths, map(sum, combinations(sizes, 2)), strict=True)
    ]


_known_powers: list[int] = []


def _powers(size: int) -> list[int]:
    """At least so many powers of two; many only for very long texts, which are not kept."""
    if size > _MOST_POWERS:
        return [1 << exponent for exponent in range(size)]
    while len(_known_powers) < size:
        _known_powers.append(1 << len(_known_powers))
    return _known_powers


_MOST_POWERS = 4_096
