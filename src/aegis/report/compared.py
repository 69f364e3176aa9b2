"""A comparison of two runs, as `aegis eval compare` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.report import comparison as words
from aegis.report.comparison import Line, compared_lines
from aegis.report.sidebyside import case_lines
from aegis.report.text import one_line

Document = Mapping[str, Any]

_UNCONFIRMED = (
    "without confirmation: only the trials that there are decide, which finds less than "
    "aegis eval run --baseline (docs/regression.md)"
)


def lines(document: Document, width: int, *, everything: bool = False) -> Iterator[Line]:
    """A comparison document in lines for a terminal of `width` columns."""
    for name in ("base", "head"):
        side = document[name]
        pooled = f"; trials of {len(side['pooled'])} more runs added" if side["pooled"] else ""
        yield f"{name}  {one_line(words.side(side) + pooled)}", ""
    yield from ((f"  note: {one_line(note)}", "yellow") for note in document["notes"])
    yield _UNCONFIRMED, "dim"
    yield from compared_lines(document, document["regressions"], everything=everything, more="--all")
    if document["case"] is not None:
        yield from case_lines(document["case"], width)


def result_line(document: Document) -> str:
    """`RESULT: PASS 24/24 trials, 100.0 % (…) suite production-v2 base RUN head RUN`."""
    runs = f"base {document['base']['run_id']} head {document['head']['run_id']}"
    return f"RESULT: {one_line(document['result'])} suite {one_line(document['suite'])} {one_line(runs)}"
