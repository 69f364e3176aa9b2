"""Writing files whose names a machine chose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.errors import LedgerError, UsageError
from aegis.results.written import write_below


def chunks(digest: str) -> Iterator[bytes]:
    yield b"content of "
    yield digest.encode()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_files_are_at_their_paths(tmp_path: Path) -> None:
    write_below(tmp_path / "new/out", {"/workspace/a b": "1", "/etc/x/y": "2"}, chunks)
    assert names(tmp_path / "new/out") == ["etc/x/y", "workspace/a b"]
    assert (tmp_path / "new/out/etc/x/y").read_bytes() == b"content of 2"


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "/", "", "/a\0b", "/" + "a/" * 65 + "b"])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError):
        write_below(tmp_path / "out", {path: "1"}, chunks, force=True)
    assert names(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
def test_links_in_the_folder_are_not_followed(tmp_path: Path, force: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/workspace").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        write_below(tmp_path / "out", {"/workspace/a": "1"}, chunks, force=force)
    assert names(tmp_path / "elsewhere") == []


def test_nothing_is_written_when_one_is_there(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(UsageError, match=r"there already: .*b; nothing was written"):
        write_below(tmp_path, {"/a": "1", "/b": "2"}, chunks)
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_text() == "mine"


def test_force_replaces_files_and_links_themselves(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "target")
    (tmp_path / "out/b").write_text("old")
    os.link(tmp_path / "out/b", tmp_path / "hard")
    write_below(tmp_path / "out", {"/a": "1", "/b": "2"}, chunks, force=True)
    assert (tmp_path / "target").read_text() == "mine"
    assert (tmp_path / "hard").read_text() == "old"
    assert not (tmp_path / "out/a").is_symlink()
    assert (tmp_path / "out/b").read_bytes() == b"content of 2"


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        write_below(tmp_path, {"/a": "1"}, chunks, force=True)
    assert names(tmp_path) == []


def test_a_damaged_blob_leaves_no_half_a_file(tmp_path: Path) -> None:
    def broken(digest: str) -> Iterator[bytes]:
        yield b"half"
        raise LedgerError("blob 1 is corrupt")

    with pytest.raises(LedgerError):
        write_below(tmp_path, {"/a": "1"}, broken)
    assert names(tmp_path) == []
