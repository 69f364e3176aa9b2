"""One HTTP request over a connection into a sandbox. The server at its other end is not trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import h11

from aegis.agents.base import MAX_ANSWER_BYTES
from aegis.agents.record import AgentFault
from aegis.agents.tail import one_line
from aegis.sandbox.base import Process
from aegis.suite.units import format_size

MAX_INTERIM = 100
"""Interim responses (status 1xx) before the one that counts."""


class BrokenOffError(Exception):
    """The server ended the connection before its response was complete: `closed the connection without a response`."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes


async def post(
    connection: Process, *, host: str, path: str, content_type: str, size_bytes: int, body: Iterable[bytes]
) -> Response:
    """Send a request whose body comes in pieces of `size_bytes` in all, and read its response.

    Raises `BrokenOffError`, and `AgentFault` for what is no response of HTTP/1.1 or too long."""
    client = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", host),
        ("Content-Type", content_type),
        ("Content-Length", str(size_bytes)),
        ("Accept", content_type),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    # The server may answer before it has read everything, or without reading anything.
    request = h11.Request(method="POST", target=path, headers=headers)
    sending = asyncio.create_task(_send(connection, client, request, body))
    try:
        response = await _Reader(connection, client).read()
        if sending.done():
            sending.result()
        return response
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(
    connection: Process, client: h11.Connection, request: h11.Request, body: Iterable[bytes]
) -> None:
    await connection.write(client.send(request) or b"")
    for piece in body:
        if client.our_state is not h11.SEND_BODY:
            return  # the response has ended the exchange
        await connection.write(client.send(h11.Data(data=piece)) or b"")
    client.send(h11.EndOfMessage())


class _Reader:
    """The response, put together from the chunks of the connection."""

    def __init__(self, connection: Process, client: h11.Connection) -> None:
        self._connection = connection
        self._client = client
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
            reason = one_line(str(error), 200)
            raise AgentFault(f"agent broke the protocol with what is no HTTP response: {reason}") from None

    def _event(self, event: object) -> None:
        match event:
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise AgentFault(
                        f"agent broke the protocol with a response of status {event.status_code}"
                    )
            case h11.Response():
                self._head = event
                coding = dict(event.headers).get(b"content-encoding", b"identity").strip().lower()
                if coding != b"identity":
                    raise AgentFault(
                        "agent broke the protocol with a compressed response, which was not asked for"
                    )
            case h11.Data():
                self._body += event.data
                if len(self._body) > MAX_ANSWER_BYTES:
                    limit = format_size(MAX_ANSWER_BYTES)
                    raise AgentFault(f"agent sent a response longer than {limit}", quote_stderr=False)

    def _end(self) -> Response:
        assert self._head is not None
        return Response(self._head.status_code, bytes(self._body))
