"""Heads in the plainest form of HTTP/1.1, read by one regular expression each. Pure.

Nearly all heads are written that way, and reading them takes a tenth of the time of a full parser. Whatever is not is
`None` here, and h11 decides about it: unusual spacing, characters, versions and methods, repeated or missing headers
that say where a message ends. A test compares the two on random heads and on those that are known from attacks: what is
read here, h11 reads the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aegis.gateway.base import Framing, RawHeaders

_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_FIELDS = rb"((?:" + _NAME + rb":" + _VALUE + rb"\r\n)*)\r\n"
_FIELD = re.compile(rb"(" + _NAME + rb"):(" + _VALUE + rb")\r\n")
_REQUEST = re.compile(rb"([A-Z]{1,20}) ([!-~]+) HTTP/1\.1\r\n" + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: (" + _VALUE + rb"))?\r\n" + _FIELDS)
_LENGTH = re.compile(rb"[0-9]{1,18}")

_DECIDED_ELSEWHERE = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


@dataclass(frozen=True, slots=True)
class PlainRequest:
    method: str
    target: str
    headers: RawHeaders
    length: int
    """Bytes of its body."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    status: int
    reason: str
    headers: RawHeaders
    framing: Framing
    length: int
    """Bytes of the body when `framing` says LENGTH."""
    keep_alive: bool


def fields(data: bytes, start: int = 0) -> RawHeaders:
    """Header lines that are known to be proper ones."""
    return tuple((name, value.strip(b" \t")) for name, value in _FIELD.findall(data, start))


def read_request(head: bytes, *, max_headers: int, target_bytes: int) -> PlainRequest | None:
    """`head` ends with the empty line. A request without a body, or with a Content-Length."""
    match = _REQUEST.fullmatch(head)
    if match is None or match.start(3) - 2 > target_bytes:
        return None
    headers = fields(head, match.start(3))
    seen = {name.lower(): value for name, value in headers}
    # Fewer names than lines: one is repeated. Only some may be, and telling which is not worth its time.
    if len(seen) != len(headers) or len(headers) > max_headers:
        return None
    if b"host" not in seen or not _DECIDED_ELSEWHERE.isdisjoint(seen):
        return None
    method = match[1].decode()
    length = seen.get(b"content-length")
    if method == "CONNECT" or (length is not None and _LENGTH.fullmatch(length) is None):
        return None
    return PlainRequest(method, match[2].decode(), headers, int(length or 0))


def read_response(head: bytes, method: str) -> ResponseHead | None:
    """`head` ends with the empty line; `method` is the request's. A final response whose body has a Content-Length or
    one chunked coding, or that has no body."""
    match = _RESPONSE.fullmatch(head)
    if match is None:
        return None
    headers = fields(head, match.start(3))
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    options = [value for name, value in headers if name.lower() == b"connection"]
    status = int(match[1])
    framing, length = Framing.NONE, 0
    if method == "HEAD" or status in (204, 304):
        # What they say about a body is about one that does not come.
        if codings or len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
            return None
    elif len(lengths) == 1 and not codings and _LENGTH.fullmatch(lengths[0]):
        framing, length = Framing.LENGTH, int(lengths[0])
    elif len(codings) == 1 and not lengths and codings[0].lower() == b"chunked":
        framing = Framing.CHUNKED
    else:
        return None
    keep_alive = not any(b"close" in value.lower() for value in options)
    reason = (match[2] or b"").decode("latin-1").strip(" \t")
    return ResponseHead(status, reason, headers, framing, length, keep_alive)
