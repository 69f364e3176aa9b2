"""Words for people, and text made safe to print. Case names, reasons and answers come from agents and suites: a
terminal would obey what they hold (colours, cursor movements, titles, clipboard), and marks for right-to-left text
could reorder a line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that have no glyph of their own: controls, formats (bidi marks, zero widths, tags), lone
surrogates, line and paragraph separators."""


def visible(text: str) -> str:
    """The text with every control, format and surrogate character written as its escape (`\\x1b`,
    `\\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def one_line(text: str, width: int | None = None) -> str:
    """`visible` on one line: runs of white space become one space. With `width` (columns, ≥ 1) a longer text
    is cut and ends in `…`."""
    # Cut first, roughly: an answer may have megabytes, of which a line shows a few words.
    rough = text if width is None else text[: 64 * width + 1024]
    line = visible(" ".join(rough.split()))
    return line if width is None else _cut(line, width)


def columns(text: str) -> int:
    """How many columns of a terminal the (visible) text takes."""
    return sum(map(_columns, text))


def _cut(line: str, width: int) -> str:
    if columns(line) <= width:
        return line
    kept, used = [], 0
    for c in line:
        used += _columns(c)
        if used > width - 1:
            break
        kept.append(c)
    return "".join(kept) + "…"


def _columns(c: str) -> int:
    if unicodedata.combining(c) or unicodedata.category(c) == "Me":
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _escape(c: str) -> str:
    code = ord(c)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first three, each once: `a, b, c, 4 more`."""
    found = list(dict.fromkeys(names))
    return ", ".join(found[:3]) + (f", {len(found) - 3} more" if len(found) > 3 else "")
