"""The machine's only way out: loopback listeners whose connections become streams to the host.

There is no network card. Every address is routed to loopback, so a connection either meets one of these listeners or
is refused at once by the kernel; the host is told of the refused ones.

Three ways in: the proxy port (clients that honour the proxy variables), the name server with an address per name
(clients that don't), and literal addresses that the suite allows.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from . import refused, wire
from .gate import Ask, Gate
from .lookups import Lookup, Lookups
from .names import NAME_ERROR, SERVER_FAILURE, Names
from .rootfs import Root

PROXY_PORT = 3128
BACKLOG = 512
METADATA = "169.254.169.254"
OWN_ADDRESS = "127.0.1.1"
USUAL_PORTS = (80, 443)
MAX_LISTENERS = 3072
MAX_REPORTED = 256
MAX_AT_ONCE = 64
"""Datagrams looked at before the server turns to others."""

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
MAX_HOSTS_BYTES = 1 << 20

FAILURES = {wire.SERVER_FAILURE: SERVER_FAILURE, wire.NO_SUCH_NAME: NAME_ERROR}

Accept = Callable[[socket.socket, dict[str, Any]], None]
"""Takes over an accepted connection, and what the host is to know of it."""
Report = Callable[[dict[str, Any]], None]
"""Tells the host of a conversation that was refused here."""


class Loop(Protocol):
    """What the server lends."""

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None: ...

    def has_room(self) -> bool: ...


class Network:
    """All of it. `open` once, when the machine boots; `renew` with each identity."""

    def __init__(self, loop: Loop, accept: Accept, report: Report, ask: Ask) -> None:
        self._loop = loop
        self._accept = accept
        self._report = report
        self._ask = ask
        self._names = Names()
        self._lookups = Lookups()
        self._asks_of_lookups = False
        self._gate = Gate(loop, ask)
        self._ports = USUAL_PORTS
        self._listening: set[tuple[str, int]] = set()
        self._waiting: list[tuple[socket.socket, Callable[[int], None]]] = []
        self._reported: set[refused.Attempt] = set()
        self._connected = False

    def open(self) -> None:
        """Routes, proxy port, name server. Raises OSError."""
        _route_everything_to_loopback()
        self.listen("127.0.0.1", PROXY_PORT, lambda: {"via": "proxy"})
        self._listen_direct(METADATA, 80)
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        names.setblocking(False)
        names.bind(("127.0.0.1", 53))
        self._loop.watch(names.fileno(), selectors.EVENT_READ, lambda _: self._answer(names))
        for protocol in (refused.ETH_P_IP, refused.ETH_P_IPV6):
            self._watch_refused(refused.watcher(protocol))

    def renew(self, settings: dict[str, Any] | None) -> None:
        """A trial begins, with a network (`ports` beyond the usual ones, literal `addresses`, what to `ask` the host
        about) or without one. Raises OSError."""
        self._connected = settings is not None
        self._names.shut = settings is None
        self._names.own = {"localhost": "127.0.0.1", socket.gethostname().lower(): OWN_ADDRESS}
        self._reported.clear()
        asked = () if settings is None else settings.get("ask", ())
        self._asks_of_lookups = "lookup" in asked
        self._lookups.clear()
        self._gate.open()
        if "opening" in asked:
            self._gate.shut()
        if settings is None:
            return
        self._ports = tuple(sorted({*USUAL_PORTS, *settings.get("ports", ())}))
        for address, port in settings.get("addresses", ()):
            self._listen_direct(address, port)

    def rehearse(self) -> None:
        """What `renew` does for a trial that has a network, to no effect."""
        listener = _listener("127.0.0.1", 0)
        self._loop.watch(listener.fileno(), selectors.EVENT_READ, lambda _: None)
        self._loop.watch(listener.fileno(), 0, lambda _: None)
        listener.close()

    def refresh(self) -> None:
        """The way to the host is free again, or full."""
        if self._loop.has_room():
            waiting, self._waiting = self._waiting, []
            for listener, take in waiting:
                self._loop.watch(listener.fileno(), selectors.EVENT_READ, take)

    # -- names ---------------------------------------------------------------------------------------------------

    def _answer(self, names: socket.socket) -> None:
        for _ in range(MAX_AT_ONCE):
            try:
                query, sender = names.recvfrom(4096)
            except OSError:
                return
            question = self._names.question(query) if self._asks_of_lookups else None
            if question is None:
                self._respond(names, query, sender)
                continue
            lookup, is_new = self._lookups.of(question, time.monotonic())
            if lookup.answer is not None:
                self._settle(names, lookup.answer, query, sender)
                continue
            lookup.wait(query, sender)
            if is_new:
                self._look_up(names, lookup)

    def _look_up(self, names: socket.socket, lookup: Lookup) -> None:
        """Ask the host how a lookup ends."""

        def answered(answer: bytes) -> None:
            lookup.answer = answer
            for query, sender in lookup.waiting:
                self._settle(names, answer, query, sender)
            lookup.waiting.clear()

        if self._ask({"op": "lookup", "name": lookup.name}, answered) is None:
            self._lookups.drop(lookup)

    def _settle(self, names: socket.socket, answer: bytes, query: bytes, sender: tuple[str, int]) -> None:
        if answer in FAILURES:
            _send(names, self._names.failure(query, FAILURES[answer]), sender)
        elif answer != wire.SILENCE:
            self._respond(names, query, sender)

    def _respond(self, names: socket.socket, query: bytes, sender: tuple[str, int]) -> None:
        response, address = self._names.answer(query)
        if address is not None and self._names.name(address) is not None:
            for port in self._ports:
                self._listen_direct(address, port)
        if response is not None:
            _send(names, response, sender)

    # -- listeners -----------------------------------------------------------------------------------------------

    def _listen_direct(self, address: str, port: int) -> None:
        origin = {"via": "direct", "address": address, "port": port}
        self.listen(address, port, lambda: {**origin, "name": self._names.name(address)}, gated=True)

    def listen(
        self, address: str, port: int, origin: Callable[[], dict[str, Any]], *, gated: bool = False
    ) -> None:
        """Connections to this place become streams to the host, which is told their `origin`. `gated`: in a trial in
        which the host is asked about connections, it is asked about these."""
        if (address, port) in self._listening or len(self._listening) >= MAX_LISTENERS:
            return
        try:
            listener = _listener(address, port, self._gate.close if gated else None)
        except OSError:
            return  # something of the workload's listens there: its own business
        self._listening.add((address, port))
        if gated:
            self._gate.stand_before((address, port), listener, origin)

        def take(_: int) -> None:
            self._take(listener, take, origin)

        self._loop.watch(listener.fileno(), selectors.EVENT_READ, take)

    def _take(
        self, listener: socket.socket, take: Callable[[int], None], origin: Callable[[], dict[str, Any]]
    ) -> None:
        if not self._loop.has_room():
            self._loop.watch(listener.fileno(), 0, take)
            self._waiting.append((listener, take))
            return
        try:
            connection, client = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # who came has left
        except OSError as error:
            if error.errno == errno.EINVAL:  # the workload has ended the listener itself, and for ever
                self._loop.watch(listener.fileno(), 0, take)
                self._gate.forget(listener)
                listener.close()
            return
        connection.setblocking(False)
        self._accept(connection, origin() | self._gate.told(connection, client))

    # -- what is refused -----------------------------------------------------------------------------------------

    def _watch_refused(self, packets: socket.socket) -> None:
        self._loop.watch(packets.fileno(), selectors.EVENT_READ, lambda _: self._look(packets))

    def _look(self, packets: socket.socket) -> None:
        for _ in range(MAX_AT_ONCE):
            try:
                packet = packets.recv(refused.SNAP_BYTES)
            except OSError:
                return
            attempt = refused.refused_attempt(packet)
            if attempt is None or not self._connected or attempt in self._reported:
                continue
            if len(self._reported) < MAX_REPORTED and self._loop.has_room():
                self._reported.add(attempt)
                address, port, protocol = attempt
                name = self._names.name(address)
                self._report({"address": address, "port": port, "protocol": protocol, "name": name})


def _listener(
    address: str, port: int, prepare: Callable[[socket.socket], None] | None = None
) -> socket.socket:
    """`prepare` is called before anything can reach it. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        if prepare is not None:
            prepare(listener)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _send(names: socket.socket, response: bytes, sender: tuple[str, int]) -> None:
    try:
        names.sendto(response, sender)
    except OSError:
        pass  # who asked is gone


def _route_everything_to_loopback() -> None:
    for family in ("-4", "-6"):
        route = ["busybox", "ip", family, "route", "add", "local", "default", "dev", "lo"]
        if os.spawnv(os.P_WAIT, "/bin/busybox", route) and family == "-4":
            raise OSError("cannot route to loopback")
    for path in ("/proc/sys/net/ipv4/icmp_echo_ignore_all", "/proc/sys/net/ipv6/icmp/echo_ignore_all"):
        try:
            with open(path, "w") as file:
                file.write("1")  # every address is the machine's own, and would answer
        except FileNotFoundError:
            pass


def settle(root: Root) -> None:
    """Let the workload's programs ask the name server, and know what every machine knows."""
    root.write("/etc/resolv.conf", b"nameserver 127.0.0.1\n")
    hosts = root.read("/etc/hosts", MAX_HOSTS_BYTES).decode("utf-8", "replace")
    words = [line.partition("#")[0].split() for line in hosts.splitlines()]
    if not any(line[:1] == ["127.0.0.1"] and "localhost" in line for line in words):
        root.write("/etc/hosts", (HOSTS + hosts).encode())
