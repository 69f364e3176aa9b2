"""The machine's only way out: loopback listeners whose connections become streams to the host.

There is no network card. Every address is routed to loopback, so a connection either meets one of these listeners or
is refused at once by the kernel; a raw socket watches for the refused ones, so that the host can tell of them.

Three ways in: the proxy port (clients that honour the proxy variables), the name server with an address per name
(clients that don't), and literal addresses that the suite allows.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Callable
from typing import Any

from .names import Names

PROXY_PORT = 3128
BACKLOG = 512
METADATA = "169.254.169.254"
MAX_REPORTED = 256
SO_BINDTODEVICE_LO = b"lo\0"
ETH_P_ALL = 3
SOL_PACKET = 263

Accept = Callable[[socket.socket, dict[str, Any]], None]
"""Takes over an accepted connection, and what the host is to know of it."""
Watch = Callable[[socket.socket, Callable[[], None]], None]
"""Calls back whenever a socket is readable."""
Report = Callable[[dict[str, Any]], None]
"""Tells the host of a connection that was refused here."""


class Network:
    """All of it. `ports`: where a name's address listens; `addresses`: literal (address, port) pairs that do."""

    def __init__(self, accept: Accept, watch: Watch, report: Report) -> None:
        self._accept = accept
        self._watch = watch
        self._report = report
        self._names = Names()
        self._ports: tuple[int, ...] = ()
        self._listening: set[tuple[str, int]] = set()
        self._reported: set[tuple[str, int, str]] = set()

    def open(self) -> None:
        """Routes, proxy port, name server. Called once, when the machine boots."""
        for family in ("-4", "-6"):
            subprocess.run(
                ["/bin/busybox", "ip", family, "route", "add", "local", "default", "dev", "lo"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        self._listen("127.0.0.1", PROXY_PORT, lambda: {"via": "proxy"})
        self._listen_direct(METADATA, 80)
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        names.setblocking(False)
        names.bind(("127.0.0.1", 53))
        self._watch(names, lambda: self._answer(names))
        self._watch_refused()

    def allow(self, ports: list[int], addresses: list[tuple[str, int]]) -> None:
        """What a trial's suite allows beyond names on ports 80 and 443."""
        self._ports = tuple(sorted({80, 443, *ports}))
        for address, port in addresses:
            self._listen_direct(address, port)

    # -- names ---------------------------------------------------------------------------------------------------

    def _answer(self, names: socket.socket) -> None:
        while True:
            try:
                query, sender = names.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            response = self._names.answer(query)
            if response is None:
                continue
            if response[-4:] and response[7]:
                self._open_ports(socket.inet_ntoa(response[-4:]))
            try:
                names.sendto(response, sender)
            except OSError:
                continue

    def _open_ports(self, address: str) -> None:
        for port in self._ports or (80, 443):
            self._listen_direct(address, port)

    # -- listeners -----------------------------------------------------------------------------------------------

    def _listen_direct(self, address: str, port: int) -> None:
        origin = {"via": "direct", "address": address, "port": port}
        self._listen(address, port, lambda: {**origin, "name": self._names.name(address)})

    def _listen(self, address: str, port: int, origin: Callable[[], dict[str, Any]]) -> None:
        if (address, port) in self._listening:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        try:
            listener.bind((address, port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()  # something of the workload's listens there: its own business
            return
        self._listening.add((address, port))
        self._watch(listener, lambda: self._take(listener, origin))

    def _take(self, listener: socket.socket, origin: Callable[[], dict[str, Any]]) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._accept(connection, origin())

    # -- what is refused -----------------------------------------------------------------------------------------

    def _watch_refused(self) -> None:
        """A raw socket on loopback sees every packet; most are the machine's own, and are not looked at twice."""
        packets = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL)
        )
        packets.bind(("lo", 0))
        packets.setsockopt(socket.SOL_SOCKET, 26, _filter())  # SO_ATTACH_FILTER
        packets.setblocking(False)
        self._watch(packets, lambda: self._look(packets))

    def _look(self, packets: socket.socket) -> None:
        while True:
            try:
                packet = packets.recv(128)
            except OSError:
                return
            attempt = refused_attempt(packet)
            if attempt is None or attempt in self._reported or len(self._reported) >= MAX_REPORTED:
                continue
            address, port, protocol = attempt
            if (address, port) in self._listening and protocol == "tcp":
                continue
            self._reported.add(attempt)
            self._report(
                {"address": address, "port": port, "protocol": protocol, "name": self._names.name(address)}
            )


def refused_attempt(packet: bytes) -> tuple[str, int, str] | None:
    """(address, port, `tcp`|`udp`|`icmp`) of an IPv4 packet that begins a conversation with the outside."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    head = (packet[0] & 15) * 4
    if packet[16] == 127 or len(packet) < head + 4:
        return None
    address, protocol = socket.inet_ntoa(packet[16:20]), packet[9]
    port = struct.unpack_from(">H", packet, head + 2)[0]
    if protocol == 6 and len(packet) >= head + 14 and packet[head + 13] & 0x12 == 0x02:
        return address, port, "tcp"
    if protocol == 17:
        return address, port, "udp"
    if protocol == 1 and packet[head] == 8:
        return address, 0, "icmp"
    return None


def _filter() -> bytes:
    """Classic BPF for an IPv4 packet: accept its first 128 bytes unless it goes to 127.0.0.0/8.

    Keeps the machine's own loopback traffic, which may be large, from waking the server.
    """
    import ctypes

    code = (
        (0x30, 0, 0, 16),  # A = first byte of the destination
        (0x15, 0, 1, 127),  # 127 → drop
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 128),
    )
    program = b"".join(struct.pack("HBBI", *step) for step in code)
    buffer = ctypes.create_string_buffer(program)
    _KEPT.append(buffer)
    return struct.pack("HP", len(code), ctypes.addressof(buffer))


_KEPT: list[Any] = []
"""The kernel copies the filter at once; kept all the same, so that its address is valid when it does."""
