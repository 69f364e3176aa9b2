"""Files that an agent reads and writes through its client, which here means: in its sandbox."""

from __future__ import annotations

import io
import posixpath
import tarfile

from acp import schema

from aegis.agents.jsonrpc import RefusedRequestError
from aegis.errors import GuestOperationError
from aegis.sandbox.base import MIB, Sandbox

MAX_FILE_BYTES = 8 * MIB
WRITE_TIMEOUT_S = 60.0

INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002

_OVERWRITE = 'test -f "./$1" && exec cat > "./$1"'


class AgentFiles:
    """Raises `RefusedRequestError` for what cannot be done."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def read(self, request: schema.ReadTextFileRequest) -> str:
        """The text, or `limit` lines of it from `line` (counted from 1) on."""
        path = _checked(request.path)
        try:
            data = await self._sandbox.get_file(path, max_bytes=MAX_FILE_BYTES)
        except GuestOperationError as error:
            code = RESOURCE_NOT_FOUND if error.code == "not-found" else INTERNAL_ERROR
            raise RefusedRequestError(code, str(error)) from None
        text = data.decode("utf-8", "replace")
        if request.line is None and request.limit is None:
            return text
        begin = max(0, (request.line or 1) - 1)
        end = None if request.limit is None else begin + max(0, request.limit)
        return "".join(text.splitlines(keepends=True)[begin:end])

    async def write(self, request: schema.WriteTextFileRequest) -> None:
        """Make the file and its folders, or change what an existing one holds and nothing else of it."""
        folder, name = posixpath.split(_checked(request.path))
        if name in ("", ".", ".."):
            raise RefusedRequestError(INVALID_PARAMS, f"{request.path}: not the path of a file")
        data = request.content.encode("utf-8", "replace")
        if await self._overwrite(folder, name, data):
            return
        try:
            await self._sandbox.put_tar(_archive(name, data), dest=folder)
        except GuestOperationError as error:
            raise RefusedRequestError(INTERNAL_ERROR, str(error)) from None

    async def _overwrite(self, folder: str, name: str, data: bytes) -> bool:
        """In place, so that mode and owner stay: `put_tar` would make another file."""
        try:
            done = await self._sandbox.run(
                ("/bin/sh", "-c", _OVERWRITE, "sh", name), stdin=data, cwd=folder, timeout_s=WRITE_TIMEOUT_S
            )
        except GuestOperationError:
            return False  # no such folder
        return done.status.ok


def _checked(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise RefusedRequestError(INVALID_PARAMS, f"{path}: not an absolute path")
    return path


def _archive(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
