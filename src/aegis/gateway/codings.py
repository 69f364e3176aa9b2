"""Content codings, undone piece by piece and within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

DECODABLE = ("gzip", "x-gzip", "deflate", "zstd", "identity")
_PIECE = {"zstd": 512}
"""Bytes fed at once: one piece of zstd may become 128 KiB for each 4 bytes, of deflate 1,000 times its length."""


class Decoder:
    """Undoes one content coding. `feed` raises `ValueError` when the bytes are not what they are said to be."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: Any = _make(coding)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of bounded size."""
        size = _PIECE.get(self._coding, 4096)
        for at in range(0, len(data), size):
            if out := self._step(data[at : at + size]):
                yield out

    def _step(self, data: bytes) -> bytes:
        if self._inner is None or not data:
            return data
        try:
            if self._coding == "zstd":
                return bytes(self._inner.decompress(data))
            if self._coding == "deflate" and not self._started:
                self._started = True
                # RFC 9110 says zlib; some servers send raw deflate, and clients accept both.
                if data[0] & 0x0F != 8:
                    self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise ValueError(f"not valid {self._coding}: {error}") from error

    def _inflate(self, data: bytes) -> bytes:
        out: bytes = self._inner.decompress(data)
        while self._inner.eof and self._inner.unused_data and self._coding == "gzip":
            rest = self._inner.unused_data
            self._inner = _make("gzip")
            out += self._inner.decompress(rest)
        return out


def _make(coding: str) -> Any:
    if coding == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    if coding == "deflate":
        return zlib.decompressobj()
    if coding == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj(read_across_frames=True)
    return None


def coding_of(header: str | None) -> str | None:
    """The one coding of a Content-Encoding header: `identity`, `gzip`, `deflate`, `zstd`; None for what cannot be
    undone here."""
    names = [item.strip().lower() for item in (header or "").split(",") if item.strip()]
    names = [item for item in names if item != "identity"]
    if not names:
        return "identity"
    if len(names) > 1 or names[0] not in DECODABLE:
        return None
    return "gzip" if names[0] == "x-gzip" else names[0]


def decode(data: bytes, header: str | None, limit: int) -> bytes | None:
    """The decoded beginning, at most about `limit` bytes; None when the coding is unknown or the bytes are not it."""
    coding = coding_of(header)
    if coding is None:
        return None
    if coding == "identity":
        return data[:limit]
    out = bytearray()
    try:
        for piece in Decoder(coding).feed(data):
            out += piece
            if len(out) >= limit:
                break
    except ValueError:
        return None
    return bytes(out[:limit])


def acceptable(header: bytes) -> bytes:
    """An Accept-Encoding header without the codings that could not be read on the way."""
    kept = []
    for item in header.decode("latin-1").split(","):
        name = item.partition(";")[0].strip().lower()
        if name in DECODABLE:
            kept.append(item.strip())
    return ", ".join(kept).encode("latin-1") or b"identity"
