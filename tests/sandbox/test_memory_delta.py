"""Pages that differ: found, written, put back; and files of them that are damaged."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aegis.sandbox.qemu import delta, memory

SIZE = 5 * delta.CHUNK + 3 * delta.PAGE


@contextmanager
def files(*contents: dict[int, bytes]) -> Iterator[list[int]]:
    """Memory files of SIZE with these bytes at these offsets."""
    made = []
    for content in contents:
        made.append(memory.create("test", SIZE))
        for offset, data in content.items():
            os.pwrite(made[-1], data, offset)
    try:
        yield made
    finally:
        for fd in made:
            os.close(fd)


def whole(fd: int) -> bytes:
    return os.pread(fd, SIZE + 1, 0)


def test_what_was_written_comes_back_exactly(tmp_path: Path) -> None:
    draw = random.Random(6)
    base = {draw.randrange(SIZE - 9000): draw.randbytes(9000) for _ in range(40)}
    changes = {draw.randrange(SIZE - 5000): draw.randbytes(5000) for _ in range(25)}
    changes[delta.CHUNK - 10] = b"over the edge of a chunk"
    changes[SIZE - 4] = b"last"
    with files(base, {**base, **changes}, base) as (template, machine, copy):
        runs = delta.differing(template, machine)
        assert sum(len(data) for _, data in runs) < 60 * 2 * delta.PAGE
        delta.write(runs, tmp_path / "pages")
        delta.apply(tmp_path / "pages", copy)
        assert whole(copy) == whole(machine) != whole(template)


def test_what_became_zero_comes_back_as_zero(tmp_path: Path) -> None:
    with files({0: b"x" * 20000}, {}, {0: b"x" * 20000}) as (template, machine, copy):
        delta.write(delta.differing(template, machine), tmp_path / "pages")
        delta.apply(tmp_path / "pages", copy)
        assert whole(copy) == bytes(SIZE)


def test_nothing_differs_between_equals() -> None:
    with files({7: b"same"}, {7: b"same"}) as (template, machine):
        assert delta.differing(template, machine) == []


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_is_damaged(tmp_path: Path, keep: float) -> None:
    with files({}, {0: random.Random(1).randbytes(100_000)}, {}) as (template, machine, copy):
        size = delta.write(delta.differing(template, machine), tmp_path / "pages")
        os.truncate(tmp_path / "pages", int(size * keep))
        with pytest.raises(delta.DamagedError):
            delta.apply(tmp_path / "pages", copy)


def test_a_file_that_was_changed_is_damaged(tmp_path: Path) -> None:
    with files({}, {0: random.Random(1).randbytes(100_000)}, {}) as (template, machine, copy):
        delta.write(delta.differing(template, machine), tmp_path / "pages")
        data = bytearray((tmp_path / "pages").read_bytes())
        data[len(data) // 2] ^= 0xFF
        (tmp_path / "pages").write_bytes(data)
        with pytest.raises(delta.DamagedError):
            delta.apply(tmp_path / "pages", copy)


def test_device_state_comes_back(tmp_path: Path) -> None:
    state, back = memory.create("state"), memory.create("state")
    try:
        os.write(state, b"device " * 1000)
        delta.write_state(state, tmp_path / "state")
        delta.read_state(tmp_path / "state", back, max_bytes=1 << 20)
        assert os.pread(back, 10_000, 0) == b"device " * 1000
        (tmp_path / "state").write_bytes(b"no such thing")
        with pytest.raises(delta.DamagedError):
            delta.read_state(tmp_path / "state", back, max_bytes=1 << 20)
    finally:
        os.close(state)
        os.close(back)
