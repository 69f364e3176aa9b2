"""A local HTTP server that answers from a script, or forwards to another server, and records what passed as exchanges:
a gateway small enough to be believed."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aegis.trace import Body, Exchange

PIECE_BYTES = 65_536


@dataclass
class Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Reply:
    """What to answer. `cut`: the connection is closed before the body's end has been announced."""

    pieces: Iterable[bytes] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False


Script = Callable[[Request], Reply]


@dataclass
class Recorder:
    """Use as a context manager. `exchanges` are in the order in which requests arrived."""

    script: Script
    host: str = "127.0.0.1"
    """Recorded as the host, instead of the loopback address that is really used."""
    records: dict[int, Exchange] = field(default_factory=dict)
    _count: int = 0

    @property
    def exchanges(self) -> list[Exchange]:
        # A client may have read its answer's end before the handler has written it down.
        deadline = time.monotonic() + 60
        while len(self.records) < self._count and time.monotonic() < deadline:
            time.sleep(0.005)
        return [self.records[key] for key in sorted(self.records)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Recorder:
        self._lock = threading.Lock()
        self._zero = time.monotonic()
        recorder = self

        class Handler(_Handler):
            owner = recorder

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *ending: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next_id(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def now(self) -> float:
        return time.monotonic() - self._zero


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Recorder

    def handle_any(self) -> None:
        owner, number, started = self.owner, self.owner.next_id(), self.owner.now()
        request = self._request()
        reply = owner.script(request)
        chunks: list[tuple[float, int]] = []
        body, error = b"", None
        headers = (("Content-Type", reply.content_type), *reply.headers)
        try:
            self.send_response(reply.status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                body += piece
                chunks.append((owner.now(), len(piece)))
            if reply.cut:
                error, self.close_connection = "upstream-cut: the connection was closed", True
            else:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            error, self.close_connection = "client-gone: the connection was closed", True
        owner.records[number] = Exchange(
            id=number,
            kind="http",
            scheme="https",
            host=owner.host,
            port=443,
            method=request.method,
            path=request.path,
            request_headers=request.headers,
            request_body=_body(request.body) if request.body else None,
            status=reply.status,
            reason="",
            response_headers=headers,
            response_body=_body(body),
            started_s=started,
            first_byte_s=chunks[0][0] if chunks else None,
            ended_s=owner.now(),
            upstream="127.0.0.1:1",
            error=error,
            chunks=tuple(chunks),
        )

    do_GET = do_POST = do_DELETE = handle_any

    def _request(self) -> Request:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return Request(self.command, self.path, tuple(self.headers.items()), body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().strip() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *args: Any) -> None:
        return


def _body(data: bytes) -> Body:
    return Body(size_bytes=len(data), text=data.decode("utf-8", "replace"))


def forward_to(port: int) -> Script:
    """A script that passes requests on to a server on this machine and its answer back as it comes."""

    def script(request: Request) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        passed = {name: value for name, value in request.headers if name.lower() != "transfer-encoding"}
        passed["Host"] = f"127.0.0.1:{port}"
        connection.request(request.method, request.path, request.body or None, passed)
        response = connection.getresponse()
        kept = tuple(
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in ("transfer-encoding", "content-length", "content-type", "connection")
        )
        kind = response.getheader("content-type", "")
        return Reply(_pieces(connection, response), response.status, kind, kept)

    return script


def _pieces(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read1(PIECE_BYTES):
            yield piece
    finally:
        connection.close()


def no_blobs(digest: str) -> bytes:
    raise AssertionError(f"nothing asked for the blob {digest}")
