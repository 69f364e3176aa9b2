"""Asking a MySQL or MariaDB server one question, over a socket that is connected already."""

from __future__ import annotations

import math
import socket
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import SSCursor

from aegis.scoring.servers import Login, QueryError, Rows, number
from aegis.scoring.sqlite import DatabaseError

_SYNTAX, _READ_ONLY = 1064, 1792
_WHOLE = ("TINY", "SHORT", "LONG", "LONGLONG", "INT24", "YEAR", "DECIMAL", "NEWDECIMAL")
_READERS: dict[Any, Any] = {getattr(FIELD_TYPE, name): number for name in _WHOLE}
_READERS |= {FIELD_TYPE.FLOAT: float, FIELD_TYPE.DOUBLE: float}


def read(sock: socket.socket, login: Login, query: str, max_rows: int, timeout_s: float) -> Rows:
    """See `aegis.scoring.servers.Read`. Values but numbers come as the server writes them."""
    try:
        connection = pymysql.Connection(
            user=login.user,
            password=login.password,
            database=login.database,
            charset="utf8mb4",
            read_timeout=math.ceil(timeout_s),
            write_timeout=math.ceil(timeout_s),
            autocommit=True,
            local_infile=False,  # a server may ask any client for a file of its host
            conv=_READERS,
            defer_connect=True,
        )
        connection.connect(sock)
        connection.query(f"SET SESSION sql_select_limit = {max_rows + 1}")
        connection.query("START TRANSACTION READ ONLY")
        # Not closed: that would read what is left of the answer.
        cursor = SSCursor(connection)
        cursor.execute(query)
        rows = [tuple(row) for row in cursor.fetchmany(max_rows + 1)]
    except pymysql.MySQLError as error:
        raise _explained(error) from None
    except OSError as error:
        raise DatabaseError(f"the server ended the connection ({error})") from None
    except Exception as error:  # whatever a server that speaks another protocol makes the library do
        raise DatabaseError(f"the server does not answer as MySQL ({type(error).__name__})") from None
    if len(rows) > max_rows:
        raise DatabaseError(f"the query gave more than {max_rows} rows")
    return rows


def _explained(error: pymysql.MySQLError) -> Exception:
    code = error.args[0] if error.args else 0
    message = str(error.args[1]) if len(error.args) > 1 else str(error) or "the server reported an error"
    return QueryError(message) if code in (_SYNTAX, _READ_ONLY) else DatabaseError(message)
