"""The program `aegis-mcp-tap`, in the sandboxes of suites that name it."""

from __future__ import annotations

import io
import tarfile
from importlib import resources

from aegis.engine.files import MTIME
from aegis.engine.ports import BlobStore
from aegis.suite.model import Suite

NAME = "aegis-mcp-tap"
GUEST_PATH = f"usr/local/bin/{NAME}"
"""On every image's PATH."""


def is_named(suite: Suite) -> bool:
    """Whether a command or a variable of the suite names it. An agent whose suite does not, must not find it."""
    told = (suite.agent, suite.sandbox, *(case.world for case in suite.cases))
    return any(NAME in part.model_dump_json() for part in told)


class Noting:
    """A blob store that notes whether what is put into it names the program: an archive (uncompressed) with a client's
    configuration in it, or the agent's source."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.named = False

    def put(self, data: bytes) -> str:
        self.named = self.named or NAME.encode() in data
        return self._blobs.put(data)

    def get(self, digest: str) -> bytes:
        return self._blobs.get(digest)


def with_tap(archive: bytes | None) -> bytes:
    """The archive with the program in it; one of the suite's own at its place stays."""
    buffer = io.BytesIO(archive or b"")
    with tarfile.open(fileobj=buffer, mode="a" if archive else "w", format=tarfile.PAX_FORMAT) as tar:
        if GUEST_PATH not in tar.getnames():
            source = resources.files("aegis.sandbox").joinpath("mcp_tap.py").read_bytes()
            info = tarfile.TarInfo(GUEST_PATH)
            info.mtime, info.mode, info.size = MTIME, 0o755, len(source)
            tar.addfile(info, io.BytesIO(source))
    return buffer.getvalue()
