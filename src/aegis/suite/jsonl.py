"""Bulk cases: a JSONL file, one case a line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from aegis.suite.plaindata import MAX_DEPTH, plain_data
from aegis.suite.problems import Path, Problem


@dataclass(frozen=True, slots=True)
class BulkCases:
    cases: list[Any]
    lines: list[int]
    """Line (from 1) of each case."""
    problems: list[Problem]


def parse_jsonl(text: str, *, shown: str) -> BulkCases:
    """Every line's object, and `shown:line: text` for each line that isn't one. Blank lines are skipped."""
    cases: list[Any] = []
    lines: list[int] = []
    problems: list[Problem] = []
    # Not splitlines(): it also splits at U+2028, which JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            case = _case(line, shown, number, problems)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(shown, number, _explain(error, line)))
            continue
        cases.append(case)
        lines.append(number)
    return BulkCases(cases, lines, problems)


def _case(line: str, shown: str, number: int, problems: list[Problem]) -> Any:
    case = _DECODER.decode(line)
    # Only these can hold what plain data doesn't; walking every case would cost more than reading it.
    if "\\ud" in line or "\\uD" in line or line.count("{") + line.count("[") > MAX_DEPTH:

        def report(path: Path, message: str) -> None:
            problems.append(Problem(shown, number, message))

        return plain_data(case, report)
    return case


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {twice!r}")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        named = text.lstrip("-").isalpha()
        raise ValueError(f"{text} is not a finite number" if named else "the number is too large")
    return number


def _explain(error: Exception, line: str) -> str:
    if isinstance(error, RecursionError):
        return f"is nested more than {MAX_DEPTH} levels deep"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} (column {error.colno})"
    if "integer string conversion" in str(error):
        return "the number is too large"
    return str(error)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
