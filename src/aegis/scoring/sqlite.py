"""Reading a database file that an agent wrote, on the host, as the hostile bytes that it is.

The file is opened on the host so that any image works, also one without sqlite, and so that no program of the
sandbox has a say in the result. What a crafted file could do is taken away: it is a private copy, its
schema's functions are not trusted, only reading is authorised, no extension loads, and size and processor
time are bounded."""

from __future__ import annotations

import re
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

QUERY_CPU_S = 10.0
"""Processor time of one query, not wall time: a busy host must not fail an agent."""

MAX_ROWS = 10_000
MAX_VALUE_BYTES = 16 * 1024 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024

_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_STEPS = 10_000  # virtual-machine instructions between two looks at the clock

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

_ALLOWED_ACTIONS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_DENIED_FUNCTIONS = {"load_extension", "fts3_tokenizer"}


ONLY_READING = "expected a query that only reads: SELECT, WITH … SELECT, or VALUES"


class DatabaseError(Exception):
    """The database can't be read or the query can't be answered on it; the message is the reason."""


@dataclass(frozen=True, slots=True)
class DatabaseFiles:
    """A database as it lay in the sandbox. `-shm` is not among its files: SQLite makes that one anew from the
    log."""

    main: bytes
    wal: bytes = b""
    journal: bytes = b""


def query_problem(query: str) -> str | None:
    """What is wrong with a query that no database could cure: its syntax, or that it would write. None when a
    database with the right tables could answer it."""
    first = first_word(query)
    if first not in ("SELECT", "WITH", "VALUES", "EXPLAIN"):
        return ONLY_READING
    return _syntax_problem(query if first == "EXPLAIN" else f"EXPLAIN {query}")


def first_word(query: str) -> str:
    """The word that a query begins with, in capitals, behind comments and parentheses; "" when there is none."""
    stripped = re.sub(r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/|\()+", "", query, flags=re.DOTALL)
    first = re.match(r"[A-Za-z]*", stripped)
    return "" if first is None else first[0].upper()


@lru_cache(maxsize=4096)
def _syntax_problem(statement: str) -> str | None:
    try:
        with _empty_lock:
            _empty().execute(statement).close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        # A missing table or column may be the agent's failing; everything else is the query's own.
        if not re.match(r"no such (table|column|collation sequence)", str(error)):
            return _explain(error)
    return None


_empty_lock = threading.Lock()


@cache
def _empty() -> sqlite3.Connection:
    """An empty database to prepare queries against; opening one for each query would take longer than preparing."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.set_authorizer(_authorize)
    return connection


def read(files: DatabaseFiles, query: str, *, max_rows: int = MAX_ROWS) -> list[tuple[Any, ...]]:
    """All rows of the answer. Blocks; run it in a thread. Raises `DatabaseError`.

    The copy is opened for writing only when an unfinished transaction has to be rolled back first.
    """
    _refuse_foreign(files)
    with tempfile.TemporaryDirectory(prefix="aegis-sql-") as folder:
        path = Path(folder) / "copy.db"
        path.write_bytes(files.main)
        for suffix, content in (("-wal", files.wal), ("-journal", files.journal)):
            if content:
                path.with_name(path.name + suffix).write_bytes(content)
        mode = "rw" if files.journal else "ro"
        try:
            with closing(
                sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)
            ) as connection:
                _harden(connection)
                return _fetch(connection, query, max_rows)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
            raise DatabaseError(_explain(error)) from None


def _refuse_foreign(files: DatabaseFiles) -> None:
    if files.main and not files.main.startswith(_MAGIC):
        raise DatabaseError("it is not an SQLite database")
    if files.journal.endswith(_JOURNAL_MAGIC):
        # Such a journal names another file, which SQLite deletes after the rollback: any file of the host.
        raise DatabaseError("it was left in the middle of a transaction over several databases")


def _harden(connection: sqlite3.Connection) -> None:
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    for pragma in (
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "mmap_size=0",
        "cache_size=-16384",
        "query_only=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(_stopwatch(), _STEPS)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second in _DENIED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    if action in _ALLOWED_ACTIONS or _asked_by_full_text(action, first, second):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _asked_by_full_text(action: int, first: str | None, second: str | None) -> bool:
    """What SQLite itself asks for when it opens a full-text table: two pragmas that are only read, and the table's
    declaration, which counts as an update of a schema that nobody may update (`writable_schema` is off)."""
    if action == sqlite3.SQLITE_PRAGMA:
        return first in ("data_version", "page_size") and second is None
    return action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"


def _stopwatch() -> Callable[[], bool]:
    started = time.thread_time()
    return lambda: time.thread_time() - started > QUERY_CPU_S


def _fetch(connection: sqlite3.Connection, query: str, max_rows: int) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    size_bytes = 0
    for row in connection.execute(query):
        rows.append(row)
        size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) > max_rows:
            raise DatabaseError(f"the query gave more than {max_rows} rows")
        if size_bytes > MAX_RESULT_BYTES:
            raise DatabaseError(f"the query gave more than {MAX_RESULT_BYTES} bytes")
    return rows


def _explain(error: BaseException) -> str:
    message = str(error)
    if message == "interrupted":
        return f"the query took more than {QUERY_CPU_S:g} s of processor time"
    if "not authorized" in message or "prohibited" in message:
        return f"only reading is allowed ({message})"
    return message or type(error).__name__
