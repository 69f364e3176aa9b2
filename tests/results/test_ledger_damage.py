"""Ledgers that cannot be used: one clear LedgerError each, and the file stays as it was."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aegis import __version__
from aegis.errors import LedgerError
from aegis.results import Ledger
from support.run_records import RUN_ID, result, run_record

PLAN = [(f"case-{number}", "baseline", 1) for number in range(2000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a ledger that was written and closed."""
    with Ledger(tmp_path) as ledger:
        ledger.create_run(run_record(), PLAN)
        epoch = ledger.begin_attempt(RUN_ID, "case-0", "baseline", 1)
        arguments = (RUN_ID, "case-0", "baseline", 1, epoch)
        ledger.finish_attempt(*arguments, outcome="passed", result=result(), final=True)
        ledger.blobs.put(b"a trace")
    return tmp_path


def refused(folder: Path) -> LedgerError:
    """Open and use the ledger; the error that this must end in."""
    before = (folder / "ledger.db").read_bytes()
    with pytest.raises(LedgerError) as caught, Ledger(folder) as ledger:
        ledger.trials(RUN_ID)
    assert (folder / "ledger.db").read_bytes() == before
    assert str(folder / "ledger.db") in str(caught.value)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    return caught.value


def change(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "ledger.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_another_kind_of_file(folder: Path) -> None:
    (folder / "ledger.db").write_text("Dear diary, " * 1000)
    error = refused(folder)
    assert "not a database" in str(error)
    assert "move" in str(error.fix)


@pytest.mark.parametrize("kept", [0, 50, 100, 1000, 4096, 8192, 40_000, -1])
def test_truncated_file(folder: Path, kept: int) -> None:
    path = folder / "ledger.db"
    data = path.read_bytes()
    assert len(data) > 80_000
    path.write_bytes(data[:kept])
    assert "move" in str(refused(folder).fix)


def test_overwritten_pages(folder: Path) -> None:
    path = folder / "ledger.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)
    assert "move" in str(refused(folder).fix)


def test_emptied_file_beside_a_write_ahead_log(folder: Path) -> None:
    (folder / "ledger.db").write_bytes(b"")
    (folder / "ledger.db-wal").write_bytes(b"x" * 100)
    refused(folder)
    assert (folder / "ledger.db-wal").read_bytes() == b"x" * 100


@pytest.mark.parametrize("table", ["meta", "runs", "trials", "attempts"])
def test_missing_table_is_named(folder: Path, table: str) -> None:
    change(folder, "PRAGMA foreign_keys = OFF", f"DROP TABLE {table}")
    assert f"tables are missing: {table}" in str(refused(folder))


def test_missing_column(folder: Path) -> None:
    change(folder, "ALTER TABLE trials DROP COLUMN final_epoch")
    assert "final_epoch" in str(refused(folder))


def test_newer_version_is_named(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 7", "UPDATE meta SET value = '9.8.7' WHERE key = 'written_by'")
    error = refused(folder)
    assert "written by Aegis 9.8.7 (format 7)" in str(error)
    assert __version__ in str(error)
    assert "use Aegis 9.8.7" in str(error.fix)


def test_newer_version_without_our_tables(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 7", "DROP TABLE meta")
    assert "a newer Aegis (format 7)" in str(refused(folder))


@pytest.mark.parametrize("version", [0, 1])
def test_database_of_another_program(tmp_path: Path, version: int) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE accounts (owner)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with pytest.raises(LedgerError, match="another program's database"):
        Ledger(tmp_path)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(LedgerError, match="unable to open") as caught:
        Ledger(tmp_path)
    assert str(tmp_path / "ledger.db") in str(caught.value)


def test_file_instead_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".aegis").write_text("")
    with pytest.raises(LedgerError, match=r"\.aegis"):
        Ledger(tmp_path / ".aegis")


def test_new_ledger_after_moving_the_damaged_one_away(folder: Path) -> None:
    (folder / "ledger.db").write_bytes(b"damaged " * 1000)
    refused(folder)
    (folder / "ledger.db").rename(folder / "ledger.db.damaged")
    with Ledger(folder) as ledger:
        assert ledger.runs() == []


def test_full_disk_is_told_and_the_ledger_survives(folder: Path) -> None:
    with Ledger(folder) as ledger:
        with ledger._database.reading() as connection:
            # SQLite's own limit gives the same error, SQLITE_FULL, on a connection of the pool.
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="the disk is full") as caught:
            ledger.create_run(run_record("another"), PLAN)
        assert "free some space" in str(caught.value.fix)
        assert [run.run_id for run in ledger.runs()] == [RUN_ID]
    with Ledger(folder) as ledger:
        ledger.create_run(run_record("another"), PLAN)
        assert len(ledger.missing("another")) == len(PLAN)


def test_lock_that_is_never_given_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.results._database.BUSY_TIMEOUT_S", 0.2)
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    with Ledger(folder) as ledger:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process has been writing"):
            ledger.begin_attempt(RUN_ID, "case-1", "baseline", 1)
        other.execute("ROLLBACK")
        assert ledger.begin_attempt(RUN_ID, "case-1", "baseline", 1) == 1
    other.close()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_ordinary_user(action: Callable[[], None]) -> str:
    """What the error says that `action` ends in, when a user does it who is not root."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            action()
            os.write(writer, b"no error")
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error} | {getattr(error, 'fix', '')}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("existing", [True, False])
def test_read_only_folder(public_folder: Path, existing: bool) -> None:
    folder = public_folder / ".aegis"
    folder.mkdir()
    if existing:
        with Ledger(folder) as ledger:
            ledger.create_run(run_record(status="complete"), PLAN)
    folder.chmod(0o555)

    def use() -> None:
        with Ledger(folder) as ledger:
            ledger.create_run(run_record("another"), PLAN)

    said = as_ordinary_user(use)
    folder.chmod(0o755)
    assert said.startswith("LedgerError: ")
    assert str(folder) in said
    assert "this user may write to" in said


def test_parent_that_is_read_only(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    said = as_ordinary_user(lambda: Ledger(public_folder / ".aegis").close())
    public_folder.chmod(0o755)
    assert said.startswith("LedgerError: cannot make the ledger's folder")
