"""What a suite may hold: text, finite numbers, booleans, nothing, lists, and mappings with text as keys.

YAML and JSON bring little else, but a Python suite can hold anything, and a case must serialise to reach its
trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from aegis.suite.problems import Path
from aegis.suite.units import describe

MAX_DEPTH = 40

Report = Callable[[Path, str], None]


def plain_data(value: Any, report: Report, path: Path = ()) -> Any:
    """A copy with tuples as lists and every mapping a dict; what can't be had is reported and left out
    (None)."""
    if len(path) > MAX_DEPTH:
        report(path[:2], f"is nested more than {MAX_DEPTH} levels deep")
    elif value is None or isinstance(value, bool):
        return value
    elif isinstance(value, str):
        return _text(value, report, path)
    elif isinstance(value, int):
        return _integer(int(value), report, path)
    elif isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        report(path, f"{value!r} is not a finite number")
    elif isinstance(value, Mapping):
        return _mapping(value, report, path)
    elif isinstance(value, list | tuple):
        return [plain_data(item, report, (*path, index)) for index, item in enumerate(value)]
    else:
        report(path, f"expected text, a number, a list or a mapping, got {describe(value)}")
    return None


def _text(value: str, report: Report, path: Path) -> str:
    text = str.__str__(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        report(path, "the text holds half of a surrogate pair: write the character itself")
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _integer(value: int, report: Report, path: Path) -> int:
    # Python refuses to write longer ones in decimal, which JSON needs.
    if value.bit_length() > 13_000:
        report(path, "the number is too large")
        return 0
    return value


def _mapping(value: Mapping[Any, Any], report: Report, path: Path) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if isinstance(key, str):
            name = _text(key, report, path)
            result[name] = plain_data(item, report, (*path, name))
        else:
            report(path, f"key {describe(key)} is not text: write it in quotes")
    return result
