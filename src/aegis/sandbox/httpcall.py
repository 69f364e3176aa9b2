"""One HTTP request over a connection into a sandbox. The server at its other end is not trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import h11

from aegis.sandbox.base import Process

MAX_INTERIM = 100
"""Interim responses (status 1xx) before the one that counts."""


class BrokenOffError(Exception):
    """The server ended the connection before its response was complete: `closed the connection without a response`."""


class NoHttpError(Exception):
    """What came is no response of HTTP/1.1, or one that was not asked for: `a response of status 101`. The text holds
    the server's words."""


class TooLongError(Exception):
    """The response's body is longer than asked for."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""


async def request(
    connection: Process,
    method: str,
    *,
    host: str,
    path: str,
    headers: Sequence[tuple[str, str]],
    size_bytes: int | None,
    body: Iterable[bytes],
    max_body_bytes: int,
) -> Response:
    """Send a request whose body comes in pieces of `size_bytes` in all (None: it has none), and read its response.

    `Host`, `Content-Length`, `Accept-Encoding` and `Connection` are set here unless `headers` have them. Raises
    `BrokenOffError`, `NoHttpError`, `TooLongError`, and `ValueError` for a request that HTTP can't carry.
    """
    client = h11.Connection(h11.CLIENT)
    own = [("Host", host), ("Accept-Encoding", "identity"), ("Connection", "close")]
    if size_bytes is not None:
        own.append(("Content-Length", str(size_bytes)))
    given = {name.lower() for name, _ in headers}
    try:
        head = h11.Request(
            method=method,
            target=path,
            headers=[*((name, value) for name, value in own if name.lower() not in given), *headers],
        )
    except h11.LocalProtocolError as error:
        raise ValueError(str(error)) from None
    # The server may answer before it has read everything, or without reading anything.
    sending = asyncio.create_task(_send(connection, client, head, body))
    try:
        response = await _Reader(connection, client, max_body_bytes).read()
        if sending.done():
            sending.result()
        return response
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(
    connection: Process, client: h11.Connection, head: h11.Request, body: Iterable[bytes]
) -> None:
    await connection.write(client.send(head) or b"")
    for piece in body:
        if client.our_state is not h11.SEND_BODY:
            return  # the response has ended the exchange
        await connection.write(client.send(h11.Data(data=piece)) or b"")
    client.send(h11.EndOfMessage())


class _Reader:
    """The response, put together from the chunks of the connection."""

    def __init__(self, connection: Process, client: h11.Connection, max_body_bytes: int) -> None:
        self._connection = connection
        self._client = client
        self._max_body_bytes = max_body_bytes
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._interim = 0
        self._begun = False

    async def read(self) -> Response:
        async for data in self._connection.stdout():
            self._begun = True
            if (response := self._take(data)) is not None:
                return response
        whole = (await self._connection.wait()).ok
        if not self._begun:
            raise BrokenOffError("closed the connection without a response")
        response = self._take(b"") if whole else None
        if response is None:
            raise BrokenOffError("broke its response off")
        return response

    def _take(self, data: bytes) -> Response | None:
        """b"" is the end of the connection."""
        try:
            self._client.receive_data(data)
            while True:
                event = self._client.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return None
                if isinstance(event, h11.EndOfMessage):
                    return self._end()
                if isinstance(event, h11.ConnectionClosed):
                    raise BrokenOffError("broke its response off")
                self._event(event)
        except h11.RemoteProtocolError as error:
            if not data:
                raise BrokenOffError("broke its response off") from None
            raise NoHttpError(f"what is no HTTP response: {error}") from None

    def _event(self, event: object) -> None:
        match event:
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise NoHttpError(f"a response of status {event.status_code}")
            case h11.Response():
                self._head = event
                coding = dict(event.headers).get(b"content-encoding", b"identity").strip().lower()
                if coding != b"identity":
                    raise NoHttpError("a compressed response, which was not asked for")
            case h11.Data():
                self._body += event.data
                if len(self._body) > self._max_body_bytes:
                    raise TooLongError

    def _end(self) -> Response:
        assert self._head is not None
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self._head.headers
        )
        return Response(self._head.status_code, bytes(self._body), headers)
