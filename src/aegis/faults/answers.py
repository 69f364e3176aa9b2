"""Responses that faults make, and responses that they take apart."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from typing import Any

from aegis.gateway import codings
from aegis.gateway.base import Framing, RawHeaders, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.gateway.heads import first, without

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of a response that a fault takes apart; a longer one passes unchanged."""


def answer(
    status: int,
    body: bytes = b"",
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | RawHeaders = (),
    method: str = "GET",
    reason: str | None = None,
) -> ResponsePlan:
    """A whole response. `headers` come before Content-Type and Content-Length, which are added; `method` is the
    request's: HEAD gets no body."""
    given = (
        tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
        if isinstance(headers, Mapping)
        else headers
    )
    lines = (*given, (b"Content-Type", content_type.encode()), (b"Content-Length", str(len(body)).encode()))
    return ResponsePlan(
        status,
        _phrase(status) if reason is None else reason,
        lines,
        Framing.NONE if method == "HEAD" else Framing.LENGTH,
        Whole(body),
    )


def json_answer(
    status: int, value: Any, *, headers: Mapping[str, str] | RawHeaders = (), method: str = "GET"
) -> ResponsePlan:
    """A whole JSON response."""
    return answer(status, to_json(value), headers=headers, method=method)


def to_json(value: Any) -> bytes:
    """As servers write it. Halves of surrogate pairs, which UTF-8 cannot hold, stay escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return {529: "Overloaded"}.get(status, "")


async def read_whole(plan: ResponsePlan) -> bytes | None:
    """The response's body with its content coding removed, None when it is too long or cannot be decoded; what broke
    it off comes out of here. The plan stays as it was: sent on, it is the same response."""
    kept = bytearray()
    body = plan.body
    async for piece in body:
        kept += piece
        if len(kept) > MAX_BODY_BYTES:
            plan.body = _after(bytes(kept), body)
            return None
    raw = bytes(kept)
    plan.body = Whole(raw)
    coding = first(plan.headers, b"content-encoding")
    decoded = codings.decode(raw, coding.decode("latin-1") if coding else None, MAX_BODY_BYTES + 1)
    return None if decoded is None or len(decoded) > MAX_BODY_BYTES else decoded


async def _after(begun: bytes, rest: Any) -> Any:
    yield begun
    async for piece in rest:
        yield piece


def with_body(plan: ResponsePlan, body: bytes) -> ResponsePlan:
    """The plan with this body instead, uncoded and with its right length."""
    headers = without(plan.headers, b"content-length", b"content-encoding", b"transfer-encoding")
    if plan.framing is not Framing.NONE:
        headers = (*headers, (b"Content-Length", str(len(body)).encode()))
        plan.framing = Framing.LENGTH
    plan.headers, plan.body, plan.trailers = headers, Whole(body), tuple
    return plan
