"""Plain TCP through the gateway under the weather of given rules, and clients that tell how their connection ended."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aegis.faults.plan.weather import Weather
from aegis.gateway import Origin
from aegis.suite.model import FaultRule
from aegis.trace.faults import FaultReport
from support.gateway_server import GatewayServer, Handler, World
from support.raw_client import connect
from support.storm import KEY

DB = "db.example"
PORT = 5432


@dataclass
class Link:
    """`port` takes what a client inside a machine would send to `db.example:5432`."""

    server: GatewayServer
    weather: Weather

    @property
    def port(self) -> int:
        return self.server.listen(Origin.direct(DB, "198.18.1.7", PORT))

    def report(self, id: str) -> FaultReport:
        return next(report for report in self.weather.reports() if report.id == id)


def link(net: World, rules: Sequence[FaultRule], handler: Handler) -> Link:
    """`handler` serves each connection that reaches db.example:5432."""
    weather = Weather(rules, KEY)
    server = net.gateway(
        routes={f"{DB}:{PORT}": f"127.0.0.1:{net.upstream(handler)}"}, session={"interceptor": weather}
    )
    server.session.start_clock()
    weather.start()
    return Link(server, weather)


def ends_with(sock: socket.socket) -> tuple[bytes, str]:
    """All that comes, and how it ended: `end` or `reset`."""
    out = b""
    try:
        while data := sock.recv(65536):
            out += data
    except ConnectionResetError:
        return out, "reset"
    return out, "end"


def ask_and_end(port: int, data: bytes) -> tuple[bytes, str]:
    """Send, and read to the end without closing this side."""
    with connect(port) as sock:
        sock.sendall(data)
        return ends_with(sock)


def pieces(sock: socket.socket) -> list[tuple[float, bytes]]:
    """What each read gave and when, to the end."""
    found = []
    while data := sock.recv(65536):
        found.append((time.monotonic(), data))
    return found


def ask_inside_tls(port: int, data: bytes, ca_file: str, name: str) -> tuple[bytes, str]:
    """As `ask_and_end` inside TLS. What the TCP connection does is told: Python's own TLS sockets take a reset for an
    end (before https://github.com/python/cpython/issues/115627). `ragged` is an end without close_notify."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=ca_file)
    inside = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with connect(port) as sock:
        while True:
            try:
                inside.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        inside.write(data)
        sock.sendall(outgoing.read())
        raw, how = ends_with(sock)
    incoming.write(raw)
    out = b""
    try:
        while piece := inside.read(65536):
            out += piece
    except ssl.SSLWantReadError:
        return out, "ragged" if how == "end" else how
    return out, how
