"""An exchange as the formats look at it: bodies fetched and parsed when somebody asks, and not before."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from aegis.trace import lenient
from aegis.trace.exchange import Body, Exchange, Headers
from aegis.trace.sse import ServerEvent, parse_events

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A longer body is nobody's conversation and is not looked at."""

FetchBlob = Callable[[str], bytes]
"""Digest → the stored bytes."""


class Message:
    """One exchange with its bodies at hand. Not thread-safe; made, read and thrown away."""

    def __init__(self, exchange: Exchange, fetch_blob: FetchBlob) -> None:
        self.exchange = exchange
        self._fetch_blob = fetch_blob

    @property
    def path(self) -> str:
        """Without the query and without a slash at the end."""
        return self.exchange.path.partition("?")[0].rstrip("/")

    @property
    def query(self) -> str:
        return self.exchange.path.partition("?")[2]

    @property
    def is_post(self) -> bool:
        return self.exchange.kind == "http" and self.exchange.method == "POST"

    @property
    def status(self) -> int:
        """0 when there was no response."""
        return self.exchange.status or 0

    @cached_property
    def request(self) -> Any:
        """The request's JSON, or None."""
        return lenient.parse(self._read(self.exchange.request_body))

    @cached_property
    def request_map(self) -> dict[str, Any]:
        return lenient.mapping(self.request)

    @property
    def content_type(self) -> str:
        return header(self.exchange.response_headers, "content-type").lower().strip()

    @cached_property
    def response_bytes(self) -> bytes:
        return self._read(self.exchange.response_body)

    @cached_property
    def response(self) -> Any:
        """The response's JSON, or None."""
        return lenient.parse(self.response_bytes)

    @cached_property
    def events(self) -> list[ServerEvent]:
        """The response as server-sent events."""
        return parse_events(self.response_bytes)

    @cached_property
    def is_event_stream(self) -> bool:
        """By its type, or by its first bytes: some servers forget the type, or call it plain text."""
        if self.content_type.startswith("text/event-stream"):
            return True
        if "json" in self.content_type or "html" in self.content_type:
            return False
        return self.response_bytes.lstrip(b"\xef\xbb\xbf\r\n").startswith((b"data:", b"event:", b":"))

    @property
    def broke_off(self) -> bool:
        """The response did not come to its end, or what is recorded of it is not all."""
        exchange, body = self.exchange, self.exchange.response_body
        return bool(exchange.error) or exchange.ended_s is None or (body is not None and body.truncated)

    def sent_at(self, offset: int) -> float | None:
        """When the first `offset` bytes of the response had been passed on, in the trial's seconds.

        None when the pieces' times are unknown, or tell nothing about the decoded bytes (a compressed answer).
        """
        if header(self.exchange.response_headers, "content-encoding").lower() not in ("", "identity"):
            return None
        passed = 0
        for seconds, size in self.exchange.chunks:
            passed += size
            if passed >= offset:
                return seconds
        return None

    def _read(self, body: Body | None) -> bytes:
        if body is None or body.size_bytes > MAX_BODY_BYTES:
            return b""
        if body.text is not None:
            return body.text.encode("utf-8", "surrogatepass")
        return self._fetch_blob(body.blob) if body.blob else b""


def header(headers: Headers, name: str) -> str:
    """The first value of a header, "" when it is not there."""
    return next((value for key, value in headers if key.lower() == name), "")
