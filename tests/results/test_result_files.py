from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from aegis.errors import InfrastructureError, UsageError
from aegis.results.files import write_atomic


def test_writes_and_replaces_without_left_overs(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_atomic(path, b"one")
    write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    before = os.umask(0o027)
    try:
        write_atomic(path, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_atomic(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "latest.json"
    link.symlink_to("real/out.json")
    write_atomic(link, b"data")
    assert link.is_symlink()
    assert (tmp_path / "real/out.json").read_bytes() == b"data"


def test_pipe_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, b"data")
    reader.join()
    assert got == [b"data"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_missing_folder_says_which_and_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught:
        write_atomic(tmp_path / "no" / "out.xml", b"")
    assert caught.value.fix == f"mkdir -p {tmp_path / 'no'}"


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a folder"):
        write_atomic(tmp_path, b"")


def test_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write"):
        write_atomic(tmp_path / "file" / "out.json", b"")


def test_unwritable_place_is_refused() -> None:
    # /proc refuses new files to every user, root included.
    with pytest.raises(UsageError, match=r"cannot write /proc/out\.json"):
        write_atomic("/proc/out.json", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_full_disk_is_not_the_users_mistake() -> None:
    with pytest.raises(InfrastructureError, match="No space left") as caught:
        write_atomic("/dev/full", b"data")
    assert not isinstance(caught.value, UsageError)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_failing_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfrastructureError):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_very_long_name_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(UsageError):
        write_atomic(Path(folder) / ("x" * 300), b"")
