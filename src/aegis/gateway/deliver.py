"""A response's plan becomes bytes for the client: our own writer, so that every byte of it can be bent."""

from __future__ import annotations

import http
from collections.abc import AsyncIterator, Awaitable, Callable

from aegis.gateway.base import Framing, RawHeaders, ResponsePlan

_TEXTS = {
    400: "Bad request",
    403: "Host not allowed by egress policy",
    408: "Request timeout",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def refusal(status: int, *, head_request: bool = False, text: str | None = None) -> ResponsePlan:
    """The gateway's own short answer, worded as any company's egress proxy words it."""
    body = f"{text or _TEXTS.get(status, 'Error')}\n".encode()
    headers = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode()),
    )
    framing = Framing.NONE if head_request else Framing.LENGTH
    reason = http.HTTPStatus(status).phrase
    return ResponsePlan(status, reason, headers, framing, _pieces(body), keep_alive=status in (502, 504))


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


def render_trailers(trailers: RawHeaders) -> bytes:
    return b"0\r\n" + b"".join(b"%s: %s\r\n" % header for header in trailers) + b"\r\n"


async def framed(plan: ResponsePlan, *, close: bool, http_version: str) -> AsyncIterator[bytes]:
    """The response as it goes over the wire, one item for the head and one for each piece."""
    yield render_head(plan, close=close, http_version=http_version)
    if plan.framing is Framing.NONE:
        return
    chunked = plan.framing is Framing.CHUNKED
    async for piece in plan.body:
        if piece:
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    if chunked:
        yield render_trailers(plan.trailers())


async def deliver(
    plan: ResponsePlan,
    write: Callable[[bytes], Awaitable[None]],
    *,
    close: bool,
    http_version: str,
    joined: bool = False,
) -> None:
    """Write the whole response. `joined` sends the head together with the first piece, for a body that is there
    already. Raises what the body raises (`Cut`) after everything before it was written, and what `write` raises."""
    wire = framed(plan, close=close, http_version=http_version)
    if plan.wire is not None:
        wire = plan.wire(wire)
    if joined:
        first = await anext(wire)
        try:
            first += await anext(wire, b"")
        finally:
            await write(first)
    async for data in wire:
        await write(data)
