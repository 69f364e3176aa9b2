"""What scorers that ask databases share: the keys `database`, `service` and `query`, and the rows of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import MAX_GET_BYTES, Sandbox, ServiceSpec
from aegis.scoring import configs, servers, services, sqlite
from aegis.scoring.configs import Problem
from aegis.scoring.services import Declared
from aegis.scoring.words import plain, shown, why_unreadable

Rows = list[tuple[Any, ...]]


class UnreadableError(Exception):
    """The agent may have caused it that there are no rows; the message is the reason of a failed score."""


@dataclass(frozen=True, slots=True)
class Source:
    """A database of the sandbox."""

    path: str
    """Of the SQLite file; "" for a server."""
    login: servers.Login | None

    @property
    def shown(self) -> str:
        return self.path if self.login is None else f"the {self.login.shown}"

    async def rows(self, sandbox: Sandbox, query: str, *, max_rows: int = sqlite.MAX_ROWS) -> Rows:
        """All rows of the answer. Raises `UnreadableError`, and `InfrastructureError` for a query that no database of
        this kind could answer."""
        try:
            if self.login is None:
                files = await _copy_out(sandbox, self.path)
                return await asyncio.to_thread(sqlite.read, files, query, max_rows=max_rows)
            return await servers.read(sandbox, self.login, query, max_rows=max_rows)
        except sqlite.DatabaseError as error:
            raise UnreadableError(f"{self.shown}: {plain(str(error))} ({shown(query)})") from None
        except servers.QueryError as error:
            raise InfrastructureError(
                f"the query {shown(query)} is wrong: {plain(str(error))}", fix="Mend it in the suite."
            ) from None


def source(config: Mapping[str, Any], running: Sequence[ServiceSpec]) -> Source:
    """What `database` and `service` name. Raises `InfrastructureError` when the suite has no such service."""
    database = config["database"]
    if servers.is_file(database):
        return Source(database.removeprefix(servers.SQLITE), None)
    return Source("", servers.login(database, config.get("service"), running))


async def _copy_out(sandbox: Sandbox, path: str) -> sqlite.DatabaseFiles:
    """Raises `UnreadableError`; the log and the journal may be missing."""

    async def beside(suffix: str) -> bytes:
        try:
            return await sandbox.get_file(path + suffix)
        except GuestOperationError as error:
            if error.code == "not-found":
                return b""
            raise

    try:
        return sqlite.DatabaseFiles(
            await sandbox.get_file(path), await beside("-wal"), await beside("-journal")
        )
    except GuestOperationError as error:
        raise UnreadableError(why_unreadable(path, error, MAX_GET_BYTES)) from None


def problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the keys."""
    for key in ("database", "service", "query"):
        yield from configs.text(config, key)
    database, query = config.get("database"), config.get("query")
    known = isinstance(database, str) and bool(database.strip()) and "\0" not in database
    if known and (wrong := servers.problem(str(database))):
        yield ("database",), wrong
        known = False
    if known and "service" in config and not servers.is_service(str(database)):
        yield ("service",), "is for databases of a service (database: postgres): take it out"
    if known and isinstance(query, str) and query.strip() and "\0" not in query:
        if servers.is_file(str(database)):
            wrong = sqlite.query_problem(query)
        else:
            reads = sqlite.first_word(query) in ("SELECT", "WITH", "VALUES", "TABLE")
            wrong = None if reads else sqlite.ONLY_READING
        if wrong:
            yield ("query",), wrong


def service_problems(config: Mapping[str, Any], declared: Sequence[Declared]) -> Iterator[Problem]:
    """Whether the suite has the service that a right configuration names."""
    database = config.get("database")
    if isinstance(database, str) and servers.is_service(database):
        try:
            services.pick(declared, name=config.get("service"), kind=servers.PRESET)
        except services.NoSuchService as error:
            yield ("service" if "service" in config else "database",), str(error)
