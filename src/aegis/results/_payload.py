"""JSON as the database keeps it: compressed in the row, or, when long, in a blob beside it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

import zstandard

from aegis.errors import LedgerError
from aegis.results.blobs import BlobStore

INLINE_BYTES = 32 * 1024
"""Longer than this after compression, it becomes a blob: the database stays small and its pages stay
useful."""

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Payload:
    """What goes into the two columns; at most one of them is not None."""

    inline: bytes | None
    blob: str | None


def pack(value: dict[str, Any] | None, blobs: BlobStore) -> Payload:
    """Raises `LedgerError` when the blob cannot be written, `TypeError` when `value` is not JSON."""
    if value is None:
        return Payload(None, None)
    # ASCII escapes keep lone surrogates, which an agent can put into its answer, out of the encoder's way.
    text = json.dumps(value, separators=(",", ":")).encode("ascii")
    packed = zstandard.ZstdCompressor(level=3).compress(text)
    if len(packed) <= INLINE_BYTES:
        return Payload(packed, None)
    return Payload(None, blobs.put(text))


def _decompressor() -> zstandard.ZstdDecompressor:
    """This thread's own: making one takes ten times as long as a row does."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found


def unpack(inline: bytes | None, blob: str | None, blobs: BlobStore) -> dict[str, Any] | None:
    """The inverse of `pack`. Raises `LedgerError` when the bytes are corrupt or the blob is gone."""
    if inline is None and blob is None:
        return None
    try:
        text = blobs.get(blob) if inline is None and blob else _decompressor().decompress(inline or b"")
        value = json.loads(text)
    except (zstandard.ZstdError, ValueError) as error:
        raise LedgerError(
            f"a result in the ledger {blobs.folder.parent} cannot be read: {error}",
            fix=f"move {blobs.folder.parent} away; a new ledger is made at the next run",
        ) from error
    if not isinstance(value, dict):
        raise LedgerError(
            f"a result in the ledger {blobs.folder.parent} is a {type(value).__name__}, not an object"
        )
    return value
