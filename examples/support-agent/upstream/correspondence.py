"""A note that has grown for months, as those on orders do with which something went wrong: some 8,000 tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import cycle, islice

_ENTRIES = 320
_BEGIN = datetime(2026, 3, 2, 8, 15)
_WHO = cycle(("warehouse", "carrier", "customer", "support", "carrier", "support", "warehouse"))
_WHAT = cycle(
    (
        "parcel scanned at the sorting centre, weight as stated",
        "asked for a window of time; none could be given",
        "label could not be read, printed once more and put on the other side",
        "was told that somebody would ring back on the next working day",
        "driver found the street closed and took the parcel along again",
        "photograph of the box received, one corner dented, nothing broken inside",
        "left a message on the answering machine, no reply so far",
        "moved to the shelf for parcels that are waiting for an answer",
        "thanked for the patience and offered to send it by another carrier",
        "address confirmed: second door in the yard, the bell has no name on it",
        "delivery planned again, third attempt",
    )
)


def note() -> str:
    """The same text every time."""
    lines = (
        f"{_BEGIN + timedelta(hours=7 * place):%Y-%m-%d %H:%M} {who}: {what}."
        for place, (who, what) in enumerate(islice(zip(_WHO, _WHAT, strict=False), _ENTRIES))
    )
    return "\n".join(lines)
