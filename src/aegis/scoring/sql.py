"""Scorer `sql`: a query on an SQLite database that lies in the sandbox."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Any

from aegis.errors import GuestOperationError
from aegis.sandbox.base import MAX_GET_BYTES, Sandbox
from aegis.scoring import configs, sqlite
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.words import failed, passed, plain, shown, why_unreadable
from aegis.suite.units import describe

_CONDITIONS = ("equals", "rows", "contains")
_KEYS = ("database", "query", *_CONDITIONS)
_PREFIX = "sqlite:"

Rows = list[tuple[Any, ...]]


class SqlScorer:
    name = "sql"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        path, query = config["database"].removeprefix(_PREFIX), config["query"]
        try:
            files = await _copy_out(context.sandbox, path)
        except GuestOperationError as error:
            return failed(self.name, why_unreadable(path, error, MAX_GET_BYTES))
        try:
            rows = await asyncio.to_thread(sqlite.read, files, query)
        except sqlite.DatabaseError as error:
            return failed(self.name, f"{path}: {plain(str(error))} ({shown(query)})")
        for key in _CONDITIONS:
            if key in config and (lack := _LACKS[key](config[key], rows)):
                return failed(self.name, f"{shown(query)} on {path}: {lack}")
        return passed(self.name, f"{shown(query)} on {path} gave {_shown_rows(rows)}")


async def _copy_out(sandbox: Sandbox, path: str) -> sqlite.DatabaseFiles:
    """Raises `GuestOperationError`; the log and the journal may be missing."""

    async def beside(suffix: str) -> bytes:
        try:
            return await sandbox.get_file(path + suffix)
        except GuestOperationError as error:
            if error.code == "not-found":
                return b""
            raise

    return sqlite.DatabaseFiles(await sandbox.get_file(path), await beside("-wal"), await beside("-journal"))


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
    yield from configs.text(config, "database")
    yield from configs.text(config, "query")
    database, query = config.get("database"), config.get("query")
    if isinstance(database, str) and database.strip() and not database.removeprefix(_PREFIX).strip():
        yield ("database",), f"expected {_PREFIX}PATH, got {database!r}"
    elif isinstance(database, str) and database.strip() and not database.startswith(_PREFIX):
        yield ("database",), f"expected {_PREFIX}PATH (no other database is supported yet), got {database!r}"
    if (
        isinstance(query, str)
        and query.strip()
        and "\0" not in query
        and (wrong := sqlite.query_problem(query))
    ):
        yield ("query",), wrong
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
