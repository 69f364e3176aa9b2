"""Content-addressed, compressed files: traces, suite files, long results.

A blob's name is the SHA-256 of its uncompressed bytes; it lies at `FOLDER/ab/cdef….zst`. Blobs never change,
so any number of processes may write at once: the same name always means the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from aegis.errors import LedgerError

CHUNK_BYTES = 1024 * 1024
LEVEL = 3
STALE_S = 24 * 3600.0
"""A temporary file this old belongs to a writer that was killed."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """Every method raises `LedgerError` when the disk is full, read-only or broken, naming the path."""

    def __init__(self, folder: Path) -> None:
        """The folder is made with the first blob. Left-overs of killed writers are removed after a day."""
        self.folder = folder
        self._temporary = folder / "tmp"
        self._remove_stale()

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex. Idempotent; a corrupt blob of that name is made
        good."""
        digest = hashlib.sha256(data).hexdigest()
        if not self._intact(digest):
            with self._writing() as temporary:
                self._compress(io.BytesIO(data), temporary)
                self._publish(temporary, digest)
        return digest

    def put_stream(self, source: BinaryIO) -> str:
        """As `put`, for what should not be held in memory: needs a few MiB whatever the size."""
        with self._writing() as temporary:
            digest = self._compress(source, temporary)
            if not self._intact(digest):
                self._publish(temporary, digest)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, verified. Raises `LedgerError` naming the blob when it is missing or corrupt."""
        return b"".join(self.chunks(digest))

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes in pieces of at most 1 MiB, in constant memory. They are verified as a whole: a
        `LedgerError` after the last piece means that none of them can be trusted."""
        path = self._path(digest)
        seen = hashlib.sha256()
        try:
            with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
                while chunk := reader.read(CHUNK_BYTES):
                    seen.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise LedgerError(
                f"blob {digest} is missing from {self.folder}",
                fix="restore the file from a backup, or run the trials again",
            ) from None
        except zstandard.ZstdError as error:
            raise self._corrupt(digest, path, str(error)) from error
        except OSError as error:
            raise LedgerError(f"cannot read blob {digest} at {path}: {error.strerror or error}") from error
        if seen.hexdigest() != digest:
            raise self._corrupt(digest, path, "its bytes do not match its name")

    def has(self, digest: str) -> bool:
        """Whether there is a file for it; `get` tells whether it is intact."""
        return self._path(digest).is_file()

    def _path(self, digest: str) -> Path:
        # Also keeps `..` and `/` out of paths: digests come out of documents and databases that others may
        # have edited.
        if not _DIGEST.fullmatch(digest):
            raise LedgerError(f"{digest!r} is not the name of a blob (64 hexadecimal digits)")
        return self.folder / digest[:2] / f"{digest[2:]}.zst"

    def _intact(self, digest: str) -> bool:
        # Writes are not synced to the disk one by one (that would cost more than the trial's whole
        # bookkeeping), so after a power cut a blob may be short. Whoever puts it again repairs it.
        if not self.has(digest):
            return False
        try:
            for _ in self.chunks(digest):
                pass
        except LedgerError:
            return False
        return True

    def _compress(self, source: BinaryIO, temporary: Path) -> str:
        seen = hashlib.sha256()
        with (
            temporary.open("xb") as file,
            zstandard.ZstdCompressor(level=LEVEL).stream_writer(file) as writer,
        ):
            while chunk := source.read(CHUNK_BYTES):
                seen.update(chunk)
                writer.write(chunk)
        return seen.hexdigest()

    def _publish(self, temporary: Path, digest: str) -> None:
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Path]:
        temporary = self._temporary / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
            yield temporary
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._temporary.iterdir():
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > STALE_S:
                        path.unlink()

    def _corrupt(self, digest: str, path: Path, why: str) -> LedgerError:
        return LedgerError(
            f"blob {digest} is corrupt: {why} (file {path})",
            fix=f"move {path} away; restore it from a backup, or run the trials again",
        )


def _unwritable(folder: Path, error: OSError) -> LedgerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        fix = "free some space on that disk and resume the run"
    else:
        fix = f"make {folder} writable for this user"
    return LedgerError(f"cannot write to {folder}: {error.strerror or error}", fix=fix)
