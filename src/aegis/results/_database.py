"""Opening ledger.db: pragmas, transactions, format check, and SQLite's errors in the user's words."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from aegis._version import __version__
from aegis.errors import LedgerError
from aegis.results import _tables

BUSY_TIMEOUT_S = 30.0
APPLICATION_ID = 0x41454749  # "AEGI": tells our file from another program's database


class Database:
    """One ledger.db. Usable from several threads; several processes may have it open at once."""

    def __init__(self, path: Path) -> None:
        """Open it, and make it when there is none. Raises `LedgerError` when it cannot be used as it is; a
        file that is there is never deleted or overwritten."""
        self.path = path
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        self._writer = self._engine.execution_options(ledger_write=True)
        try:
            with self._explaining():
                self._refuse_emptied()
                self._create_or_check()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view; never waits for writers."""
        with self._explaining(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that has the write lock from its start: what it reads stays true until it
        commits."""
        with self._explaining(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _create_or_check(self) -> None:
        with self._engine.connect() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version == 0:
            self._create()
        elif 0 < version < _tables.FORMAT:
            self._migrate()
        with self._engine.begin() as connection:
            self._check(connection)

    def _create(self) -> None:
        with self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            _switch_to_wal(raw.cursor())
        with self._writer.begin() as connection:
            # Another process may have been first while this one waited for the write lock.
            if connection.exec_driver_sql("PRAGMA user_version").scalar_one() != 0:
                return
            if _table_names(connection):
                raise self._unusable("it is another program's database")
            _tables.metadata.create_all(connection)
            connection.execute(sa.insert(_tables.meta), {"key": "written_by", "value": __version__})
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {_tables.FORMAT}")

    def _migrate(self) -> None:
        """One format after the other, in one transaction: there is no state that neither version can use."""
        with self._writer.begin() as connection:
            if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != APPLICATION_ID:
                return  # `_check` says so
            # Another process may have been first while this one waited for the write lock.
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            for step in range(version, _tables.FORMAT):
                for statement in _tables.MIGRATIONS[step]:
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version = {_tables.FORMAT}")

    def _check(self, connection: sa.Connection) -> None:
        if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != APPLICATION_ID:
            raise self._unusable("it is another program's database")
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version > _tables.FORMAT:
            raise self._too_new(connection, version)
        missing = set(_tables.metadata.tables) - _table_names(connection)
        if missing:
            raise self._unusable(f"tables are missing: {', '.join(sorted(missing))}")
        self._refuse_truncated(connection)

    def _too_new(self, connection: sa.Connection, version: int) -> LedgerError:
        writer = "a newer Aegis"
        with contextlib.suppress(sa.exc.DatabaseError):
            statement = sa.select(_tables.meta.c.value).where(_tables.meta.c.key == "written_by")
            if value := connection.execute(statement).scalar():
                writer = f"Aegis {value}"
        return LedgerError(
            f"the ledger {self.path} was written by {writer} (format {version}); "
            f"this is Aegis {__version__}, which reads format {_tables.FORMAT}",
            fix=f"use {writer}, or move {self.path.parent} away to begin a new ledger",
        )

    def _refuse_emptied(self) -> None:
        # SQLite takes an empty file for a new database, and would then throw its write-ahead log away.
        try:
            emptied = self.path.stat().st_size == 0
        except FileNotFoundError:
            return
        log = self.path.with_name(self.path.name + "-wal")
        blobs = self.path.parent / "blobs"
        if emptied and ((log.exists() and log.stat().st_size) or (blobs.is_dir() and any(blobs.iterdir()))):
            raise self._unusable("it is empty, but there are results beside it")

    def _refuse_truncated(self, connection: sa.Connection) -> None:
        # SQLite itself notices only when it needs a page that is gone. While the log holds pages, the file
        # may rightly be shorter than the header says.
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        if self.path.stat().st_size < pages * size:
            raise self._unusable("it is truncated")

    def _unusable(self, why: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self.path} cannot be used: {why}",
            fix=f"move {self.path} (with -wal and -shm beside it) away; a new one is made at the next run",
        )

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._explain(error.orig or error) from error
        except (sqlite3.Error, OSError) as error:
            raise self._explain(error) from error

    def _explain(self, error: BaseException) -> LedgerError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if code is not None else None
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return self._unusable(str(error))
        if primary == sqlite3.SQLITE_FULL:
            why, fix = "the disk is full", "free some space on that disk and resume the run"
        elif primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            why = f"another process has been writing to it for more than {BUSY_TIMEOUT_S:g} s"
            fix = "wait for the other process, or end it"
        elif primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            why, fix = str(error), f"make {self.path.parent} a folder that this user may write to"
        else:
            why, fix = str(error), f"check the disk that holds {self.path}"
        return LedgerError(f"the ledger {self.path} cannot be used: {why}", fix=fix)


def _on_connect(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins too late and only for some statements; `_on_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(
        "PRAGMA synchronous = NORMAL"
    )  # in WAL mode: safe against a kill, at most late after a power cut
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("ledger_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _switch_to_wal(cursor: Any) -> None:
    # Two processes that switch a new file at the same moment get "locked" at once: the busy timeout doesn't
    # apply here. Once switched, the file stays so.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _table_names(connection: sa.Connection) -> set[str]:
    rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows if not name.startswith("sqlite_")}
