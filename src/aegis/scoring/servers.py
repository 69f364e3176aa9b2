"""`database` of `sql` and `unchanged`: an SQLite file, a service of the suite, or a database server behind a URL.

Servers are asked from the host, over a connection into the sandbox, so that no client has to be in the image and none
that the agent could have changed has a say. What the server answers is still the machine's word.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import Sandbox, ServiceSpec
from aegis.scoring import bridge, services
from aegis.scoring.sqlite import DatabaseError

QUERY_S = 60.0
"""Time of one query; the server's own limit. Connecting and reading may take as long again."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
DIAL_S = 2.0
"""For a server that is just coming up again."""

SQLITE = "sqlite:"
PRESET = "postgres"
_SCHEMES = {"postgresql": "postgres", "postgres": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_PORTS = {"postgres": 5432, "mysql": 3306}
EXPECTED = (
    "sqlite:PATH, postgres (the suite's service), postgres:DATABASE, or a URL such as "
    "postgresql://USER:PASSWORD@127.0.0.1:5432/DATABASE or mysql://…"
)


class QueryError(Exception):
    """The query itself is wrong: no state of the database could make it work."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where a server listens in the sandbox, and as whom to ask it."""

    dialect: str
    """`postgres` or `mysql`."""
    port: int
    user: str
    password: str
    database: str

    @property
    def shown(self) -> str:
        """Without the password."""
        return f"{self.dialect} database {self.database!r} on port {self.port}"


Rows = list[tuple[Any, ...]]
Read = Callable[[socket.socket, Login, str, int, float], Rows]
"""(socket, login, query, most rows, seconds) → the answer. Blocks; raises `DatabaseError` and `QueryError`."""


def problem(database: str) -> str | None:
    """What is wrong with the value of `database`."""
    if database.startswith(SQLITE):
        return None if database.removeprefix(SQLITE).strip() else f"expected {SQLITE}PATH, got {database!r}"
    if database == PRESET or re.fullmatch(rf"{PRESET}:[^/\s].*", database):
        return None
    try:
        _from_url(database)
    except ValueError as error:
        return f"expected {EXPECTED}; {error}"
    return None


def is_file(database: str) -> bool:
    return database.startswith(SQLITE)


def is_service(database: str) -> bool:
    """Whether it is a database of one of the suite's services."""
    return not is_file(database) and "://" not in database


def dialect(database: str) -> str:
    """`sqlite`, `postgres` or `mysql`."""
    if is_file(database):
        return "sqlite"
    return PRESET if is_service(database) else _SCHEMES[database.partition("://")[0].lower()]


def _from_url(text: str) -> Login:
    url = urlsplit(text)
    dialect = _SCHEMES.get(url.scheme)
    if dialect is None or "://" not in text:
        raise ValueError("no other database is known")
    if url.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("the host must be 127.0.0.1: the server runs in the sandbox")
    if url.query or url.fragment:
        raise ValueError("parameters behind '?' are not supported")
    name = unquote(url.path.removeprefix("/"))
    if not name or "/" in name or not url.username:
        raise ValueError("it needs a user and the name of a database: //USER@127.0.0.1/NAME")
    return Login(
        dialect, url.port or _PORTS[dialect], unquote(url.username), unquote(url.password or ""), name
    )


def login(database: str, service: str | None, running: Sequence[ServiceSpec]) -> Login:
    """Raises `InfrastructureError` when the suite has no such service."""
    if not is_service(database):
        return _from_url(database)
    try:
        spec = services.pick(running, name=service, kind=PRESET)
    except services.NoSuchService as error:
        raise InfrastructureError(str(error)) from None
    told = spec.told
    port = told.get("PGPORT", "") or str(spec.port or _PORTS[PRESET])
    if not port.isdecimal():
        raise InfrastructureError(f"the service {spec.name!r} has no port")
    own = told.get("PGDATABASE", "postgres")
    return Login(
        PRESET,
        int(port),
        told.get("PGUSER", "postgres"),
        told.get("PGPASSWORD", ""),
        database.partition(":")[2] or own,
    )


async def read(sandbox: Sandbox, to: Login, query: str, *, max_rows: int) -> Rows:
    """All rows of the answer, in a transaction that only reads.

    Raises `DatabaseError` for what the agent may have caused, `QueryError` for what it can't have, `SandboxError`."""
    read_now = _library(to.dialect)
    try:
        connection = await sandbox.dial(to.port, wait_s=DIAL_S)
    except GuestOperationError as error:
        if error.code == "not-found":
            raise DatabaseError(f"nothing listens on port {to.port}") from None
        raise DatabaseError(str(error)) from None
    try:
        return await bridge.over(
            connection,
            lambda sock: read_now(sock, to, query, max_rows, QUERY_S),
            timeout_s=2 * QUERY_S,
            max_bytes=MAX_ANSWER_BYTES,
        )
    except TimeoutError:
        raise DatabaseError(f"the query was not answered within {2 * QUERY_S:g} s") from None
    except bridge.TooMuchError:
        raise DatabaseError(f"the query gave more than {MAX_ANSWER_BYTES} bytes") from None


def _library(dialect: str) -> Read:
    # Only suites that ask a server pay for loading its client.
    if dialect == "mysql":
        from aegis.scoring import mysql

        return mysql.read
    from aegis.scoring import postgres

    return postgres.read


def number(text: str) -> Any:
    """An exact number of a server as Python's: whole ones as int, others as float."""
    try:
        return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)
    except ValueError:
        return text
