"""Requests that go on with another body than the agent sent."""

from __future__ import annotations

from dataclasses import replace

from aegis.gateway import codings
from aegis.gateway.base import Request, RequestBody
from aegis.gateway.heads import without

MAX_BODY_BYTES = 32 * 1024 * 1024
_ABOUT_THE_BODY = (
    b"content-length",
    b"content-encoding",
    b"content-md5",
    b"digest",
    b"content-digest",
    b"repr-digest",
)


class Body:
    """A request's body that is there already, and what may follow it. Fulfils `RequestBody`."""

    def __init__(self, content: bytes, length: int | None, rest: RequestBody | None = None) -> None:
        """`length` as it was announced; None: it is chunked."""
        self.length = length
        self._content = content
        self._rest = rest

    async def read(self) -> bytes:
        if self._content:
            content, self._content = self._content, b""
            return content
        return b"" if self._rest is None else await self._rest.read()


async def read(request: Request) -> tuple[Request, bytes | None]:
    """All of the body with its content coding removed, None when it is too long or cannot be decoded; and the request,
    to be sent on."""
    kept = bytearray()
    body = request.body
    if body.length != 0:
        while piece := await body.read():
            kept += piece
            if len(kept) > MAX_BODY_BYTES:
                return replace(request, body=Body(bytes(kept), body.length, body)), None
    raw = bytes(kept)
    decoded = codings.decode(raw, request.header("content-encoding"), MAX_BODY_BYTES + 1)
    whole = None if decoded is None or len(decoded) > MAX_BODY_BYTES else decoded
    return replace(request, body=Body(raw, body.length)), whole


def with_body(request: Request, content: bytes) -> Request:
    """The request with this body instead. What the agent has sent is kept beside it."""
    headers = without(request.headers, *_ABOUT_THE_BODY)
    headers = (*headers, (b"Content-Length", str(len(content)).encode()))
    original = request.original or request
    return replace(request, headers=headers, body=Body(content, len(content)), original=original)
