"""A trial's trace as lines to read, oldest first. Everything in it is an agent's or a remote host's: nothing that a
terminal would obey gets through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from aegis.report.text import one_line, visible

MAX_TITLE_COLUMNS = 160
MAX_FACT_COLUMNS = 200
MAX_BODY_LINES = 40
"""Of one text; `--json` prints all of it."""
MAX_BODY_COLUMNS = 400

_INDENT = " " * 11


class Row(Protocol):
    """What is shown of one thing that happened (`aegis.trace.timeline.Row`)."""

    @property
    def kind(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def at_s(self) -> float | None: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def facts(self) -> tuple[str, ...]: ...
    @property
    def body(self) -> tuple[tuple[str, str], ...]: ...


_LABELS = {"request": "http", "unopened": "tls", "denied": "DENIED"}


def render(rows: Iterable[Row]) -> list[str]:
    """The lines, without line ends."""
    return [line for row in rows for line in _lines(row)]


def _lines(row: Row) -> Iterator[str]:
    when = "         " if row.at_s is None else f"{row.at_s:8.3f}s"
    label = _LABELS.get(row.kind, row.kind)
    lasted = "" if row.duration_s is None else f"  [{_duration(row.duration_s)}]"
    yield f"{when}  {label:<7} {one_line(row.title, MAX_TITLE_COLUMNS)}{lasted}".rstrip()
    if row.facts:
        yield f"{_INDENT}{_INDENT[:8]}{'; '.join(one_line(fact, MAX_FACT_COLUMNS) for fact in row.facts)}"
    for name, text in row.body:
        yield from _block(name, text)


def _block(name: str, text: str) -> Iterator[str]:
    lines = text.rstrip().expandtabs().split("\n") if text.strip() else []
    for index, line in enumerate(lines[:MAX_BODY_LINES]):
        label = f"{one_line(name)}: " if name and index == 0 else "  " if name else ""
        yield f"{_INDENT}{_INDENT[:8]}| {label}{_cut(visible(line.rstrip(chr(13))))}"
    if len(lines) > MAX_BODY_LINES:
        yield f"{_INDENT}{_INDENT[:8]}| … {len(lines) - MAX_BODY_LINES} more lines"


def _cut(line: str) -> str:
    return line if len(line) <= MAX_BODY_COLUMNS else line[: MAX_BODY_COLUMNS - 1] + "…"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
