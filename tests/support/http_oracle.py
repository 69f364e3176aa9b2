"""What must hold for any bytes: h11 as the second opinion, and a session that nothing breaks. For the property tests
and the fuzzer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import h11

from aegis.gateway import Authority, Bounds, Framing, Gateway, GatewayConfig, Origin
from aegis.gateway.bodies import Chunked, Decoder
from aegis.gateway.heads import check_head
from aegis.gateway.incoming import choose_framing
from aegis.gateway.plain import PlainRequest, read_request, read_response
from aegis.trace import Exchange

BOUNDS = Bounds(head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.2, head_bytes=4096)
_authority: list[Authority] = []


def plain_request(head: bytes) -> PlainRequest | None:
    return read_request(head, max_headers=BOUNDS.max_headers, target_bytes=BOUNDS.target_bytes)


def agrees_with_h11(head: bytes) -> bool:
    """Whether the quick reading has read it; what it read is what the strict rules and h11 say."""
    found = plain_request(head)
    if found is None:
        return False
    check_head(head, BOUNDS)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"x" * min(found.length, 50))
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (found.method.encode(), found.target.encode())
    assert event.http_version == b"1.1"
    assert tuple(event.headers.raw_items()) == found.headers
    after = connection.next_event()
    assert isinstance(after, h11.Data if found.length else h11.EndOfMessage)
    assert not connection.they_are_waiting_for_100_continue
    return True


def check_response(head: bytes, method: str) -> None:
    """What the quick reading makes of a head is what h11 makes of it."""
    found = read_response(head, method)
    if found is not None:
        status, reason, raw, framing = by_h11(head, method)
        # h11 writes this one value in lower case.
        read = tuple(
            (name, value.lower() if name.lower() == b"transfer-encoding" else value)
            for name, value in found.headers
        )
        assert (found.status, found.reason, read) == (status, reason.strip(" \t"), raw)
        assert found.framing is framing


def by_h11(head: bytes, method: str) -> tuple[int, str, tuple[tuple[bytes, bytes], ...], Framing]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    raw = tuple(event.headers.raw_items())
    return (
        event.status_code,
        event.reason.decode("latin-1"),
        raw,
        choose_framing(method, event.status_code, raw),
    )


def run(decoder: Decoder, pieces: list[bytes]) -> tuple[bytes, bytes, str]:
    """Content, what was not looked at, and how it ended."""
    content = b""
    left = b""
    for piece in pieces:
        if decoder.done:
            left += piece
            continue
        data = piece
        while data and not decoder.done:
            try:
                content += decoder.decode(data)
            except ValueError:
                return content, b"", "broken"
            data = decoder.rest
        left += data if decoder.done else b""
    return content, left, "done" if decoder.done else "open"


def chunks_by_h11(data: bytes) -> tuple[bytes, bytes, str]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    connection.next_event()
    content = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return content, b"", "broken"
        if isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return content, connection.trailing_data[0], "done"
        else:
            return content, b"", "open"


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted({min(item, len(data)) for item in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def check_chunks(data: bytes, cuts: list[int]) -> None:
    """A chunked body is what h11 makes of it, or broken, however it is cut."""
    content, left, end = run(Chunked(65536), cut(data, cuts))
    expected = chunks_by_h11(data)
    if end == "done":
        assert (content, left, end) == expected
    else:
        # Whether what is wrong is told now or when more comes is a matter of taste.
        assert end == "broken" or expected[2] != "done"
        assert content.startswith(expected[0]) or expected[0].startswith(content)


class Scripted:
    """A `ByteStream` whose client sends these pieces and then closes its side."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter([piece for piece in pieces if piece])
        self.written = b""
        self.closed = False

    async def read(self, max_bytes: int) -> bytes:
        await asyncio.sleep(0)
        return next(self._pieces, b"")[:max_bytes]

    async def write(self, data: bytes) -> None:
        self.written += data

    async def write_eof(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def abort(self) -> None:
        self.closed = True


def check_session(pieces: list[bytes], origin: Origin) -> None:
    """Whatever a client sends: its connection ends, every exchange is recorded once, and no bug shows."""
    exchanges: list[Exchange] = []
    if not _authority:
        _authority.append(Authority())

    async def refuse(name: str, port: int) -> list[str]:
        raise OSError("no network here")

    async def serve() -> Scripted:
        config = GatewayConfig(allow=("api.example",), bounds=BOUNDS)
        gateway = Gateway(config, ca=_authority[0], resolve=refuse)
        session = gateway.session("fuzz", exchanges.append, lambda data: "blob")
        stream = Scripted(pieces)
        await asyncio.wait_for(session.handle(stream, origin), 20)
        await session.close()
        gateway.close()
        return stream

    stream = asyncio.run(serve())
    assert stream.closed
    assert [item.error for item in exchanges if (item.error or "").startswith("internal")] == []
    assert sorted(item.id for item in exchanges) == list(range(1, len(exchanges) + 1))
    assert stream.written.count(b"HTTP/1.1 ") <= len(exchanges) + stream.written.count(b"100 Continue") + 1
