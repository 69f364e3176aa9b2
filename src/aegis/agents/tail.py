"""What an agent writes, kept within bounds: the end of an output, and words from it for one line of a
table."""

from __future__ import annotations

import unicodedata

TAIL_BYTES = 16 * 1024


class Tail:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self._limit = limit
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._kept += data[-self._limit :]
        # Cut only when twice the bound is reached, so that many small chunks cost no copy each.
        if len(self._kept) > 2 * self._limit:
            del self._kept[: -self._limit]

    def clear(self) -> None:
        self._kept.clear()

    def text(self) -> str:
        """Decoded with replacement; a character cut in half at the start is left out."""
        kept = bytes(self._kept[-self._limit :])
        if len(self._kept) >= self._limit:
            start = 0
            while start < min(3, len(kept)) and kept[start] & 0xC0 == 0x80:
                start += 1
            kept = kept[start:]
        return kept.decode("utf-8", "replace")


def one_line(text: str, limit: int = 200) -> str:
    """Untrusted text as part of a one-line message: control and formatting characters (terminal escapes, line
    breaks, text direction) become spaces, runs of spaces one space, and more than `limit` characters are cut
    with `…`."""
    head = text[: 4 * limit]
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in head)
    words = " ".join(visible.split())
    return words if len(words) <= limit and len(text) == len(head) else words[: limit - 1] + "…"


def last_line(text: str) -> str:
    """The last line that isn't blank, fit for a message; "" when there is none."""
    for line in reversed(text.splitlines()):
        if words := one_line(line):
            return words
    return ""


def utf8(text: str) -> str:
    """The text with lone surrogates, which JSON escapes can smuggle in and UTF-8 cannot carry, as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
