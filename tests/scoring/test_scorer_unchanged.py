"""Scorer `unchanged`: files and tables before and after, and the diff that is its reason."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox, ServiceSpec
from aegis.scoring import differ, registry
from aegis.scoring.base import Score
from aegis.scoring.judge_all import look_before, score_all
from support.databases import postgres_programs, postgres_server
from support.gateway_server import world
from support.process_sandbox import in_sandbox
from support.scoring import case, context, service

Agent = Callable[[Sandbox], Awaitable[object]]

FILES = {
    "config.json": '{"limit": 5}\n',
    "notes/a.txt": "one\ntwo\nthree\n",
    "notes/b.bin": b"\0\1",
    "big.txt": "line\n" * 10_000,
}


def shell(script: str) -> Agent:
    async def run(sandbox: Sandbox) -> None:
        done = await sandbox.run(("/bin/sh", "-ec", script))
        assert done.status.ok, done.stderr

    return run


def judged(config: Any, agent: Agent, files: Any = FILES, services: tuple[ServiceSpec, ...] = ()) -> Score:
    assert registry.check("unchanged", config) == []
    whole = case(("unchanged", config))

    async def use(sandbox: Sandbox) -> Score:
        given = context(sandbox=sandbox, services=services)
        before = await look_before(whole, given)
        before = {number: json.loads(json.dumps(value)) for number, value in before.items()}
        await agent(sandbox)
        (score,) = await score_all(whole, given, before=before)
        return score

    return in_sandbox(use, files)


@pytest.mark.parametrize(
    ("config", "script"),
    [
        ("config.json", "true"),
        (["config.json", "notes"], "touch config.json; cat notes/a.txt; echo new > other.txt"),
        ({"paths": "notes/*.txt"}, "echo 1 >> notes/b.bin"),
        (
            {"paths": "notes", "ignore": ["notes/cache", "*.pyc"]},
            "mkdir -p notes/cache/x; echo > notes/cache/x/y; echo > notes/a.pyc",
        ),
        ("not/there", "true"),
        ("**/*.json", "echo '{\"limit\": 5}' > config.json"),
    ],
)
def test_what_stayed_as_it_was(config: Any, script: str) -> None:
    score = judged(config, shell(script))
    assert score.passed, score.reason


@pytest.mark.parametrize(
    ("config", "script", "lines"),
    [
        (
            "config.json",
            "echo '{\"limit\": 50}' > config.json",
            [
                "/workspace/config.json changed since the agent started",
                "/workspace/config.json changed (13 bytes → 14 bytes)",
                "@@ -1 +1 @@",
                '-{"limit": 5}',
                '+{"limit": 50}',
            ],
        ),
        ("notes", "rm notes/b.bin", ["/workspace/notes/b.bin deleted (2 bytes)"]),
        ("notes", "echo x > notes/.hidden", ["/workspace/notes/.hidden added (2 bytes)", "@@ -0,0 +1 @@", "+x"]),
        ("notes", "mkdir notes/d", ["/workspace/notes/d added (a folder)"]),
        ("notes/*.txt", "chmod 600 notes/a.txt", ["/workspace/notes/a.txt changed its mode from 0644 to 0600"]),
        ("config.json", "rm config.json; ln -s /etc/passwd config.json",
         ['/workspace/config.json changed from 13 bytes to a link to "/etc/passwd"']),
        ("config.json", "rm config.json; mkfifo config.json", ["changed from 13 bytes to no regular file"]),
        ("big.txt", "echo end >> big.txt", ["@@ -9999,2 +9999,3 @@", "+end"]),
        ("notes/b.bin", "echo > notes/b.bin", ["/workspace/notes/b.bin changed (2 bytes → 1 bytes)"]),
        ("new", "mkdir new; echo 1 > new/x", ["/workspace/new added (a folder)", "/workspace/new/x added (2 bytes)"]),
        ("notes", "printf 'one\\n\\033[31mtwo\\nthree\\n' > notes/a.txt", ["+\\u001b[31mtwo"]),
        ("/workspace/notes", "mv notes/a.txt notes/c.txt", ["/workspace/notes/a.txt deleted (14 bytes)"]),
    ],
)  # fmt: skip
def test_the_diff_is_the_reason(config: Any, script: str, lines: list[str]) -> None:
    score = judged(config, shell(script))
    assert not score.passed
    assert all(line in score.reason for line in lines), score.reason


def test_a_large_file_is_compared_by_its_digest() -> None:
    files = {"big.bin": bytes(3_000_000)}
    assert judged("big.bin", shell("true"), files).passed
    change = "printf x | dd of=big.bin bs=1 seek=2000000 conv=notrunc 2>/dev/null"
    score = judged("big.bin", shell(change), files)
    assert "/workspace/big.bin changed (3000000 bytes → 3000000 bytes)" in score.reason


def test_the_reason_is_bounded() -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo $i > notes/$i; i=$((i+1)); done; yes | head -c 60000 > notes/a.txt"
    score = judged("notes", shell(script))
    assert len(score.reason.splitlines()) <= differ.MAX_LINES + 2
    assert len(score.reason) < 10_000
    assert "more lines" in score.reason


LOOPS = "mkdir w; cd w; i=0; while [ $i -lt 40 ]; do ln -s . l$i; i=$((i+1)); done"


@pytest.mark.parametrize("paths", ["**/*.json", "*/*/*/*/*", "**/x/**/y", "w", "**"])
def test_links_that_lead_in_circles_are_not_followed(paths: str) -> None:
    score = judged(paths, shell(LOOPS))
    assert score.passed is (paths not in ("w", "**")), score.reason
    assert ("/workspace/w/l0" in score.reason) is not score.passed


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*", ["a/.h", "a/b", "a/b/c.txt", "a/l", "a/x.txt"]),
        ("a/**/*.txt", ["a/b/c.txt", "a/x.txt"]),
        ("a/?.txt", ["a/x.txt"]),
        ("[ab]/b", ["a/b", "a/b/c.txt"]),
        ("a/l/c.txt", ["a/l/c.txt"]),
        ("a/l/*", ["a/l/c.txt"]),
        ("a/*/*.txt", ["a/b/c.txt"]),
        ("**/b", ["a/b", "a/b/c.txt"]),
        ("nothing/*", []),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    async def use(sandbox: Sandbox) -> list[str]:
        await shell("mkdir -p a/b; touch a/x.txt a/.h a/b/c.txt; ln -s b a/l")(sandbox)
        return [entry.path.removeprefix("/workspace/") for entry in await sandbox.look((pattern,))]

    assert in_sandbox(use) == found


def test_too_many_files_afterwards_is_the_agents_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "i=0; while [ $i -lt 60 ]; do echo $i > notes/$i; i=$((i+1)); done"

    async def agent(sandbox: Sandbox) -> None:
        await shell(script)(sandbox)
        look = sandbox.look
        monkeypatch.setattr(sandbox, "look", lambda paths: look(paths, max_entries=50))

    score = judged("notes", agent)
    assert (score.passed, "can no longer be read" in score.reason) == (False, True)


ROWS = "create table refunds(id integer, note text); insert into refunds values (1, 'a'), (2, 'b'), (2, 'b');"


def sqlite_file(script: str = ROWS) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return connection.serialize()


@pytest.mark.parametrize(
    ("config", "change", "lines"),
    [
        ({"tables": "refunds"}, "", []),
        ({"tables": ["refunds"]}, "create table other(a)", []),
        ({"query": "select id from refunds where id = 1"}, "delete from refunds where id = 2", []),
        (
            {"tables": "refunds"},
            "delete from refunds where rowid = 3",
            ['--- SELECT * FROM "refunds"', '-[2, "b"]'],
        ),
        ({"tables": "refunds"}, "insert into refunds values (3, 'c')", ['+[3, "c"]']),
        ({"tables": "refunds"}, "drop table refunds", ["no such table: refunds"]),
        ({"query": "select count(*) from refunds"}, "delete from refunds", ["-[3]", "+[0]"]),
    ],
)
def test_tables_of_a_file(config: Any, change: str, lines: list[str]) -> None:
    async def agent(sandbox: Sandbox) -> None:
        await shell("true")(sandbox)
        if change:
            files = sqlite_file(ROWS + change)
            done = await sandbox.run(("/bin/sh", "-c", "cat > app.db"), stdin=files)
            assert done.status.ok

    score = judged({"database": "sqlite:app.db", **config}, agent, {"app.db": sqlite_file()})
    assert score.passed is not bool(lines), score.reason
    assert all(line in score.reason for line in lines), score.reason


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    with world(folder) as own, postgres_server(programs, folder, own) as port:
        yield port


def test_tables_of_a_server(postgres: int) -> None:
    exports = {"PGPORT": str(postgres), "PGUSER": "app", "PGDATABASE": "postgres"}
    services = (service("postgres", "postgres", postgres, **exports),)

    def statement(sql: str) -> Agent:
        async def run(sandbox: Sandbox) -> None:
            await asyncio.to_thread(execute, sql)

        return run

    def execute(sql: str) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=postgres, user="app", dbname="postgres", autocommit=True
        ) as c:
            c.execute(sql)

    execute('create table "user"(id int, name text); create schema s; create table s.log(n int)')
    execute("""insert into "user" values (1, 'ann'), (2, 'bob')""")
    config = {"database": "postgres", "tables": ["user", "s.log"]}
    assert judged(config, statement("vacuum full"), {}, services).passed
    score = judged(config, statement("update \"user\" set name = 'eve' where id = 2"), {}, services)
    assert not score.passed
    assert '-[2, "bob"]' in score.reason
    assert '+[2, "eve"]' in score.reason
    assert "does not exist" in judged(config, statement("drop table s.log"), {}, services).reason
    with pytest.raises(InfrastructureError, match=r'relation "s\.log" does not exist'):
        judged(config, statement("select 1"), {}, services)


def test_what_cannot_be_read_at_the_start_is_not_the_agents_failure() -> None:
    with pytest.raises(InfrastructureError, match=r"app\.db does not exist"):
        judged({"database": "sqlite:app.db", "tables": "a"}, shell("true"))
    with pytest.raises(InfrastructureError, match="not known"):
        asyncio.run(registry.get("unchanged").score("a", context()))


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({}, (), "expected paths, tables or query"),
        ([], ("paths",), "at least one"),
        ({"paths": ["a", ""]}, ("paths", 1), "expected a text"),
        ({"paths": "../etc"}, ("paths",), "without '..'"),
        ({"tables": "a"}, (), "missing key 'database'"),
        ({"paths": "a", "database": "sqlite:x"}, ("database",), "is for tables or query"),
        ({"database": "oracle:x", "tables": "a"}, ("database",), "expected sqlite:PATH"),
        ({"database": "sqlite:x", "tables": "a."}, ("tables",), "expected a table"),
        ({"database": "sqlite:x", "query": "delete from a"}, ("query",), "only reads"),
        ({"tables": "a", "database": "sqlite:x", "ignore": "x"}, ("ignore",), "is for paths"),
        ({"path": "a"}, ("path",), "did you mean 'paths'?"),
        (3, (), "expected a mapping"),
    ],
)
def test_wrong_configurations(config: Any, path: tuple[Any, ...], said: str) -> None:
    problems = registry.check("unchanged", config)
    assert path in [where for where, _ in problems]
    assert any(said in told for _, told in problems)


def test_services_are_checked_with_the_suite() -> None:
    config = {"database": "postgres", "tables": "a"}
    [(path, told)] = registry.check_services("unchanged", config, [])
    assert (path, "has no postgres" in told) == (("database",), True)
    assert registry.check_services("unchanged", "a.txt", []) == []


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (
            "a\nb\nc\nd\ne\nf\ng\n",
            "a\nb\nc\nd\nE\nf\ng\n",
            ["@@ -3,5 +3,5 @@", " c", " d", "-e", "+E", " f", " g"],
        ),
        ("", "x\n", ["@@ -0,0 +1 @@", "+x"]),
        ("x\n", "", ["@@ -1 +0,0 @@", "-x"]),
        (
            "a\n" * 3000 + "x\n",
            "b\n" * 3000 + "x\n",
            ["@@ -1,3001 +1,3001 @@ too much to compare line by line"],
        ),
        ("a" * 500 + "\n", "b\n", ["@@ -1 +1 @@", "-" + "a" * 160 + "…", "+b"]),
    ],
)
def test_text_diff(before: str, after: str, lines: list[str]) -> None:
    assert differ.text_diff(before, after) == lines
