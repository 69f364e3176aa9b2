"""HTTP/1.1 on loopback for both servers: JSON in and out, kept connections, event streams."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …`, or None."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: Any = None
    """A JSON value."""
    events: Iterator[str] | None = None
    """Instead of `body`: the data of server-sent events, one after the other."""
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[Request], Response]


def make_server(respond: Respond, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that is listening already; `serve_forever` serves it. Port 0: any that is free."""
    handler = type("Handler", (_Handler,), {"respond": staticmethod(respond)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


def serve(respond: Respond) -> None:
    """Serve until the process is ended, at the port that the environment's `PORT` names."""
    with make_server(respond, int(os.environ["PORT"])) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "httpd"
    sys_version = ""
    respond: Respond

    def _answer(self) -> None:
        body = self._read_body()
        if body is None:
            return
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), self.headers, body)
        response = self.respond(request)
        try:
            if response.events is None:
                self._send(response)
            else:
                self._stream(response, response.events)
        except (BrokenPipeError, ConnectionResetError):
            # The client has what it wanted, or left.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            status, reason = 411, "send a Content-Length"
        elif not (length.isascii() and length.isdigit()):
            status, reason = 400, "Content-Length is not a number"
        elif int(length) > MAX_BODY_BYTES:
            status, reason = 413, f"at most {MAX_BODY_BYTES} bytes"
        else:
            return self.rfile.read(int(length))
        self.close_connection = True
        self._send(Response(status, {"error": {"message": reason}}, headers={"Connection": "close"}))
        return None

    def _send(self, response: Response) -> None:
        data = json.dumps(response.body, ensure_ascii=False).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, response: Response, events: Iterator[str]) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for event in events:
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        return
