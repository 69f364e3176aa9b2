"""Values out of JSON that anybody may have written: what is not of the expected kind reads as absent.

Nothing here raises, whatever it is given.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 48
"""Values nested deeper are kept as text: everything that handles a trace may recurse into it."""

MAX_TEXT_CHARS = 262_144
"""Longer texts (of answers, of tool results) are cut in a trace; the exchange's body has all of it."""

MAX_COUNT = 2**53


def parse(text: str | bytes) -> Any:
    """The JSON value, or None for what is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def parse_arguments(text: str) -> Any:
    """A tool call's arguments: the parsed value, or the text itself when it is no JSON. No text: no
    arguments."""
    if not text.strip():
        return {}
    try:
        return bounded(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return cut(text)


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings among the elements of a list."""
    return [item for item in sequence(value) if isinstance(item, dict)]


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def name(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """A number of something: whole and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= MAX_COUNT and value == int(value) else None


def first_count(*values: Any) -> int | None:
    return next((found for value in values if (found := count(value)) is not None), None)


def bounded(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value when it is JSON nested at most `depth` levels, else its text."""
    if _fits(value, depth):
        return value
    try:
        return cut(json.dumps(value, ensure_ascii=False))
    except (ValueError, RecursionError):
        return "(nested too deeply)"


def cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def text_of(content: Any) -> str:
    """The text of a message's content: a text, or a list of parts of which the text parts count."""
    if isinstance(content, str):
        return content
    return "\n".join(string(part.get("text")) for part in mappings(content) if "text" in part)


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_fits(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_fits(item, depth - 1) for item in value)
    # 1e999 reads as infinity, which JSON cannot hold again.
    return not isinstance(value, float) or math.isfinite(value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
