"""The cpio writer makes what the kernel's format says, byte for byte the same each time."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from aegis.sandbox.images.cpio import CpioWriter


def sample() -> bytes:
    writer = CpioWriter()
    writer.folder("bin")
    writer.file("bin/tool", b"#!/bin/sh\n", 0o755)
    writer.symlink("bin/sh", "tool")
    writer.character_device("console", 5, 1)
    writer.file("odd", b"12345")
    return writer.finish()


def parse(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Name → (mode, content, device), read by the format's own rules."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, device, name_size = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size], device)
        at = (start + size + 3) & ~3


def test_entries_are_read_back() -> None:
    found = parse(sample())
    assert list(found) == ["bin", "bin/tool", "bin/sh", "console", "odd"]
    assert found["bin"][0] == 0o40755
    assert found["bin/tool"] == (0o100755, b"#!/bin/sh\n", (0, 0))
    assert found["bin/sh"] == (0o120777, b"tool", (0, 0))
    assert found["console"] == (0o20600, b"", (5, 1))
    assert found["odd"][1] == b"12345"


def test_equal_content_gives_equal_bytes_padded_to_blocks() -> None:
    assert sample() == sample()
    assert len(sample()) % 512 == 0


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")
def test_cpio_reads_it() -> None:
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=sample(), capture_output=True, check=True)
    assert listed.stdout.decode().split() == ["bin", "bin/tool", "bin/sh", "console", "odd"]
