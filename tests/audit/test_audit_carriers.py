"""What was left behind: rows of databases, files, processes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.audit import carriers, rows
from aegis.audit.carriers import Carrier, Running
from aegis.sandbox.base import Change, Changes


def database(*statements: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    with closing(connection):
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return connection.serialize()


HOURS = "create table hours (project text, hours real)"


def test_rows_tables_and_their_examples() -> None:
    before = database(HOURS, "insert into hours values ('old', 1)", "create table gone (x)")
    after = database(HOURS, "insert into hours values ('new', 2.5)", "create table projects (name text)")
    old, new = rows.read_sqlite(before), rows.read_sqlite(after)
    assert old is not None
    assert new is not None
    found = {change.table: change for change in rows.row_changes(old, new)}
    assert (found["gone"].how, found["projects"].how) == ("deleted", "added")
    assert (found["hours"].added, found["hours"].deleted) == (1, 1)
    assert found["hours"].examples == ("new, 2.5",)


def test_the_same_rows_in_other_bytes_are_no_change() -> None:
    one = database(HOURS, "insert into hours values ('a', 1)", "insert into hours values ('b', 2)")
    other = database(HOURS, "insert into hours values ('b', 2)", "insert into hours values ('a', 1)")
    first, second = rows.read_sqlite(one), rows.read_sqlite(other)
    assert first is not None
    assert second is not None
    assert rows.row_changes(first, second) == ()


def test_a_database_in_wal_mode_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute(HOURS)
        connection.execute("insert into hours values ('a', 1)")
        connection.commit()
    read = rows.read_sqlite(path.read_bytes())
    assert read is not None
    assert read["hours"].count == 1


def test_a_long_table_is_counted_only() -> None:
    numbers = f"select 1 union all select i + 1 from n where i <= {rows.MAX_ROWS}"
    many = f"insert into hours with recursive n(i) as ({numbers}) select i, i from n"
    read = rows.read_sqlite(database(HOURS, many))
    assert read is not None
    assert read["hours"] == rows.Table(rows.MAX_ROWS + 1, None)
    (change,) = rows.row_changes({"hours": rows.Table(1, None)}, read)
    assert (change.added, change.deleted) == (rows.MAX_ROWS, 0)


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    rows.read_sqlite(rows.MAGIC + data)


@given(st.integers(0, 8191), st.integers(0, 255))
def test_a_damaged_database_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(database(HOURS, "insert into hours values ('a', 1)"))
    data[at % len(data)] = value
    rows.read_sqlite(bytes(data))


def test_a_view_runs_nothing() -> None:
    """What stands in a stranger's schema is data."""
    read = rows.read_sqlite(database(HOURS, "create view more as select load_extension('/x') from hours"))
    assert read is not None
    assert set(read) == {"hours"}


def changed(
    path: str, how: str = "added", kind: str = "file", before: bytes | None = None, after: bytes | None = None
) -> Change:
    return Change(path, how, kind, None, None, before, after)  # type: ignore[arg-type]


def test_the_likely_ones_come_first() -> None:
    found = carriers.left_behind(
        Changes(
            (
                changed("/workspace/.cache", kind="folder"),
                changed("/workspace/a.sock", kind="other"),
                changed("/workspace/a.txt", after=b"x"),
                changed(
                    "/workspace/desk.db",
                    "changed",
                    before=database("create table t (x)"),
                    after=database(HOURS),
                ),
                changed("/workspace/old", "changed", kind="folder"),
                changed("/proc/x"),
            )
        ),
        {(1, 5): Running(1, 5, "init")},
        {(1, 5): Running(1, 5, "init"), (7, 9): Running(7, 9, "searchd"), (8, 9): Running(8, 9, "searchd")},
    )
    assert [carrier.name for carrier in found] == [
        "/workspace/desk.db",
        "searchd",
        "/workspace/a.txt",
        "/workspace/.cache",
        "/workspace/a.sock",
    ]
    assert found[0].rows[0].table == "hours"


def test_a_process_that_took_a_number_over_is_new() -> None:
    found = carriers.left_behind(Changes(()), {(7, 1): Running(7, 1, "old")}, {(7, 2): Running(7, 2, "new")})
    assert [carrier.name for carrier in found] == ["new"]


@pytest.mark.parametrize(
    ("carrier", "able"),
    [
        (Carrier("process", "x", "left running"), True),
        (Carrier("file", "/a", "added", change=changed("/a")), True),
        (Carrier("file", "/a", "changed", change=changed("/a", "changed", before=b"")), True),
        (Carrier("file", "/a", "changed", change=changed("/a", "changed")), False),
        (Carrier("file", "/a", "deleted", change=changed("/a", "deleted", kind="folder")), False),
    ],
)
def test_only_what_is_known_can_be_undone(carrier: Carrier, able: bool) -> None:
    assert carriers.can_undo(carrier) is able


def test_what_lies_in_an_undone_folder_goes_with_it() -> None:
    inner = Carrier("file", "/w/notes/trip.md", "added", change=changed("/w/notes/trip.md"))
    beside = Carrier("file", "/w/notes.md", "added", change=changed("/w/notes.md"))
    folder = Carrier("file", "/w/notes", "added", change=changed("/w/notes", kind="folder"))
    assert carriers.topmost((inner, beside, folder)) == (beside, folder)
    assert carriers.topmost((inner, beside)) == (inner, beside)


def test_only_the_guilty_are_marked() -> None:
    one, other = Carrier("process", "a", "left running"), Carrier("process", "b", "left running")
    marked = carriers.mark_confirmed((one, other), (other,))
    assert [(carrier.name, carrier.confirmed) for carrier in marked] == [("b", True), ("a", False)]


def test_a_listing_of_processes_may_hold_anything() -> None:
    text = "1 5 init\n7 90 python3 -m x y\nnonsense\n8 -1 x\n9 1  \n\x1b[31m\n"
    assert sorted(carriers.parse_processes(text)) == [(1, 5), (7, 90)]
    assert carriers.parse_processes(text)[7, 90].command == "python3 -m x y"


def test_what_a_service_wrote_is_one_thing_and_never_undone() -> None:
    found = carriers.left_behind(
        Changes(
            (
                changed("/srv/db/base/1", "changed", before=b"x"),
                changed("/srv/db/base/2"),
                changed("/srv/dbx"),
            )
        ),
        {},
        {},
        {"db": "/srv/db"},
    )
    assert [(carrier.kind, carrier.name) for carrier in found] == [("service", "db"), ("file", "/srv/dbx")]
    assert [carriers.can_undo(carrier) for carrier in found] == [False, True]
