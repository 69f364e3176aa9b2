"""Words that faults share in their notes."""

from __future__ import annotations


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
