"""Memory files of templates: sealed, kept sparse, and damage is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.sandbox.base import MIB
from aegis.sandbox.qemu import memory


def filled(pieces: dict[int, bytes], size: int = 8 * MIB) -> int:
    fd = memory.create("test", size)
    for place, data in pieces.items():
        os.pwrite(fd, data, place)
    return fd


PIECES = {0: b"begin", 3 * MIB + 17: b"x" * 5000, 8 * MIB - 3: b"end"}


def test_a_sealed_file_cannot_be_changed() -> None:
    fd = filled(PIECES)
    memory.seal(fd)
    for attack in (
        lambda: os.pwrite(fd, b"x", 0),
        lambda: os.ftruncate(fd, 0),
        lambda: os.ftruncate(fd, 1 << 30),
    ):
        with pytest.raises(PermissionError):
            attack()
    os.close(fd)


def test_it_comes_back_from_the_disk_as_it_was_and_sparse(tmp_path: Path) -> None:
    fd = filled(PIECES)
    memory.store(fd, tmp_path / "ram")
    loaded = memory.load(tmp_path / "ram", "again")
    assert os.pread(loaded, 8 * MIB, 0) == os.pread(fd, 8 * MIB, 0)
    assert memory.checksum(loaded) == memory.checksum(fd)
    assert (tmp_path / "ram").stat().st_blocks * 512 < 4 * MIB
    assert (tmp_path / "ram").stat().st_mode & 0o077 == 0
    os.close(fd)
    os.close(loaded)


def test_pages_of_zeroes_do_not_change_the_checksum() -> None:
    fd = filled(PIECES)
    before = memory.checksum(fd)
    os.pwrite(fd, bytes(MIB), MIB)
    assert memory.checksum(fd) == before
    os.close(fd)


@given(st.integers(0, 8 * MIB - 1), st.integers(1, 255))
def test_one_changed_byte_changes_the_checksum(place: int, change: int) -> None:
    fd = filled(PIECES)
    before = memory.checksum(fd)
    [byte] = os.pread(fd, 1, place)
    os.pwrite(fd, bytes([byte ^ change]), place)
    assert memory.checksum(fd) != before
    os.close(fd)


def test_another_size_is_another_checksum() -> None:
    one, two = filled({}, MIB), filled({}, 2 * MIB)
    assert memory.checksum(one) != memory.checksum(two)
    os.close(one)
    os.close(two)
