"""What a trial was, as a document for a model to judge: bounded, and quoted so that nothing in it can pass for the
question."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from aegis.trace import Trace

MAX_CHARS = 200_000
"""Of the whole document. Longer texts of a trial are cut, all of them to the same length."""

_LENGTHS = (40_000, 10_000, 4_000, 1_000, 250, 60)


def document(trace: Trace) -> str:
    """The trial's turns as JSON: for each what the user said, which tools were called, what the agent answered.

    At most `MAX_CHARS` characters, or what the shortest cut gives; a cut says so where it was made.
    """
    for length in _LENGTHS:
        text = json.dumps(_turns(trace, length), ensure_ascii=False, indent=1)
        if len(text) <= MAX_CHARS:
            break
    else:
        text = _cut(text, MAX_CHARS)
    # Lone surrogates, which an agent can write, cannot be sent.
    return text.encode("utf-8", "replace").decode("utf-8")


def quoted(trace: Trace) -> str:
    """The document between two lines that nobody who wrote a part of it can have known: they hold its hash."""
    text = document(trace)
    mark = hashlib.sha256(text.encode()).hexdigest()[:24]
    return f"<transcript {mark}>\n{text}\n</transcript {mark}>"


def _turns(trace: Trace, length: int) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    last = len(trace.turns) - 1
    for index, turn in enumerate(trace.turns):
        calls = [call for call in trace.tool_calls if min(call.turn, last) == index]
        told = [
            {
                "tool": _cut(call.name, length),
                "arguments": _short(call.arguments, length),
                "result": _short(call.result, length),
                **({"failed": True} if call.is_error else {}),
            }
            for call in calls
        ]
        turns.append(
            {"user": _cut(turn.user, length), "tool_calls": told, "agent": _cut(turn.answer, length)}
        )
    return turns


def _short(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return _cut(value, length)
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"(a {type(value).__name__})"
    return value if len(text) <= length else _cut(text, length)


def _cut(text: str, length: int) -> str:
    """The beginning and the end: an answer's point is at either."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} … [{len(text) - 2 * half} characters left out] … {text[len(text) - half :]}"
