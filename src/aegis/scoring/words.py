"""How scores are put into words. What the agent wrote is untrusted: nothing here lets it through
unescaped."""

from __future__ import annotations

import json
from typing import Any

from aegis.errors import GuestOperationError
from aegis.scoring.base import Score

SHOWN_CHARS = 100


def shown(value: Any, limit: int = SHOWN_CHARS) -> str:
    """A value as JSON on one line, cut to about `limit` characters, with nothing that a terminal would
    obey."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes (x'{value[:16].hex()}{'…' if len(value) > 16 else ''}')"
    if isinstance(value, str):
        cut = len(value) > limit
        return _visible(json.dumps(value[:limit], ensure_ascii=False)[:-1]) + ("…" if cut else "") + '"'
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        text = f"a deeply nested {type(value).__name__}"
    return _visible(text if len(text) <= limit else text[:limit] + "…")


def plain(text: str, limit: int = 200) -> str:
    """Somebody's words (an error message, the last line of an output) as part of a reason."""
    words = " ".join(text[: 4 * limit].split())
    return _visible(words if len(words) <= limit else words[:limit] + "…")


def last_line(output: bytes) -> str:
    """The last line of an output that isn't blank; "" when there is none."""
    for line in reversed(output[-4096:].decode("utf-8", "replace").splitlines()):
        if line.strip():
            return plain(line)
    return ""


def passed(scorer: str, reason: str) -> Score:
    return Score(scorer, True, 1.0, reason)


def failed(scorer: str, reason: str) -> Score:
    return Score(scorer, False, 0.0, reason)


def why_unreadable(path: str, error: GuestOperationError, max_bytes: int) -> str:
    """The reason of a failed score for a file that the agent was to leave behind."""
    match error.code:
        case "not-found":
            return f"{path} does not exist"
        case "is-directory":
            return f"{path} is a folder, not a file"
        case "too-large":
            return f"{path} is larger than {max_bytes} bytes"
        case _:
            return f"{path} cannot be read: {plain(str(error))}"


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
