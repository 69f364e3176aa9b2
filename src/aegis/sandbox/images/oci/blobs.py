"""Content-addressed blobs of an OCI layout. Nothing is used before its digest was checked.

Format: the OCI image specification 1.1, `image-layout.md` and `descriptor.md`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from aegis.errors import ImageError

MAX_DOCUMENT_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob."""

    media_type: str
    digest: str
    size_bytes: int

    @classmethod
    def parse(cls, value: Any) -> Descriptor:
        """Raises `ImageError` for anything but a descriptor with a SHA-256 digest."""
        try:
            digest, size = value["digest"], value["size"]
            if not (isinstance(size, int) and size >= 0 and _DIGEST.fullmatch(digest)):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise ImageError(f"the image holds a wrong descriptor: {_shorten(value)}") from None
        return cls(str(value.get("mediaType", "")), digest, size)


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs of the layout in `folder`."""

    folder: Path

    def document(self, descriptor: Descriptor) -> Mapping[str, Any]:
        """A JSON document. Raises `ImageError` when it is absent, too large, altered, or not an object."""
        if descriptor.size_bytes > MAX_DOCUMENT_BYTES:
            raise ImageError(
                f"the image's document {descriptor.digest} has {descriptor.size_bytes} bytes: too large"
            )
        path = self._path(descriptor)
        content = path.read_bytes()
        _compare(descriptor, hashlib.sha256(content).hexdigest())
        return parse_object(content, descriptor.digest)

    def expand(self, descriptor: Descriptor, target: Path) -> str:
        """Write a layer's uncompressed content to `target`; returns its digest (`sha256:HEX`), the layer's `diff_id`.

        gzip, zstd and no compression are told apart by the content. Raises `ImageError` when the blob is absent,
        altered, or damaged.
        """
        inner = hashlib.sha256()
        with self._path(descriptor).open("rb") as stream, target.open("wb") as sink:
            source = _Hashed(stream)
            try:
                expanded = _expanded(source, stream.peek(4)[:4])
                while chunk := expanded.read(CHUNK_BYTES):
                    inner.update(chunk)
                    sink.write(chunk)
            except _damage() as error:
                # An altered blob shall be called that, and not damaged.
                _compare(descriptor, source.digest())
                raise ImageError(f"layer {descriptor.digest} cannot be decompressed: {error}") from error
            _compare(descriptor, source.digest())
        return f"sha256:{inner.hexdigest()}"

    def _path(self, descriptor: Descriptor) -> Path:
        path = self.folder / "blobs/sha256" / descriptor.digest.removeprefix("sha256:")
        try:
            size = path.stat().st_size
        except OSError:
            raise ImageError(
                f"the image lacks its blob {descriptor.digest}", fix="copy the image again"
            ) from None
        if size != descriptor.size_bytes:
            raise ImageError(
                f"blob {descriptor.digest} has {size} bytes instead of {descriptor.size_bytes}",
                fix="copy the image again",
            )
        return path


def parse_object(content: bytes, what: str) -> Mapping[str, Any]:
    """Raises `ImageError` for anything but a JSON object."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{what} is not a JSON document: {error}", fix="copy the image again") from error
    return document


class _Hashed(io.RawIOBase):
    """A file read in order, and the SHA-256 of all of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> str:
        """Reads what is left first."""
        while chunk := self._stream.read(CHUNK_BYTES):
            self._hash.update(chunk)
        return self._hash.hexdigest()


def _expanded(source: _Hashed, magic: bytes) -> Any:
    """A reader of the uncompressed content; it never holds more than a bounded part of it."""
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=io.BufferedReader(source, CHUNK_BYTES), mode="rb")
    if magic == _ZSTD:
        import zstandard

        stream = cast("BinaryIO", source)
        return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    return source


def _damage() -> tuple[type[Exception], ...]:
    import zstandard

    return (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


def _compare(descriptor: Descriptor, actual: str) -> None:
    if descriptor.digest != f"sha256:{actual}":
        raise ImageError(
            f"blob {descriptor.digest} was altered: its content is sha256:{actual}",
            fix="copy the image again",
        )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"
