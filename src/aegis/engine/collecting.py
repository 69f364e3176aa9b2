"""Files of the machine that are kept with a trial."""

from __future__ import annotations

import asyncio

from aegis.engine.kept import Collected, KeptFile
from aegis.engine.ports import BlobStore
from aegis.errors import SandboxError
from aegis.sandbox.base import MIB, Sandbox

MAX_BYTES = 64 * MIB
"""Of all kept files of a trial together."""
MAX_FILES = 1000
TIMEOUT_S = 120.0


async def collect(sandbox: Sandbox, patterns: tuple[str, ...], blobs: BlobStore) -> Collected | None:
    """Keep what the patterns name; None when they name nothing.

    What a machine does not give is told and never decides a trial: whoever scores it finds out by itself that the
    machine is gone. Raises `LedgerError` when this host cannot keep it.
    """
    if not patterns:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await sandbox.gather(patterns, max_bytes=MAX_BYTES, max_files=MAX_FILES)
    except TimeoutError:
        return _nothing(patterns, f"the machine did not give it within {TIMEOUT_S:g} s")
    except SandboxError as error:
        return _nothing(patterns, " ".join(str(error).split())[:300])
    kept = []
    for file in found.files:
        digest = await asyncio.to_thread(blobs.put, file.data)
        kept.append(KeptFile(file.path, len(file.data), digest))
    return Collected(tuple(kept), found.left_out, found.more)


def _nothing(patterns: tuple[str, ...], why: str) -> Collected:
    return Collected(
        left_out=tuple((pattern, why) for pattern in patterns[:100]), more=max(0, len(patterns) - 100)
    )
