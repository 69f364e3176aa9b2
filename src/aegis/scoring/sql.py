"""Scorer `sql`: a query on a database in the sandbox: an SQLite file, or a server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.scoring import ask, configs
from aegis.scoring.ask import UnreadableError
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.services import Declared
from aegis.scoring.words import failed, passed, shown
from aegis.suite.units import describe

_CONDITIONS = ("equals", "rows", "contains")
_KEYS = ("database", "service", "query", *_CONDITIONS)

Rows = list[tuple[Any, ...]]


class SqlScorer:
    name = "sql"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    def check_services(self, config: Any, services: Sequence[Declared]) -> None:
        refuse(ask.service_problems(config, services))

    async def score(self, config: Any, context: ScoreContext) -> Score:
        query = config["query"]
        source = ask.source(config, context.services)
        try:
            rows = await source.rows(context.sandbox, query)
        except UnreadableError as error:
            return failed(self.name, str(error))
        for key in _CONDITIONS:
            if key in config and (lack := _LACKS[key](config[key], rows)):
                return failed(self.name, f"{shown(query)} on {source.shown}: {lack}")
        return passed(self.name, f"{shown(query)} on {source.shown} gave {_shown_rows(rows)}")


def _equals(expected: Any, rows: Rows) -> str | None:
    found = _shown_rows(rows)
    if not isinstance(expected, list | tuple):
        same = len(rows) == 1 and len(rows[0]) == 1 and _same(expected, rows[0][0])
    elif expected and not isinstance(expected[0], list | tuple):
        same = len(rows) == 1 and _same_row(expected, rows[0])
    else:
        same = len(rows) == len(expected) and all(map(_same_row, expected, rows))
    return None if same else f"expected {shown(expected)}, found {found}"


def _count(expected: int, rows: Rows) -> str | None:
    return (
        None if len(rows) == expected else f"expected {expected} rows, found {len(rows)}: {_shown_rows(rows)}"
    )


def _contains(expected: Any, rows: Rows) -> str | None:
    wanted = expected if isinstance(expected, list | tuple) else [expected]
    if wanted and not isinstance(wanted[0], list | tuple):
        wanted = [wanted]
    for row in wanted:
        if not any(_same_row(row, found) for found in rows):
            return f"expected a row {shown(row)} among {_shown_rows(rows)}"
    return None


_LACKS = {"equals": _equals, "rows": _count, "contains": _contains}


def _same_row(expected: Any, row: tuple[Any, ...]) -> bool:
    return len(expected) == len(row) and all(map(_same, expected, row))


def _same(expected: Any, found: Any) -> bool:
    """SQLite has no booleans (`true` is 1), and sums of decimal fractions are off in the last place."""
    if isinstance(expected, float) or isinstance(found, float):
        numbers = all(isinstance(value, int | float) for value in (expected, found))
        return numbers and math.isclose(expected, found, rel_tol=1e-9, abs_tol=1e-12)
    return bool(expected == found)


def _shown_rows(rows: Rows) -> str:
    if len(rows) == 1 and len(rows[0]) == 1:
        return shown(rows[0][0])
    if not rows:
        return "no rows"
    listed = ", ".join(f"[{', '.join(shown(value, 40) for value in row[:10])}]" for row in rows[:3])
    return listed if len(rows) <= 3 else f"{listed}, … ({len(rows)} rows)"


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS, required=("database", "query"))
    if not isinstance(config, Mapping):
        return
    yield from ask.problems(config)
    if not any(key in config for key in _CONDITIONS):
        yield (), f"expected a condition: {', '.join(_CONDITIONS)}"
    yield from configs.whole(config, "rows")
    if "equals" in config:
        yield from _value_problems(config["equals"], "equals")
    if "contains" in config:
        if config["contains"] in ([], ()):
            yield ("contains",), "expected a row or a list of rows, got an empty list"
        yield from _value_problems(config["contains"], "contains")


def _value_problems(value: Any, key: str) -> Iterator[Problem]:
    items = value if isinstance(value, list | tuple) else [value]
    nested = [isinstance(item, list | tuple) for item in items]
    if any(nested) and not all(nested):
        yield (key,), "expected one row (values only) or a list of rows (lists only), got a mixture"
        return
    cells = [cell for item in items for cell in (item if isinstance(item, list | tuple) else [item])]
    for cell in cells:
        if cell is not None and not isinstance(cell, str | int | float):
            yield (key,), f"expected texts, numbers or null in a row, got {describe(cell)}"
            return


scorer = SqlScorer()
