"""What a machine's memory has beyond its template's: the pages that differ, compressed.

A file of them is one zstandard frame with a checksum, of records `u64 offset | u64 length | bytes` in network byte
order, in the order of their offsets; the last one is empty and stands at the highest offset there is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import zstandard

PAGE = 4096
CHUNK = 1 << 20
LEVEL = 3
_RECORD = struct.Struct(">QQ")
_END = _RECORD.pack(2**64 - 1, 0)
"""The end of a frame that was cut between two blocks would look like the end of the pages."""

Run = tuple[int, bytes]
"""Offset of its first page, and the bytes of pages that follow one another."""


class DamagedError(ValueError):
    """A file of pages that cannot be read."""


def differing(base: int, fd: int) -> list[Run]:
    """The pages of the memory file `fd` that are not as in `base`, a file of the same size. Holds them in memory."""
    runs: list[Run] = []
    for start in sorted({*_chunks(base), *_chunks(fd)}):
        before, after = os.pread(base, CHUNK, start), os.pread(fd, CHUNK, start)
        if before != after:
            runs += _runs(before, after, start)
    return runs


def _chunks(fd: int) -> Iterator[int]:
    """Where the chunks begin that are no holes."""
    size, position = os.fstat(fd).st_size, 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA) // CHUNK * CHUNK
        except OSError:
            return  # ENXIO: only a hole is left
        end = os.lseek(fd, max(start, position), os.SEEK_HOLE)
        while start < end:
            yield start
            start += CHUNK
        position = max(start, position + 1)


def _runs(before: bytes, after: bytes, start: int) -> Iterator[Run]:
    begin: int | None = None
    for at in range(0, len(after), PAGE):
        if after[at : at + PAGE] != before[at : at + PAGE]:
            begin = at if begin is None else begin
        elif begin is not None:
            yield start + begin, after[begin:at]
            begin = None
    if begin is not None:
        yield start + begin, after[begin:]


def write(runs: Sequence[Run], path: Path) -> int:
    """Write the pages to a new file for this user only, and return its bytes. Raises OSError."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with open(_private(path), "wb") as file:
        with compressor.stream_writer(file, closefd=False) as stream:
            for offset, data in runs:
                stream.write(_RECORD.pack(offset, len(data)))
                stream.write(data)
            stream.write(_END)
        return file.tell()


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def write_state(fd: int, path: Path) -> int:
    """Write a memory file, compressed, to a new file for this user only, and return its bytes. Raises OSError."""
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    packed = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(content)
    with open(_private(path), "wb") as file:
        return file.write(packed)


def read_state(path: Path, fd: int, *, max_bytes: int) -> None:
    """The inverse of `write_state`. Raises OSError and DamagedError."""
    try:
        content = zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=max_bytes)
    except zstandard.ZstdError as error:
        raise DamagedError(f"{path.name}: {error}") from None
    os.pwrite(fd, content, 0)


def apply(path: Path, fd: int) -> None:
    """Put the pages of a file into the memory file `fd`. Raises OSError and DamagedError."""
    size = os.fstat(fd).st_size
    try:
        with (
            open(path, "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as stream,
        ):
            while (head := _exactly(stream, _RECORD.size)) != _END:
                offset, length = _RECORD.unpack(head)
                if length > CHUNK or offset + length > size:
                    raise DamagedError(f"{path.name}: a record outside of the memory")
                os.pwrite(fd, _exactly(stream, length), offset)
    except zstandard.ZstdError as error:
        raise DamagedError(f"{path.name}: {error}") from None


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = stream.read(size - len(data))
        if not piece:
            raise DamagedError("it was cut")
        data += piece
    return bytes(data)
