"""Reading a tar archive that a sandbox wrote: the least that a folder needs, and nothing that surprises.

Understood are regular files, folders, and GNU's long names (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
Everything else, pax headers and sparse files included, is an error: the standard library's reader follows them, at a
cost that the archive's writer chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512
FILE, FOLDER, LONG_NAME = (b"0", b"\0"), b"5", b"L"
MAX_LONG_NAME = 4096


class TarError(Exception):
    """Not an archive of this kind."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file or folder. `data` is a view into the archive, empty for a folder."""

    name: str
    is_folder: bool
    executable: bool
    data: memoryview


def members(archive: bytes) -> Iterator[Member]:
    """The files and folders, in the order of the archive. Raises TarError."""
    view = memoryview(archive)
    position, long_name = 0, None
    while True:
        header = bytes(view[position : position + BLOCK])
        if len(header) < BLOCK:
            raise TarError("it ends in the middle")
        if not any(header):
            if long_name is not None:
                raise TarError("a name without a file")
            return
        _check_sum(header)
        kind, size = header[156:157], _number(header[124:136])
        start = position + BLOCK
        if start + size > len(view):
            raise TarError("it ends in the middle of a file")
        position = start + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind == LONG_NAME:
            if size > MAX_LONG_NAME or long_name is not None:
                raise TarError("a name is too long")
            long_name = bytes(view[start : start + size]).partition(b"\0")[0]
            continue
        name = _text(long_name if long_name is not None else _short_name(header))
        long_name = None
        if kind == FOLDER:
            if size:
                raise TarError("a folder with content")
        elif kind not in FILE:
            raise TarError(f"{name[:80]!a} is neither a regular file nor a folder")
        mode = _number(header[100:108])
        yield Member(name, kind == FOLDER, bool(mode & 0o100), view[start : start + size])


def _check_sum(header: bytes) -> None:
    total = sum(header) - sum(header[148:156]) + 8 * 0x20
    if _number(header[148:156]) != total:
        raise TarError("a damaged header")


def _number(field: bytes) -> int:
    """Octal digits, or GNU's base 256 for what does not fit."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not all(0x30 <= digit <= 0x37 for digit in digits):
        raise TarError("a number that is none")
    return int(digits or b"0", 8)


def _short_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(name: bytes) -> str:
    # As Python names files: bytes that are no UTF-8 come back as they were.
    return name.decode("utf-8", "surrogateescape")
