"""JSON that an agent wrote: parsed strictly, compared with what a suite expects of it."""

from __future__ import annotations

import json
from typing import Any

from aegis.scoring.words import shown


class NotJsonError(Exception):
    """The text is not JSON; the message says where and why."""


def parse(text: str) -> Any:
    """The value. NaN and Infinity are not JSON. Raises `NotJsonError`."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJsonError("nested too deeply") from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def difference(expected: Any, actual: Any, place: str = "$") -> str | None:
    """Where `actual` lacks something that `expected` has, or None.

    A mapping must hold every expected key, others may stand beside them; a list must have as many elements,
    each including the expected one; other values must be equal, where `1` equals `1.0` but neither `true` nor
    `"1"`."""
    if isinstance(expected, dict):
        return _mapping_difference(expected, actual, place)
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list):
            return f"expected {place} to be a list, found {shown(actual)}"
        if len(actual) != len(expected):
            return f"expected {place} to have {len(expected)} elements, found {len(actual)}: {shown(actual)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return next((d for i, (e, a) in pairs if (d := difference(e, a, f"{place}[{i}]"))), None)
    if isinstance(expected, bool) is not isinstance(actual, bool) or expected != actual:
        return f"expected {place} to be {shown(expected)}, found {shown(actual)}"
    return None


def _mapping_difference(expected: dict[Any, Any], actual: Any, place: str) -> str | None:
    if not isinstance(actual, dict):
        return f"expected {place} to be a mapping, found {shown(actual)}"
    for key, value in expected.items():
        inner = f"{place}.{key}"
        if str(key) not in actual:
            return f"expected {inner}, found {shown(actual)} without it"
        if found := difference(value, actual[str(key)], inner):
            return found
    return None


def problem(value: Any, depth: int = 50) -> str | None:
    """Why a suite's expected value can't be compared with JSON, or None."""
    if depth < 0:
        return "expected JSON nested less than 50 levels deep"
    match value:
        case None | bool() | int() | float() | str():
            return None
        case list() | tuple():
            return next((p for item in value if (p := problem(item, depth - 1))), None)
        case dict():
            if bad := next(
                (key for key in value if not isinstance(key, str | int) or isinstance(key, bool)), None
            ):
                return f"expected text as a key, got {bad!r}"
            return next((p for item in value.values() if (p := problem(item, depth - 1))), None)
    return f"expected JSON, got a {type(value).__name__} (write a date or the like as text, in quotes)"
