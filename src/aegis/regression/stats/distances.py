"""How far two things that trials did are from each other: 0 (alike) to 1 (nothing in common)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set


def edit(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """The fewest insertions, deletions and replacements that make one sequence the other, over the longer length.

    V. I. Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", Soviet Physics
    Doklady 10 (1966), 707–710; row by row as in R. A. Wagner, M. J. Fischer, "The string-to-string correction
    problem", Journal of the ACM 21 (1974), 168–173.
    """
    if first == second:
        return 0.0
    row = list(range(len(second) + 1))
    for done, item in enumerate(first, 1):
        diagonal, row[0] = row[0], done
        for column, other in enumerate(second, 1):
            cost = diagonal if item == other else 1 + min(diagonal, row[column], row[column - 1])
            diagonal, row[column] = row[column], cost
    return row[-1] / max(len(first), len(second), 1)


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
