"""Scorer `sql` on servers: a real PostgreSQL, a real MariaDB, and programs that only pretend to be one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox, ServiceSpec
from aegis.scoring import registry, servers
from aegis.scoring.base import Score
from aegis.scoring.postgres import read as read_postgres
from aegis.scoring.sqlite import DatabaseError
from support.databases import mariadb_programs, mariadb_server, postgres_programs, postgres_server
from support.gateway_server import world
from support.process_sandbox import in_sandbox
from support.scoring import context, service

SCHEMA = """
create table refunds(id int primary key, amount numeric(10, 2), note text, paid boolean, at timestamptz, raw bytea);
insert into refunds values (1, 42, 'late', true, '2026-02-28 23:30:00+02', '\\x00ff');
insert into refunds values (2, 0.10, null, false, null, null);
create schema audit; create table audit.log(line jsonb); insert into audit.log values ('{"a": 1}');
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    with world(folder) as own, postgres_server(programs, folder, own) as port:
        with connect(port) as connection:
            connection.execute(SCHEMA)
            connection.execute("create role shop login password 'p:w/d'")
            connection.execute("grant select on refunds to shop")
            connection.execute("create database other")
        yield port


def connect(port: int) -> psycopg.Connection[Any]:
    return psycopg.connect(host="127.0.0.1", port=port, user="app", dbname="postgres", autocommit=True)


def db(port: int) -> ServiceSpec:
    exports = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "app", "PGDATABASE": "postgres"}
    return service("postgres", "postgres", port, **exports)


def sql(services: list[ServiceSpec], **config: Any) -> Score:
    config = {"database": "postgres", **config}
    assert registry.check("sql", config) == []

    async def use(sandbox: Sandbox) -> Score:
        return await registry.get("sql").score(config, context(sandbox=sandbox, services=services))

    return in_sandbox(use)


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("select count(*) from refunds", {"equals": 2}),
        ("select amount from refunds where id = 1;", {"equals": 42}),
        ("select sum(amount), max(amount)::float8 from refunds", {"equals": [42.1, 42.0]}),
        ("select note, paid from refunds order by id", {"equals": [["late", True], [None, False]]}),
        ("select at from refunds where id = 1", {"equals": "2026-02-28 21:30:00+00"}),
        ("select raw from refunds where id = 1", {"equals": "\\x00ff"}),
        ("select line->'a' from audit.log -- a comment", {"equals": "1"}),
        ("with one as (select 1) select * from one", {"rows": 1}),
        ("table audit.log", {"rows": 1}),
        ("values (1, 'a'), (2, 'b')", {"contains": [2, "b"]}),
        ("select 12345678901234567890::numeric", {"equals": 12345678901234567890}),
        ("select id from refunds where id > 9", {"equals": []}),
        ("select '100%'", {"equals": "100%"}),
    ],
)
def test_conditions_that_hold(postgres: int, query: str, condition: dict[str, Any]) -> None:
    score = sql([db(postgres)], query=query, **condition)
    assert score.passed, score.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"query": "select count(*) from refunds", "equals": 3}, "expected 3, found 2"),
        ({"query": "select * from orders", "rows": 1}, 'relation "orders" does not exist'),
        ({"query": "select name from refunds", "rows": 1}, 'column "name" does not exist'),
        ({"query": "select 1", "database": "postgres:gone", "rows": 1}, 'database "gone" does not exist'),
        ({"query": "select generate_series(1, 20000)", "rows": 1}, "more than 10000 rows"),
        ({"query": "select 1/0", "rows": 1}, "division by zero"),
    ],
)
def test_conditions_that_fail(postgres: int, config: dict[str, Any], reason: str) -> None:
    score = sql([db(postgres)], **config)
    assert not score.passed
    assert reason in score.reason


def test_another_database_and_a_url(postgres: int) -> None:
    assert sql(
        [db(postgres)], database="postgres:other", query="select current_database()", equals="other"
    ).passed
    url = f"postgresql://shop:p%3Aw%2Fd@127.0.0.1:{postgres}/postgres"
    assert sql([], database=url, query="select current_user", equals="shop").passed
    score = sql([], database=url, query="select * from audit.log", equals=1)
    assert "permission denied" in score.reason
    assert "p:w/d" not in score.reason


@pytest.mark.parametrize(
    "query",
    [
        "select 1; delete from refunds",
        "with gone as (delete from refunds returning 1) select * from gone",
        "select nextval('counter')",
        "select 1; commit; delete from refunds",
        "select * from refunds for update",
    ],
)
def test_nothing_is_written(postgres: int, query: str) -> None:
    with connect(postgres) as connection:
        connection.execute("create sequence if not exists counter")
        with contextlib.suppress(InfrastructureError):
            assert not sql([db(postgres)], query=query, rows=1).passed
        assert connection.execute("select count(*) from refunds").fetchone() == (2,)


def test_a_query_that_is_no_sql_is_the_suites_mistake(postgres: int) -> None:
    with pytest.raises(InfrastructureError, match=r"the query .* is wrong: syntax error at"):
        sql([db(postgres)], query="select frm refunds where", equals=1)


def test_a_query_that_takes_too_long_has_failed(postgres: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "QUERY_S", 1.0)
    assert "took too long" in sql([db(postgres)], query="select pg_sleep(1000)", rows=1).reason


def test_what_the_agent_set_for_itself_does_not_count(postgres: int) -> None:
    with connect(postgres) as connection:
        connection.execute("alter role app set timezone = 'Asia/Tokyo'")
        connection.execute("alter role app set default_transaction_read_only = off")
        try:
            score = sql(
                [db(postgres)], query="select at from refunds where id = 1", equals="2026-02-28 21:30:00+00"
            )
        finally:
            connection.execute("alter role app reset all")
    assert score.passed, score.reason


def test_a_server_that_is_gone_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "DIAL_S", 0.0)
    assert "nothing listens on port 1" in sql([db(1)], query="select 1", equals=1).reason


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(handler: Handler, database: str) -> Score:
    """The score where a program of the agent's sits in the server's place."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await handler(reader, writer)
        writer.close()

    async def use(sandbox: Sandbox) -> Score:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = {"database": database.format(port=port), "query": "select 1", "equals": 1}
        try:
            return await registry.get("sql").score(config, context(sandbox=sandbox, services=[db(port)]))
        finally:
            server.close()

    return in_sandbox(use)


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def announces_gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"R" + struct.pack(">i", 2_000_000_000))
    for _ in range(100):
        writer.write(bytes(65536))
        await writer.drain()


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Logs in, and then sends rows without end: no column, the least that a row can be."""
    await reader.read(4096)
    writer.write(b"R" + struct.pack(">ii", 8, 0) + b"Z" + struct.pack(">ic", 5, b"I"))
    columns = b"T" + struct.pack(">ih", 6, 0)
    row = b"D" + struct.pack(">ih", 6, 0)
    writer.write(columns)
    while True:
        writer.write(row * 10_000)
        await writer.drain()


async def asks_for_a_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A MySQL server that answers the first command by asking for a file of the client's host."""
    writer.write(packet(0, b"\x0a5.7.0\0" + struct.pack("<I", 1) + b"a" * 8 + b"\0\xff\xff\x08\x02\0\xff\xff\x15"
                        + bytes(10) + b"b" * 12 + b"\0mysql_native_password\0"))  # fmt: skip
    await reader.read(4096)
    writer.write(packet(2, b"\0\0\0\x02\0\0\0"))
    while data := await reader.read(4096):
        assert b"root:" not in data
        writer.write(packet(1, b"\xfb/etc/passwd"))


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


@pytest.mark.parametrize("handler", [ends, speaks_http, announces_gigabytes, floods])
@pytest.mark.parametrize("database", ["postgres", "mysql://a@127.0.0.1:{port}/a"])
def test_a_server_of_the_agents_own_has_failed(
    handler: Handler, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "MAX_ANSWER_BYTES", 4 * 1024 * 1024)
    monkeypatch.setattr(servers, "QUERY_S", 2.0)
    score = against(handler, database)
    assert not score.passed
    assert len(score.reason) < 500


def test_no_file_of_the_host_is_handed_to_a_server() -> None:
    score = against(asks_for_a_file, "mysql://a@127.0.0.1:{port}/a")
    assert not score.passed
    assert "passwd" not in score.reason


def test_a_server_that_is_silent_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "QUERY_S", 0.3)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert "not answered within 0.6 s" in against(silent, "postgres").reason


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"database": "postgresql://a@db.example/x"}, ("database",), "the host must be 127.0.0.1"),
        ({"database": "postgresql://127.0.0.1/x"}, ("database",), "needs a user"),
        ({"database": "postgresql://a@127.0.0.1"}, ("database",), "the name of a database"),
        ({"database": "postgresql://a@127.0.0.1:x/b"}, ("database",), "Port"),
        ({"database": "mysql://a@127.0.0.1/b?ssl=1"}, ("database",), "not supported"),
        ({"database": "redis://a@127.0.0.1/b"}, ("database",), "no other database is known"),
        ({"database": "sqlite:a.db", "service": "db"}, ("service",), "take it out"),
        ({"query": "delete from a"}, ("query",), "only reads"),
        ({"query": "explain select 1"}, ("query",), "only reads"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], path: tuple[str, ...], said: str) -> None:
    [(where, told)] = registry.check(
        "sql", {"database": "postgres", "query": "select 1", "rows": 1, **config}
    )
    assert where == path
    assert said in told


def test_services_are_checked_with_the_suite() -> None:
    config = {"database": "postgres", "query": "select 1", "rows": 1}
    assert registry.check_services("sql", config, [{"name": "db", "preset": "postgres"}]) == []
    [(path, told)] = registry.check_services("sql", config, [])
    assert (path, told) == (("database",), "sandbox.services has no postgres: add postgres to it")
    assert registry.check_services("sql", {**config, "database": "sqlite:a.db"}, []) == []
    with pytest.raises(InfrastructureError, match="has no postgres"):
        sql([], query="select 1", rows=1)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    programs = mariadb_programs()
    if programs is None:
        pytest.skip("MariaDB's server is not installed (Debian: mariadb-server-core)")
    folder = tmp_path_factory.mktemp("mariadb")
    with world(folder) as own, mariadb_server(programs, folder, own) as port:
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=port, user="app", password="pw") as connection:
            cursor = connection.cursor()
            for statement in (
                "create database shop",
                "create table shop.refunds(id int primary key, amount decimal(10, 2), note text, at datetime)",
                "insert into shop.refunds values (1, 42, 'lät', '2026-02-28 23:30:00'), (2, 0.1, null, null)",
            ):
                cursor.execute(statement)
            connection.commit()
        yield port


@pytest.mark.parametrize(
    ("query", "condition", "reason"),
    [
        ("select count(*) from refunds", {"equals": 2}, None),
        ("select sum(amount) from refunds", {"equals": 42.1}, None),
        ("select note, at from refunds order by id", {"contains": ["lät", "2026-02-28 23:30:00"]}, None),
        ("select note like '%t' from refunds where id = 1", {"equals": True}, None),
        ("select * from orders", {"rows": 1}, "doesn't exist"),
        ("select seq from seq_1_to_20000", {"rows": 1}, "more than 10000 rows"),
    ],
)
def test_mysql(mariadb: int, query: str, condition: dict[str, Any], reason: str | None) -> None:
    score = sql([], database=f"mysql://app:pw@127.0.0.1:{mariadb}/shop", query=query, **condition)
    assert score.passed is (reason is None), score.reason
    assert (reason or "") in score.reason


def test_mysql_refuses_what_is_wrong(mariadb: int) -> None:
    def asked(query: str, password: str = "pw") -> Score:
        return sql([], database=f"mariadb://app:{password}@127.0.0.1:{mariadb}/shop", query=query, equals=2)

    with pytest.raises(InfrastructureError, match="You have an error in your SQL syntax"):
        asked("select frm where")
    assert "Access denied" in asked("select 1", "wrong").reason
    with contextlib.suppress(InfrastructureError):
        assert not asked("select 1; delete from refunds").passed
    assert asked("select count(*) from refunds").passed


def test_a_server_that_refuses_and_is_gone_at_once_is_still_understood() -> None:
    fields = b'SFATAL\0C3D000\0Mdatabase "gone" does not exist\0\0'

    def refuse() -> None:
        theirs.recv(8, socket.MSG_WAITALL)
        theirs.sendall(b"N")  # to the question whether it speaks TLS
        (length,) = struct.unpack(">i", theirs.recv(4, socket.MSG_WAITALL))
        theirs.recv(length - 4, socket.MSG_WAITALL)
        theirs.shutdown(socket.SHUT_RD)  # a goodbye cannot be sent any more
        theirs.sendall(b"E" + struct.pack(">i", len(fields) + 4) + fields)
        theirs.close()

    ours, theirs = socket.socketpair()
    with ours, concurrent.futures.ThreadPoolExecutor() as pool:
        refusing = pool.submit(refuse)
        login = servers.Login("postgres", 5432, "postgres", "", "gone")
        with pytest.raises(DatabaseError, match='database "gone" does not exist'):
            read_postgres(ours, login, "select 1", 10, 5.0)
        refusing.result()
