"""A small HTTP/1.1 server that says exactly what a test tells it to, byte by byte, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw_head: bytes
    connection: int


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HttpUpstream:
    """`answer` writes the response; the connection is kept alive until it closes the writer."""

    answer: Answer
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    raw: bytearray = field(default_factory=bytearray)
    """Every byte that arrived, of all connections."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while not writer.is_closing():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                self.raw += error.partial
                return
            self.raw += head
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            body = await self._body(reader, headers)
            request = Received(method, target, headers, body, head, number)
            self.received.append(request)
            await self.answer(request, writer)
            await writer.drain()
            if headers.get("connection", "").lower() == "close":
                return

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunks(reader)
        left, body = int(headers.get("content-length", "0")), b""
        while left:
            piece = await reader.read(left)
            if not piece:
                raise asyncio.IncompleteReadError(body, None)
            self.raw += piece
            body += piece
            left -= len(piece)
        return body

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            piece = await reader.readexactly(int(line, 16))
            body += piece
            self.raw += line + piece
            if not piece:
                while (await reader.readuntil(b"\r\n")) != b"\r\n":
                    pass
                return body
            await reader.readexactly(2)


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A response with a Content-Length; underscores in header names stand for dashes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes, *, close: bool = False) -> Answer:
    """Always answers with these bytes."""

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            await writer.drain()
            writer.close()

    return answer


async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answers with what it was sent, as JSON."""
    seen: dict[str, Any] = {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
    }
    writer.write(response(json.dumps(seen).encode(), Content_Type="application/json"))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event_stream(events: list[bytes], *, pause_s: float = 0.0, end: bool = True) -> Answer:
    """Answers with server-sent events, one chunk each."""

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for event in events:
            writer.write(chunk(b"data: " + event + b"\n\n"))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if end:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return answer
