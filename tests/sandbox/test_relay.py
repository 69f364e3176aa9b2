"""Connections through both ends: the guest's relays and the host's mux, over a socket pair."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import selectors
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.sandbox.guest import network, relay, wire
from aegis.sandbox.network import Connection, Destination
from support.fuzzing import examples
from support.guest_end import TwoEnds, frames_of, two_ends
from support.network_handlers import Handler, echo
from support.sandbox_bench import DEADLINE_S

BIG = 20 << 20


def play(handler: Handler | None, scene: Callable[[TwoEnds], object]) -> None:
    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), two_ends(handler) as ends:
            await scene(ends)  # type: ignore[misc]

    asyncio.run(body())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - conditions are about plain attributes
        await asyncio.sleep(0.005)


def test_bytes_pass_both_ways_and_both_ends_arrive() -> None:
    handler = Handler()

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        data = os.urandom(300_000)
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data
        writer.close()

    play(handler, scene)
    assert handler.destinations == [Destination("proxy")]
    assert handler.errors == []


def test_a_half_closed_connection_goes_on_in_the_other_direction() -> None:
    async def answers_after_the_end(connection: Connection) -> None:
        size = 0
        while data := await connection.read(65536):
            size += len(data)
        for number in range(3):
            await connection.write(f"{size} {number}\n".encode())
            await asyncio.sleep(0.05)

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read(-1) == b"8 0\n8 1\n8 2\n"
        writer.close()

    play(Handler(answers_after_the_end), scene)


def test_the_host_may_end_first_and_still_listen() -> None:
    heard: list[bytes] = []

    async def speaks_first(connection: Connection) -> None:
        await connection.write(b"220 welcome\n")
        await connection.write_eof()
        while data := await connection.read(65536):
            heard.append(data)

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        assert await reader.read(-1) == b"220 welcome\n"
        writer.write(b"thanks")
        writer.write_eof()
        await writer.drain()
        await until(lambda: bool(heard))
        writer.close()

    play(Handler(speaks_first), scene)
    assert b"".join(heard) == b"thanks"


def test_a_reset_by_the_host_is_a_reset_for_the_client() -> None:
    async def aborts(connection: Connection) -> None:
        await connection.read(1)
        await connection.abort()

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        writer.close()

    play(Handler(aborts), scene)


def test_a_reset_by_the_client_is_a_reset_for_the_host() -> None:
    handler = Handler()

    async def scene(ends: TwoEnds) -> None:
        client = socket.create_connection(("127.0.0.1", ends.port))
        client.sendall(b"x")
        assert await asyncio.to_thread(client.recv, 1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: bool(handler.errors))

    play(handler, scene)
    assert [type(error) for error in handler.errors] == [ConnectionResetError]


def test_what_was_written_before_a_close_arrives_though_the_client_goes_on_sending() -> None:
    async def answers_early(connection: Connection) -> None:
        await connection.read(1)
        await connection.write(b"413 too much" * 5000)
        await connection.close()

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()

        async def pour() -> None:
            for _ in range(100):
                writer.write(b"x" * 65536)
                await writer.drain()
            writer.write_eof()

        pouring = asyncio.ensure_future(pour())
        assert await reader.read(-1) == b"413 too much" * 5000
        await pouring
        writer.close()

    play(Handler(answers_early), scene)


def test_a_large_download_to_a_slow_reader_waits_in_the_handler() -> None:
    sent = 0
    piece = os.urandom(65536)

    async def pours(connection: Connection) -> None:
        nonlocal sent
        while sent < BIG:
            await connection.write(piece)
            sent += len(piece)

    async def scene(ends: TwoEnds) -> None:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", ends.port))
        client.setblocking(False)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.5)
        assert sent < BIG, "nobody has read, so not all can have been written"
        reader, writer = await asyncio.open_connection(sock=client)
        hashed = hashlib.sha256()
        while data := await reader.read(1 << 20):
            hashed.update(data)
        assert hashed.digest() == hashlib.sha256(piece * (BIG // len(piece))).digest()
        writer.close()

    play(Handler(pours), scene)


def test_a_large_upload_to_a_slow_handler_waits_in_the_client() -> None:
    release = asyncio.Event()
    hashed, size = hashlib.sha256(), 0

    async def slow(connection: Connection) -> None:
        nonlocal size
        await release.wait()
        while data := await connection.read(1 << 20):
            assert len(data) <= wire.CONNECTION_WINDOW
            hashed.update(data)
            size += len(data)

    async def scene(ends: TwoEnds) -> None:
        _, writer = await ends.client()
        piece = os.urandom(65536)
        written = 0

        async def pour() -> None:
            nonlocal written
            for _ in range(BIG // len(piece)):
                writer.write(piece)
                await writer.drain()
                written += len(piece)
            writer.write_eof()

        pouring = asyncio.ensure_future(pour())
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.5)
        assert written < BIG, "nobody has read, so not all can have been sent"
        release.set()
        await pouring
        await until(lambda: size == BIG)
        assert hashed.digest() == hashlib.sha256(piece * (BIG // len(piece))).digest()
        writer.close()

    play(Handler(slow), scene)


def test_many_connections_at_once_with_one_that_hangs() -> None:
    handler = Handler()

    async def scene(ends: TwoEnds) -> None:
        stuck_reader, stuck = await ends.client()
        stuck.write(b"x" * 100_000)  # echoed, and never read

        async def one(number: int) -> None:
            reader, writer = await ends.client()
            data = f"{number}:".encode() * 5000
            writer.write(data)
            writer.write_eof()
            assert await reader.read(-1) == data
            writer.close()

        await asyncio.gather(*(one(number) for number in range(200)))
        assert await stuck_reader.readexactly(100_000) == b"x" * 100_000
        stuck.close()

    play(handler, scene)
    assert len(handler.destinations) == 201


def test_a_connection_without_a_handler_is_reset() -> None:
    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()

    play(None, scene)


def test_another_identity_resets_what_began_before() -> None:
    handler = Handler()

    async def scene(ends: TwoEnds) -> None:
        reader, writer = await ends.client()
        writer.write(b"before")
        assert await reader.read(6) == b"before"
        second = Handler()
        await ends.mux.init({"nonce": "second"}, second)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        reader, writer = await ends.client()
        writer.write(b"after")
        assert await reader.read(5) == b"after"
        writer.close()
        assert len(second.destinations) == 1

    play(handler, scene)
    assert len(handler.destinations) == 1


# -- the guest's side alone ------------------------------------------------------------------------------------------


class Pump:
    """A server that sends into a list, and has room as it is told."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.room = True
        self.watched: dict[int, tuple[int, Callable[[int], None]]] = {}

    def send(self, data: bytes) -> None:
        self.sent += data

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        assert fd >= 0
        if mask:
            self.watched[fd] = mask, callback
        else:
            self.watched.pop(fd, None)

    def has_room(self) -> bool:
        return self.room


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection; the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    return accepted, client


def test_nothing_is_read_from_the_workload_while_the_way_is_full() -> None:
    pump, (ours, client) = Pump(), pair()
    relays = relay.Relays(pump)
    relays.accept(ours, {"via": "proxy"})
    assert pump.watched[ours.fileno()][0] == selectors.EVENT_READ
    pump.room = False
    relays.refresh()
    assert pump.watched == {}
    pump.room = True
    relays.refresh()
    assert pump.watched[ours.fileno()][0] == selectors.EVENT_READ
    relays.reset()
    assert pump.watched == {}
    assert frames_of(bytes(pump.sent))[-1] == (wire.CLOSE, wire.FIRST_CONNECTION, wire.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()


def test_questions_are_answered_once_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_QUESTIONS", 2)
    pump = Pump()
    relays = relay.Relays(pump)
    answers: list[bytes] = []
    first, second = (relays.ask({"op": "lookup", "name": "a"}, answers.append) for _ in range(2))
    assert (first, second) == (wire.FIRST_CONNECTION, wire.FIRST_CONNECTION + 1)
    assert relays.ask({"op": "lookup", "name": "b"}, answers.append) is None
    assert frames_of(bytes(pump.sent)) == [
        (wire.OPEN, stream, b'{"op":"lookup","name":"a"}') for stream in (first, second)
    ]
    assert second is not None
    relays.frame(wire.CLOSE, second, wire.NO_SUCH_NAME)
    relays.frame(wire.CLOSE, second, wire.GO_ON)
    assert answers == [wire.NO_SUCH_NAME]
    pump.room = False
    assert relays.ask({"op": "lookup", "name": "c"}, answers.append) is None
    pump.room = True
    assert relays.ask({"op": "lookup", "name": "c"}, answers.append) is not None
    relays.reset()
    assert first is not None
    relays.frame(wire.CLOSE, first, wire.REFUSED)
    assert answers == [wire.NO_SUCH_NAME], "what an earlier trial asked is no news to this one"


def test_nothing_is_accepted_while_the_way_is_full() -> None:
    pump = Pump()
    taken: list[socket.socket] = []
    net = network.Network(
        pump, lambda connection, _: taken.append(connection), lambda _: None, lambda *_: None
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    net.listen("127.0.0.1", port, dict)
    [(listener, (_, take))] = pump.watched.items()
    with socket.create_connection(("127.0.0.1", port)):
        pump.room = False
        take(selectors.EVENT_READ)
        assert (taken, pump.watched) == ([], {})
        net.refresh()
        assert pump.watched == {}
        pump.room = True
        net.refresh()
        assert list(pump.watched) == [listener]
        take(selectors.EVENT_READ)
        assert len(taken) == 1
        taken[0].close()


def test_more_connections_than_there_is_room_for_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_RELAYS", 2)
    pump = Pump()
    relays = relay.Relays(pump)
    pairs = [pair() for _ in range(4)]
    for ours, _ in pairs[:3]:
        relays.accept(ours, {"via": "proxy"})
    with pytest.raises(ConnectionResetError):
        pairs[2][1].recv(1)
    # One that the host has ended, and the client keeps, makes room.
    relays.frame(wire.CLOSE, wire.FIRST_CONNECTION, wire.FINISH)
    assert pairs[0][1].recv(1) == b""
    relays.accept(pairs[3][0], {"via": "proxy"})
    streams = [
        frame[1] - wire.FIRST_CONNECTION for frame in frames_of(bytes(pump.sent)) if frame[0] == wire.OPEN
    ]
    assert streams == [0, 1, 2]
    relays.reset()
    for _, client in pairs:
        client.close()


host_payloads = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"\0", b"\1", b"\2", b"\0\0\0\0\5", b"x" * 65536]),
)


@settings(max_examples=examples(100))
@given(
    st.lists(st.tuples(st.sampled_from(sorted(wire.KINDS)), st.integers(0, 3), host_payloads), max_size=25)
)
def test_any_frames_of_a_host_end_in_a_typed_error_or_in_none(sent: list[tuple[int, int, bytes]]) -> None:
    pump = Pump()
    relays = relay.Relays(pump)
    pairs = [pair() for _ in range(3)]
    for ours, _ in pairs:
        relays.accept(ours, {"via": "proxy"})
    for kind, number, payload in sent:
        try:
            relays.frame(kind, wire.FIRST_CONNECTION + number, payload)
        except wire.WireError:
            pass
    for _, client in pairs:
        client.close()
    for mask, callback in list(pump.watched.values()):
        callback(mask)
    relays.reset()
    frames = frames_of(bytes(pump.sent))
    assert [json.loads(payload) for kind, _, payload in frames if kind == wire.OPEN] == [
        {"op": "connect", "via": "proxy"}
    ] * 3
    assert pump.watched == {}


def test_echo_is_what_the_others_rest_on() -> None:
    """The handler of these tests by itself, so that a failure above is not its own."""

    class Lines:
        def __init__(self) -> None:
            self.left = [b"a", b"b"]
            self.written = b""
            self.closed = False

        async def read(self, max_bytes: int) -> bytes:
            return self.left.pop(0) if self.left else b""

        async def write(self, data: bytes) -> None:
            self.written += data

        async def write_eof(self) -> None:
            return

        async def close(self) -> None:
            self.closed = True

        async def abort(self) -> None:
            return

    lines = Lines()
    asyncio.run(echo(lines))
    assert (lines.written, lines.closed) == (b"ab", True)
