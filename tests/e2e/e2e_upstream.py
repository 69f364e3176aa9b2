"""Servers on the host's loopback that tests route production names to, and canaries that nothing may reach."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handle = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; a test's `handle` answers it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(size)
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        self.server.handle(self)

    do_GET = do_POST = serve

    def answer(self, status: int, content: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def answer_events(self, events: list[dict[str, Any]]) -> None:
        """Server-sent events as model providers send them, chunked."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in [*map(json.dumps, events), "[DONE]"]:
            piece = f"data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handle: Handle) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.handle = handle
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(handle)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
