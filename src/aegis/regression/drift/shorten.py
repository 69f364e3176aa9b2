"""Cutting texts so that two sides can be cut alike.

What was cut to 500 characters and then to 100 is what would have been cut to 100 at once: a baseline that keeps less
than the candidate does is no drift.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from aegis.regression.drift import normal
from aegis.regression.drift.behaviour import ToolUse

LONGEST = 4_000
"""Characters of an answer, and of a text among a tool's arguments, that are kept at most."""
_SHORTEST_ARGUMENT = 64
"""Ids, amounts and addresses are never cut: what they say can't be guessed from their beginning."""
_MAX_DEPTH = 32
_MAX_JSON_CHARS = 16_000
_MAX_INTEGER = 2**63

_MARK = "…"
_DIGEST = re.compile(r"…#[0-9a-f]{8}\Z")
_PART = re.compile(r"[\w:.+-]{1,64}\Z")
_NEXT = re.compile(r"[\w:.+-]")


def answer(text: str, chars: int) -> str:
    """At most `chars` characters of it, and `…` where something was left out."""
    if len(text) <= chars:
        return text
    body = text.removesuffix(_MARK)
    return text if len(body) <= chars else f"{_cut(body, chars)}{_MARK}"


def argument_chars(chars: int) -> int:
    """How long a text among a tool's arguments may be where answers are cut to `chars`."""
    return max(_SHORTEST_ARGUMENT, chars)


def argument(text: str, chars: int) -> str:
    """As `answer`, with a digest of the whole behind it, so that a change beyond the cut is still one. What differs
    each time anyway (`normal.text`) does not count in the digest."""
    if len(text) <= chars:
        return text
    found = _DIGEST.search(text)
    body = text[: found.start()] if found else text
    if len(body) <= chars:
        return text
    return f"{_cut(body, chars)}{found[0] if found else _digest(body)}"


def arguments(value: Any, chars: int) -> Any:
    """A JSON value with its texts cut. What cannot be kept as JSON (numbers beyond 64 bits, NaN, nested over 32 levels,
    longer than 16,000 characters in all) becomes a text."""
    kept = _shortened(value, chars, _MAX_DEPTH)
    if isinstance(kept, dict | list):
        text = json.dumps(kept, ensure_ascii=False)
        if len(text) > _MAX_JSON_CHARS:
            return argument(text, chars)
    return kept


def tools(calls: tuple[ToolUse, ...], chars: int) -> tuple[ToolUse, ...]:
    """The same calls, the very same objects where nothing had to be cut."""
    cut = [(call, recut(call.arguments, chars)) for call in calls]
    if all(call.arguments is kept for call, kept in cut):
        return calls
    return tuple(
        call if call.arguments is kept else ToolUse(call.name, kept, call.writes) for call, kept in cut
    )


def recut(value: Any, chars: int) -> Any:
    """The texts in arguments that `arguments` has made, cut further; the same object when none had to be."""
    if isinstance(value, str):
        return argument(value, chars)
    if isinstance(value, dict):
        items = [(name, item, recut(item, chars)) for name, item in value.items()]
        if all(item is kept for _, item, kept in items):
            return value
        return {name: kept for name, _, kept in items}
    if isinstance(value, list | tuple):
        pairs = [(item, recut(item, chars)) for item in value]
        if all(item is kept for item, kept in pairs):
            return value
        return [kept for _, kept in pairs]
    return value


def _shortened(value: Any, chars: int, depth: int) -> Any:
    if isinstance(value, str):
        return argument(value, chars)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _MAX_INTEGER else argument(hex(value), chars)
    if isinstance(value, float):
        # NaN differs from itself, and JSON has neither it nor infinity.
        return value if value - value == 0 else str(value)
    if isinstance(value, dict | list | tuple):
        if not depth:
            return _too_deep(value, chars)
        if isinstance(value, dict):
            return {
                argument(str(name), chars): _shortened(item, chars, depth - 1) for name, item in value.items()
            }
        return [_shortened(item, chars, depth - 1) for item in value]
    return argument(str(value), chars)


def _too_deep(value: Any, chars: int) -> str:
    try:
        return argument(json.dumps(value, ensure_ascii=False, default=str), chars)
    except (ValueError, RecursionError):
        return "(nested too deeply)"


def _cut(text: str, chars: int) -> str:
    """Never inside of a word, a time or an id, unless it is longer than 64 characters: half an id is another one each
    time. Looks at nothing behind the cut but one character, so that cutting twice is the same as cutting once."""
    if _NEXT.match(text, chars) and (part := _PART.search(text, max(0, chars - 64), chars)):
        begin = part.start()
        if begin > max(0, chars - 64):
            return text[:begin].rstrip()
    return text[:chars].rstrip()


def _digest(text: str) -> str:
    plain = normal.without_volatile(text)
    return f"{_MARK}#{hashlib.sha256(plain.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
