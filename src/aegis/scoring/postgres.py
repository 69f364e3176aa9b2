"""Asking a PostgreSQL server one question, over a socket that is connected already."""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from pg8000 import core
from pg8000.exceptions import DatabaseError as ServerError
from pg8000.exceptions import Error

from aegis.scoring.servers import Login, QueryError, Rows, number
from aegis.scoring.sqlite import DatabaseError

_BOOLEAN, _INTEGERS, _FLOATS, _NUMERIC = 16, (20, 21, 23, 26), (700, 701), 1700
_OF_THE_QUERY = ("42601", "25006")
"""SQLSTATE of a syntax error, and of an attempt to write: no state of the database leads to them."""


def read(sock: socket.socket, login: Login, query: str, max_rows: int, timeout_s: float) -> Rows:
    """See `aegis.scoring.servers.Read`. Values but numbers and booleans come as PostgreSQL writes them, in UTC and ISO
    dates."""
    limit_ms = str(int(1000 * timeout_s))
    settings = {
        "client_encoding": "UTF8",
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "statement_timeout": limit_ms,
        "lock_timeout": limit_ms,
        "default_transaction_read_only": "on",
    }
    try:
        connection = _Connection(
            login.user,
            database=login.database,
            password=login.password or None,
            startup_params=settings,
            sock=sock,
        )
        connection.max_rows = max_rows
        connection.execute_unnamed("BEGIN READ ONLY")
        # A cursor, so that an honest server sends no more than is looked at, and takes nothing but a query.
        connection.execute_unnamed(f"DECLARE answer NO SCROLL CURSOR FOR {_single(query)}")
        found = connection.execute_unnamed(f"FETCH {max_rows + 1} FROM answer")
        rows = [tuple(row) for row in found.rows or ()]
    except ServerError as error:
        raise _explained(error) from None
    except (Error, OSError) as error:
        if (told := _told_before(error)) is not None:
            raise _explained(told) from None
        raise DatabaseError(f"the server ended the connection ({error})") from None
    except DatabaseError:
        raise
    except Exception as error:  # whatever a server that speaks another protocol makes the library do
        raise DatabaseError(f"the server does not answer as PostgreSQL ({type(error).__name__})") from None
    if len(rows) > max_rows:
        raise DatabaseError(f"the query gave more than {max_rows} rows")
    return rows


def _as_written(text: str) -> Any:
    return text


_READERS: dict[int, Callable[[str], Any]] = {
    _BOOLEAN: lambda text: text == "t",
    _NUMERIC: number,
    **dict.fromkeys(_INTEGERS, number),
    **dict.fromkeys(_FLOATS, float),
}


class _Connection(core.CoreConnection):  # type: ignore[misc]
    max_rows = 0
    """More, and one, are refused, also of a server that does not care what it was asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pg_types = defaultdict(lambda: _as_written, _READERS)

    def handle_PARAMETER_STATUS(self, data: bytes, context: Any) -> None:
        """A server has no say in how its answers are read."""

    def handle_DATA_ROW(self, data: bytes, context: Any) -> None:
        if len(context.rows) > self.max_rows:
            raise DatabaseError(f"the query gave more than {self.max_rows} rows")
        super().handle_DATA_ROW(data, context)


def _single(query: str) -> str:
    return re.sub(r"[;\s]+\Z", "", query)


def _told_before(error: BaseException) -> ServerError | None:
    """What the server had said, where the library then failed to say goodbye to one that was gone already."""
    earlier = error.__context__
    while earlier is not None and not isinstance(earlier, ServerError):
        earlier = earlier.__context__
    return earlier


def _explained(error: ServerError) -> Exception:
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    code, message = told.get("C", ""), told.get("M") or "the server reported an error"
    if code == "57014":
        return DatabaseError("the query took too long")
    return QueryError(message) if code in _OF_THE_QUERY else DatabaseError(message)
