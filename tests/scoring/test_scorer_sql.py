"""Scorer `sql`: databases as agents leave them, broken and hostile ones included."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from aegis.sandbox.base import Sandbox
from aegis.scoring import registry, sqlite
from aegis.scoring.base import Score
from aegis.scoring.sqlite import DatabaseError, DatabaseFiles
from support.process_sandbox import in_sandbox
from support.scoring import context

SCHEMA = """
create table refunds(id integer primary key, amount real, note text);
insert into refunds values (1, 42, 'late'), (2, 0.1, null), (3, 0.2, 'x');
"""


def database(script: str = SCHEMA) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return connection.serialize()


def sql(files: dict[str, bytes], **config: Any) -> Score:
    config = {"database": "sqlite:app.db", **config}
    assert registry.check("sql", config) == []

    async def use(sandbox: Sandbox) -> Score:
        return await registry.get("sql").score(config, context(sandbox=sandbox))

    return in_sandbox(use, files)


def read(files: DatabaseFiles, query: str) -> list[tuple[Any, ...]]:
    return sqlite.read(files, query)


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("select count(*) from refunds", {"equals": 3}),
        ("select amount from refunds where id = 1", {"equals": 42}),
        ("select sum(amount) from refunds where id > 1", {"equals": 0.3}),
        ("select note from refunds where id = 2", {"equals": None}),
        ("select id, note from refunds where id = 1", {"equals": [1, "late"]}),
        ("select id, note from refunds order by id limit 2", {"equals": [[1, "late"], [2, None]]}),
        ("select id from refunds where id = 9", {"equals": []}),
        ("select * from refunds", {"rows": 3}),
        ("select id, note from refunds", {"contains": [3, "x"]}),
        ("select id from refunds", {"contains": [[3], [1]], "rows": 3}),
        ("with a as (select 1 as x) select x from a", {"equals": True}),
        ("-- how many\nvalues (1)", {"equals": 1}),
    ],
)
def test_conditions_that_hold(query: str, condition: dict[str, Any]) -> None:
    score = sql({"app.db": database()}, query=query, **condition)
    assert score.passed, score.reason


@pytest.mark.parametrize(
    ("query", "condition", "reason"),
    [
        ("select count(*) from refunds", {"equals": 1}, "expected 1, found 3"),
        ("select note from refunds where id = 1", {"equals": 1}, 'expected 1, found "late"'),
        ("select id from refunds where id = 9", {"equals": None}, "expected null, found no rows"),
        ("select id from refunds", {"equals": [[1], [2]]}, "found [1], [2], [3]"),
        ("select id from refunds", {"rows": 2}, "expected 2 rows, found 3"),
        ("select id, note from refunds", {"contains": [3, "y"]}, 'expected a row [3, "y"] among'),
        ("select * from orders", {"rows": 1}, "no such table: orders"),
        ("select zeroblob(100000000) from refunds", {"rows": 1}, "too big"),
    ],
)
def test_conditions_that_do_not_hold(query: str, condition: dict[str, Any], reason: str) -> None:
    score = sql({"app.db": database()}, query=query, **condition)
    assert not score.passed
    assert reason in score.reason
    assert "\n" not in score.reason


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "app.db does not exist"),
        ({"app.db/x": b""}, "app.db is a folder"),
        ({"app.db": b"hello, I am text"}, "it is not an SQLite database"),
        ({"app.db": database()[:100] + b"\xff" * 8000}, "app.db: "),
        ({"app.db": b""}, "no such table: refunds"),
    ],
)
def test_a_missing_or_broken_database_is_a_failed_score(files: dict[str, bytes], reason: str) -> None:
    score = sql(files, query="select count(*) from refunds", equals=3)
    assert not score.passed
    assert reason in score.reason


def grown_in(folder: Path, mode: str) -> dict[str, bytes]:
    """A database whose last row is only in its log, or half written: copied while its writer has it open."""
    path = folder / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma journal_mode={mode}")
        connection.executescript(SCHEMA)
        connection.execute("pragma cache_size=1")
        if mode == "wal":
            connection.execute("insert into refunds values (4, 1, 'in the log')")
        else:
            connection.execute("begin")
            connection.execute("update refunds set note = hex(randomblob(20000))")
        return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_rows_in_the_write_ahead_log_count(tmp_path: Path) -> None:
    files = grown_in(tmp_path, "wal")
    assert "app.db-wal" in files
    assert sql(files, query="select note from refunds where id = 4", equals="in the log").passed


def test_an_unfinished_transaction_is_rolled_back(tmp_path: Path) -> None:
    files = grown_in(tmp_path, "delete")
    assert files["app.db-journal"].startswith(bytes.fromhex("d9d505f920a163d7"))
    score = sql(files, query="select note from refunds where id = 1", equals="late")
    assert score.passed, score.reason


def test_a_journal_cannot_delete_a_file_of_the_host(tmp_path: Path) -> None:
    """A journal that names a super-journal makes SQLite delete that file after the rollback."""
    (tmp_path / "db").mkdir()
    files = grown_in(tmp_path / "db", "delete")
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    name = os.fsencode(victim)
    magic = bytes.fromhex("d9d505f920a163d7")
    trailer = (
        (1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic
    )
    hostile = DatabaseFiles(files["app.db"], journal=files["app.db-journal"] + trailer)
    with pytest.raises(DatabaseError, match="several databases"):
        read(hostile, "select 1 from refunds")
    assert victim.exists()


@pytest.mark.parametrize("module", ["fts5", "fts4"])
def test_full_text_tables_can_be_read(module: str) -> None:
    content = database(
        f"create virtual table notes using {module}(body); insert into notes values ('late parcel');"
    )
    found = read(DatabaseFiles(content), "select body from notes where notes match 'parcel'")
    assert found == [("late parcel",)]


def test_text_that_is_not_utf_8_is_replaced() -> None:
    content = database("create table t(x); insert into t values (cast(x'61ff' as text));")
    assert read(DatabaseFiles(content), "select x from t") == [("a\ufffd",)]


def test_a_view_of_the_agent_cannot_write_or_load() -> None:
    content = database("create table t(x); create view v as select load_extension('/tmp/x.so') as x;")
    with pytest.raises(DatabaseError, match=r"not authorized|unsafe use|no such function"):
        read(DatabaseFiles(content), "select x from v")


def test_a_query_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUERY_CPU_S", 0.2)
    content = database(
        "create view v as with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) c from n;"
    )
    with pytest.raises(DatabaseError, match="processor time"):
        read(DatabaseFiles(content), "select c from v")


def test_too_many_rows_are_refused() -> None:
    query = "with recursive n(i) as (select 1 union all select i + 1 from n limit 20000) select i from n"
    with pytest.raises(DatabaseError, match="more than 10000 rows"):
        read(DatabaseFiles(database()), query)


@pytest.mark.parametrize(
    "query",
    [
        "delete from refunds",
        "pragma user_version = 1",
        "pragma writable_schema = on",
        "attach 'x' as y",
        "create temp table t(x)",
        "update sqlite_master set sql = 'x'",
    ],
)
def test_only_reading_is_authorised_whatever_the_check_said(query: str) -> None:
    with pytest.raises(DatabaseError, match=r"only reading|readonly|may not be modified"):
        read(DatabaseFiles(database()), query)


def test_random_damage_never_raises_anything_else() -> None:
    content = bytearray(
        database("create table t(a, b); " + "insert into t values (1, hex(zeroblob(300)));" * 40)
    )
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position : position + 3] = b"\xff\x00\x7f"
        with suppress(DatabaseError):
            assert len(read(DatabaseFiles(bytes(damaged)), "select count(*), max(b) from t")) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"query": "selec 1"}, (("query",), "expected a query that only reads")),
        ({"query": "select count(* from refunds"}, (("query",), "syntax error")),
        ({"query": "select 'open"}, (("query",), "unrecognized token")),
        ({"query": "select 1; select 2"}, (("query",), "one statement at a time")),
        ({"query": "select nonsense(1)"}, (("query",), "no such function: nonsense")),
        ({"query": "delete from refunds"}, (("query",), "only reads")),
        ({"query": "pragma integrity_check"}, (("query",), "only reads")),
        ({"query": ""}, (("query",), "expected a text")),
        ({"database": "oracle:app"}, (("database",), "expected sqlite:PATH")),
        ({"database": "sqlite:"}, (("database",), "expected sqlite:PATH")),
        ({"rows": -1}, (("rows",), "expected a whole number of at least 0")),
        ({"equals": {"a": 1}}, (("equals",), "got a mapping")),
        ({"equals": [[1], 2]}, (("equals",), "got a mixture")),
        ({"contains": []}, (("contains",), "got an empty list")),
        ({"querry": "x"}, (("querry",), "did you mean 'query'?")),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], problem: tuple[Any, str]) -> None:
    config = {"database": "sqlite:app.db", "query": "select 1 from t", "equals": 1, **change}
    [(path, message)] = registry.check("sql", config)
    assert path == problem[0]
    assert problem[1] in message


def test_a_missing_table_is_no_mistake_of_the_suite() -> None:
    for query in ("select a from t", "with x as (select b from u) select * from x"):
        assert registry.check("sql", {"database": "sqlite:a", "query": query, "rows": 1}) == []


def test_a_condition_is_required() -> None:
    found = registry.check("sql", {"database": "sqlite:a", "query": "select 1"})
    assert found == [((), "expected a condition: equals, rows, contains")]
    assert [m for _, m in registry.check("sql", {"rows": 1})] == [
        "missing key 'database'",
        "missing key 'query'",
    ]


def test_the_event_loop_goes_on_during_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUERY_CPU_S", 0.3)
    content = database("create table t(x);")
    query = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

    async def body() -> int:
        ticks = 0
        task = asyncio.ensure_future(asyncio.to_thread(sqlite.read, DatabaseFiles(content), query))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert isinstance(task.exception(), DatabaseError)
        return ticks

    assert asyncio.run(body()) > 3
