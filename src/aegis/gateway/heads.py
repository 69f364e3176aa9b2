"""What is checked of a request's head before any parser reads it, and what is forwarded of headers. Pure.

The parser behind it (h11) forgives some of what attackers use to make two parsers disagree; here nothing is forgiven.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aegis.gateway.base import RawHeaders
from aegis.gateway.config import Bounds
from aegis.gateway.failures import malformed
from aegis.gateway.names import Host, parse_authority

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NEVER_NAMED = frozenset({b"host", b"content-length", b"content-type", b"authorization"})
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n|\Z)")


@dataclass(frozen=True, slots=True)
class Target:
    """A request target: `authority` is set for absolute form and CONNECT."""

    scheme: str | None
    authority: tuple[Host, int | None] | None
    path: str


def check_partial(data: bytes | bytearray, start: int = 0) -> None:
    """Raises `Failure` for bytes that no continuation can make a proper head. What stands before `start` was checked
    already."""
    if _BARE_LF.search(data, start):
        raise malformed("a line ends in LF without CR")
    if data.find(b"\0", start) >= 0:
        raise malformed("a NUL byte in the head")
    if data.startswith(b"PRI * HTTP/2"):
        raise malformed("HTTP/2, which is not spoken here; ALPN offered http/1.1 only")


def check_head(head: bytes, bounds: Bounds) -> None:
    """`head` ends with the empty line. Raises `Failure`."""
    check_partial(head)
    if _BARE_CR.search(head):
        raise malformed("a CR without LF")
    lines = head[:-4].split(b"\r\n")
    if len(lines) - 1 > bounds.max_headers:
        raise malformed(f"more than {bounds.max_headers} headers")
    if len(lines[0]) > bounds.target_bytes:
        raise malformed(f"a request line longer than {bounds.target_bytes} bytes")
    seen: dict[bytes, int] = {}
    for line in lines[1:]:
        name, colon, _ = line.partition(b":")
        if name[:1] in (b" ", b"\t"):
            raise malformed("a folded header line")
        if not colon or name != name.strip() or not name:
            raise malformed("a header line without a proper name")
        seen[name.lower()] = seen.get(name.lower(), 0) + 1
    _check_framing(seen, lines[0])


def _check_framing(seen: dict[bytes, int], request_line: bytes) -> None:
    if seen.get(b"content-length", 0) > 1:
        raise malformed("two Content-Length headers")
    if b"transfer-encoding" in seen:
        if b"content-length" in seen:
            raise malformed("Content-Length together with Transfer-Encoding")
        if not request_line.endswith(b"HTTP/1.1"):
            raise malformed("Transfer-Encoding in a request that is not HTTP/1.1")
    if seen.get(b"host", 0) > 1:
        raise malformed("two Host headers")


def parse_target(method: str, target: str) -> Target:
    """Raises `Failure`."""
    try:
        if method == "CONNECT":
            host, port = parse_authority(target)
            if port is None:
                raise ValueError("CONNECT without a port")
            return Target(None, (host, port), "")
        if target.startswith("/") or (target == "*" and method == "OPTIONS"):
            return Target(None, None, target)
        scheme, mark, rest = target.partition("://")
        if not mark or scheme.lower() not in ("http", "https", "ws", "wss"):
            raise ValueError("neither a path nor a URL")
        end = min(
            (at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest)
        )
        path = rest[end:].partition("#")[0]
        if not path.startswith("/"):
            path = "/" + path
        return Target(scheme.lower(), parse_authority(rest[:end]), path)
    except ValueError as error:
        raise malformed(f"request target: {error}") from error


def host_header(headers: RawHeaders, http_version: str) -> tuple[Host, int | None] | None:
    """The Host header, parsed. Raises `Failure` when HTTP/1.1 lacks it or it names no host."""
    value = first(headers, b"host")
    if value is None or not value:
        if http_version == "1.1":
            raise malformed("no Host header")
        return None
    try:
        return parse_authority(value.decode("latin-1"))
    except ValueError as error:
        raise malformed(f"Host header: {error}") from error


def first(headers: RawHeaders, name: bytes) -> bytes | None:
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def text(headers: RawHeaders, name: bytes) -> str | None:
    value = first(headers, name)
    return None if value is None else value.decode("latin-1")


def without(headers: RawHeaders, *names: bytes) -> RawHeaders:
    return tuple((key, value) for key, value in headers if key.lower() not in names)


def replaced(headers: RawHeaders, name: bytes, value: bytes) -> RawHeaders:
    """With this one value for the name, where it stood; headers without the name stay as they are."""
    return tuple((key, value if key.lower() == name else old) for key, old in headers)


def end_to_end(headers: RawHeaders) -> RawHeaders:
    """Without what belongs to one connection (RFC 9110, section 7.6.1)."""
    named = connection_options(headers)
    dropped = _HOP_BY_HOP | named if named else _HOP_BY_HOP
    return tuple([header for header in headers if header[0].lower() not in dropped])


def connection_options(headers: RawHeaders) -> frozenset[bytes]:
    """The Connection header's words, in lower case. Headers that frame or address the message can't be named away."""
    words: frozenset[bytes] = frozenset()
    for key, value in headers:
        if key.lower() == b"connection":
            words |= {word.strip().lower() for word in value.split(b",")}
    return words - _NEVER_NAMED if words else words


def wants_websocket(headers: RawHeaders) -> bool:
    upgrade = first(headers, b"upgrade") or b""
    return upgrade.strip().lower() == b"websocket" and b"upgrade" in connection_options(headers)
