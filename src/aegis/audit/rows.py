"""What changed inside a database file: tables and rows, not bytes.

The bytes come out of a sandbox, so they are opened in memory, never on disk, with the limits of a stranger's file.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"SQLite format 3\0"
MAX_TABLES = 100
MAX_ROWS = 10_000
"""Of one table; of a longer one only the number is told."""
READ_S = 5.0
MAX_VALUE_BYTES = 64 * 1024

Rows = Mapping[str, "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    count: int
    rows: Counter[tuple[object, ...]] | None
    """None when it has more than `MAX_ROWS`."""


@dataclass(frozen=True, slots=True)
class RowChange:
    table: str
    how: str
    """`added` or `deleted` for a whole table, `changed` for its rows."""
    added: int
    deleted: int
    examples: tuple[str, ...] = ()
    """Up to three of the added rows, as text."""


def is_sqlite(data: bytes | None) -> bool:
    return data is not None and data.startswith(MAGIC)


def read_sqlite(data: bytes) -> Rows | None:
    """All tables of a database; None when it cannot be read. An empty file is a database without tables."""
    if not data:
        return {}
    connection = sqlite3.connect(":memory:")
    try:
        # A file in WAL mode cannot be opened from memory; what its log holds is not in these bytes either.
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        _limit(connection)
        names = connection.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite~_%' escape '~' limit ?",
            (MAX_TABLES,),
        ).fetchall()
        return {str(name): _table(connection, str(name)) for (name,) in names}
    except (sqlite3.Error, ValueError, OverflowError):
        return None
    finally:
        connection.close()


def _limit(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma query_only = on")
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    deadline = time.monotonic() + READ_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)


def _table(connection: sqlite3.Connection, name: str) -> Table:
    quoted = '"' + name.replace('"', '""') + '"'
    rows = connection.execute(f"select * from {quoted} limit ?", (MAX_ROWS + 1,)).fetchall()
    if len(rows) <= MAX_ROWS:
        return Table(len(rows), Counter(rows))
    (count,) = connection.execute(f"select count(*) from {quoted}").fetchone()
    return Table(int(count), None)


def row_changes(before: Rows, after: Rows) -> tuple[RowChange, ...]:
    """Table by table, in the order of their names."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if new is None:
            assert old is not None
            found.append(RowChange(name, "deleted", 0, old.count))
        elif old is None:
            found.append(RowChange(name, "added", new.count, 0, _examples(new.rows)))
        elif old.rows is None or new.rows is None:
            if old.count != new.count:
                more = new.count - old.count
                found.append(RowChange(name, "changed", max(0, more), max(0, -more)))
        elif old.rows != new.rows:
            added = new.rows - old.rows
            found.append(
                RowChange(name, "changed", added.total(), (old.rows - new.rows).total(), _examples(added))
            )
    return tuple(found)


def _examples(rows: Counter[tuple[object, ...]] | None) -> tuple[str, ...]:
    return tuple(_shown(row) for row in list(rows or ())[:3])


def _shown(row: tuple[object, ...]) -> str:
    cells = [f"{len(cell)} bytes" if isinstance(cell, bytes) else str(cell)[:40] for cell in row[:8]]
    return ", ".join(cells) + (", …" if len(row) > 8 else "")
