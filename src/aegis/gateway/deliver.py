"""A response's plan becomes bytes for the client: our own writer, so that every byte of it can be bent."""

from __future__ import annotations

import http
from collections.abc import AsyncIterator, Awaitable, Callable

from aegis.gateway.base import Framing, RawHeaders, ResponsePlan, is_ready

_BATCH_BYTES = 64 * 1024

_TEXTS = {
    400: "Bad request",
    403: "Host not allowed by egress policy",
    408: "Request timeout",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


class Whole:
    """A body that is there already."""

    ready = True

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> Whole:
        return self

    async def __anext__(self) -> bytes:
        if not self._content:
            raise StopAsyncIteration
        content, self._content = self._content, b""
        return content


def refusal(status: int, *, head_request: bool = False, text: str | None = None) -> ResponsePlan:
    """The gateway's own short answer, worded as any company's egress proxy words it."""
    body = f"{text or _TEXTS.get(status, 'Error')}\n".encode()
    headers = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode()),
    )
    framing = Framing.NONE if head_request else Framing.LENGTH
    reason = http.HTTPStatus(status).phrase
    return ResponsePlan(status, reason, headers, framing, Whole(body), keep_alive=status in (502, 504))


def render_head(plan: ResponsePlan, *, close: bool, http_version: str) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (plan.status, plan.reason.encode("latin-1", "replace"))]
    lines += [b"%s: %s" % header for header in plan.headers]
    if plan.framing is Framing.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if close:
        lines.append(b"Connection: close")
    elif http_version == "1.0":
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def render_piece(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def render_trailers(trailers: RawHeaders) -> bytes:
    return b"0\r\n" + b"".join(b"%s: %s\r\n" % header for header in trailers) + b"\r\n"


async def framed(
    plan: ResponsePlan, record: Callable[[bytes], None], *, close: bool, http_version: str
) -> AsyncIterator[bytes]:
    """The response as it goes over the wire, one item for the head and one for each piece."""
    yield render_head(plan, close=close, http_version=http_version)
    if plan.framing is Framing.NONE:
        return
    chunked = plan.framing is Framing.CHUNKED
    async for piece in plan.body:
        record(piece)
        if piece:
            yield render_piece(piece) if chunked else piece
    if chunked:
        yield render_trailers(plan.trailers())


async def deliver(
    plan: ResponsePlan,
    write: Callable[[bytes], Awaitable[None]],
    *,
    close: bool,
    http_version: str,
    record: Callable[[bytes], None] = lambda piece: None,
) -> None:
    """Write the whole response. `record` is told of each piece before it is written. What is there already goes out in
    one write. Raises what the body raises (`Cut`) after everything before it was written, and what `write` raises."""
    if plan.wire is not None:
        async for data in plan.wire(framed(plan, record, close=close, http_version=http_version)):
            await write(data)
        return
    out = _Batch(write, render_head(plan, close=close, http_version=http_version))
    if plan.framing is not Framing.NONE:
        chunked = plan.framing is Framing.CHUNKED
        body = plan.body
        try:
            while True:
                if out.size > _BATCH_BYTES or not is_ready(body):
                    await out.send()
                piece = await anext(body, None)
                if piece is None:
                    break
                record(piece)
                if piece:
                    out.add(render_piece(piece) if chunked else piece)
        except Exception:
            await out.send()
            raise
        if chunked:
            out.add(render_trailers(plan.trailers()))
    await out.send()


class _Batch:
    """What is written together."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], first: bytes) -> None:
        self._write = write
        self._parts = [first]
        self.size = len(first)

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)

    async def send(self) -> None:
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self.size = [], 0
            await self._write(data)
