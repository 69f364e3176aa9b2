"""Text that may stand in Markdown, and Markdown that fits a limit.

Names, reasons and answers come from suites and agents. In a comment on GitHub they could notify people (`@name`), link
(`#1`, `www.…`), close the comment's own frame (`<!--`, `</details>`) or break out of a table. So they stand in code
spans, where nothing of that is read, and what would end a code span or a cell is dealt with here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from aegis.report.text import one_line

MAX_CHARS = 300
"""Of one text in a code span."""

_BACKTICKS = re.compile("`+")
_TAME = re.compile(r"[A-Za-z0-9 ,.:;()%→≤−×…'\"+-]*")
_REFERENCE = re.compile(r"www|:\S|gh-\d|\b[0-9a-f]{7,}\b", re.IGNORECASE)
"""What GitHub links or draws although it is only letters, digits and colons."""


def code(text: str, limit: int = MAX_CHARS) -> str:
    """The text in a code span, on one line, outside of tables. Controls, zero widths and marks for right-to-left text
    are shown as their escapes."""
    line = _short(text, limit).replace("<!--", "< !--").replace("-->", "-- >")
    if not line.strip():
        return "`(empty)`"
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def cell(text: str, limit: int = MAX_CHARS) -> str:
    """`code` for a cell of a table. A `|` that follows a backslash cannot be escaped there: it becomes `¦`."""
    return re.sub(r"\\+\|", lambda found: f"{found[0][:-1]}¦", code(text, limit)).replace("|", "\\|")


def prose(text: str, limit: int = MAX_CHARS) -> str:
    """A sentence: as it is when it is nothing but words and figures, else in a code span."""
    line = _short(text, limit)
    return line if _TAME.fullmatch(line) and not _REFERENCE.search(line) else code(line, limit)


def _short(text: str, limit: int) -> str:
    line = one_line(str(text), limit)
    # Marks that stand on top of a letter take no column, and any number of bytes.
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(frozen=True, slots=True)
class Section:
    """Some rows in a frame. It is shown with as many of its first rows as there is room for, or not at all."""

    what: str
    """Of one row, for telling how many were left out: `regression`."""
    head: str
    rows: Sequence[str] = field(default_factory=list)
    tail: str = ""


def fit(top: str, sections: Sequence[Section], bottom: str, max_bytes: int, more: str) -> str:
    """All of it in at most `max_bytes` of UTF-8: sections that come first are served first, whole rows only. `more`
    says where the rest is. `top` and `bottom` are always whole; raises `ValueError` when even they are too large."""
    left_out: list[str] = []
    reserve = sum(size(_left_out(section, len(section.rows), more)) for section in sections)
    room = max_bytes - size(top) - size(bottom) - reserve
    if room < 0:
        raise ValueError(f"{max_bytes} bytes are too few")
    parts = [top]
    for section in sections:
        if not section.rows:
            continue
        shown, used = 0, size(section.head) + size(section.tail)
        for row in section.rows:
            if used + size(row) > room:
                break
            used += size(row)
            shown += 1
        if shown:
            room -= used
            parts += [section.head, *section.rows[:shown], section.tail]
        if shown < len(section.rows):
            left_out.append(_left_out(section, len(section.rows) - shown, more))
    return "".join([*parts, *left_out, bottom])


def _left_out(section: Section, number: int, more: str) -> str:
    return f"_{number:,} more of: {section.what} ({more})._\n\n"


def size(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode("utf-8", "backslashreplace"))
