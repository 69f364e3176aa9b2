"""Values with places that a request fills in: `{{$.order.id}}` in any text of it."""

from __future__ import annotations

import re
from typing import Any

from aegis.faults import jsonpath
from aegis.faults.answers import to_json

_PLACE = re.compile(r"\{\{\s*(.+?)\s*\}\}")


def problem(value: Any) -> str | None:
    """What is wrong with a place in the value."""
    for text in _texts(value):
        for found in _PLACE.finditer(text):
            try:
                jsonpath.parse(found[1])
            except ValueError as error:
                return f"{found[0]}: {error}"
    return None


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def filled(value: Any, source: Any) -> Any:
    """A copy with what `source` has at each place: a text that is nothing but a place becomes the value there, of any
    type (null when there is none); inside a longer text it is written out."""
    if isinstance(value, dict):
        return {name: filled(item, source) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, source) for item in value]
    if not isinstance(value, str):
        return value
    if whole := _PLACE.fullmatch(value):
        return _found(whole[1], source)
    return _PLACE.sub(lambda place: _written(_found(place[1], source)), value)


def _found(path: str, source: Any) -> Any:
    return next(jsonpath.find(source, jsonpath.parse(path)), None)


def _written(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return to_json(value).decode("utf-8", "replace")
