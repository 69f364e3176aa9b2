"""What lies under HTTP: time limits, sockets, and how a TLS connection ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from aegis.gateway import Origin, SocketStream
from aegis.gateway.deadlines import Deadlines
from aegis.gateway.tls import TLSUpstream
from support.certificates import UpstreamAuthority
from support.gateway_server import World
from support.raw_client import connect

# --- time limits ----------------------------------------------------------------------------------------------------


def test_a_wait_that_takes_too_long_is_a_timeout_and_others_go_on() -> None:
    async def run() -> list[str]:
        deadlines = Deadlines()
        ended: list[str] = []

        async def wait(name: str, seconds: float) -> None:
            try:
                with deadlines.within(seconds):
                    await asyncio.sleep(3600)
            except TimeoutError:
                ended.append(name)

        tasks = [asyncio.ensure_future(wait(name, at)) for name, at in (("c", 0.3), ("a", 0.1), ("b", 0.2))]
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        with deadlines.within(0.2):
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        return ended

    assert asyncio.run(run()) == ["a", "b", "c"]


def test_a_cancellation_from_outside_stays_one() -> None:
    async def run() -> bool:
        deadlines = Deadlines()

        async def wait() -> None:
            with deadlines.within(3600):
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(run())


def test_both_at_once_is_a_cancellation() -> None:
    async def run() -> bool:
        deadlines = Deadlines()

        async def wait() -> None:
            with deadlines.within(3600) as guard:
                guards.append(guard)
                await asyncio.sleep(3600)

        guards: list[Any] = []
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        guards[0].expire()
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(run())


def test_an_alarm_rings_once_and_not_when_it_was_removed() -> None:
    async def run() -> list[str]:
        deadlines, rung = Deadlines(), list[str]()
        deadlines.alarm(0.05, lambda: rung.append("kept"))
        deadlines.remove(deadlines.alarm(0.01, lambda: rung.append("removed")))
        await asyncio.sleep(0.3)
        deadlines.alarm(0.01, lambda: rung.append("closed"))
        deadlines.close()
        await asyncio.sleep(0.1)
        return rung

    assert asyncio.run(run()) == ["kept"]


# --- sockets --------------------------------------------------------------------------------------------------------


def with_stream(act: Callable[[SocketStream, socket.socket], Coroutine[Any, Any, None]]) -> None:
    """Runs `act` with a stream and the socket at its other end."""

    async def run() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(SocketStream, sock=ours)
        try:
            await asyncio.wait_for(act(stream, theirs), 60)
        finally:
            stream.drop()
            theirs.close()

    asyncio.run(run())


def test_what_arrives_is_read_in_order_and_in_the_sizes_asked_for() -> None:
    async def act(stream: SocketStream, other: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        assert stream.quiet
        await loop.sock_sendall(other, b"abcdef")
        assert await stream.read(4) == b"abcd"
        assert not stream.quiet
        assert await stream.read(4) == b"ef"
        await loop.sock_sendall(other, b"gh")
        other.shutdown(socket.SHUT_WR)
        assert await stream.read(4) == b"gh"
        assert await stream.read(4) == b""
        assert await stream.read(4) == b""
        assert not stream.quiet
        await stream.write(b"still heard")
        assert await loop.sock_recv(other, 100) == b"still heard"
        await stream.write_eof()
        assert await loop.sock_recv(other, 100) == b""

    with_stream(act)


def test_a_socket_that_nobody_reads_holds_its_sender_back() -> None:
    async def act(stream: SocketStream, other: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(other, bytes(16 * 1024 * 1024)))
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert len(stream.take(1 << 30)) < 1024 * 1024
        left = 0
        while not sending.done() or left == 0:
            left = len(await stream.read(1 << 20))
        await sending

    with_stream(act)


def test_a_reader_that_stops_holds_the_writer_back() -> None:
    async def act(stream: SocketStream, other: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        writing = asyncio.ensure_future(stream.write(bytes(16 * 1024 * 1024)))
        await asyncio.sleep(0.2)
        assert not writing.done()
        got = 0
        while got < 16 * 1024 * 1024:
            got += len(await loop.sock_recv(other, 1 << 20))
        await writing

    with_stream(act)


def test_a_writer_is_told_when_the_other_side_is_gone() -> None:
    async def act(stream: SocketStream, other: socket.socket) -> None:
        writing = asyncio.ensure_future(stream.write(bytes(16 * 1024 * 1024)))
        await asyncio.sleep(0.1)
        other.close()
        await asyncio.wait({writing})
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionError):
            await stream.write(b"x")

    with_stream(act)


def test_a_reset_is_an_error_and_no_end(net: World) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    port = net.upstream(reset)

    async def run() -> None:
        _, stream = await asyncio.get_running_loop().create_connection(SocketStream, "127.0.0.1", port)
        await stream.write(b"x")
        with pytest.raises(ConnectionResetError):
            await stream.read(10)
        assert not stream.quiet

    net.loop.run(run())


# --- how a TLS connection ends --------------------------------------------------------------------------------------


def replying(data: bytes, *, clean: bool) -> Callable[..., Coroutine[Any, Any, None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        if not clean:
            # The socket is closed under TLS, which says nothing.
            writer.transport.abort()

    return answer


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    ("head", "told"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", False)],
)
def test_a_body_that_ends_with_a_connection_that_was_cut_is_not_complete(
    net: World, clean: bool, head: bytes, told: bool
) -> None:
    authority = UpstreamAuthority()
    context = authority.server_context("api.example")
    port = net.upstream(replying(head + b"half", clean=clean), ssl=context)
    server = net.gateway(routes={"api.example": f"127.0.0.1:{port}"}, ca_bundle=authority.pem)
    direct = server.listen(Origin.direct("api.example", None, 443))
    trusting = ssl.create_default_context(cafile=net.ca_file(server))
    trusting.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    got, ragged = b"", False
    with (
        connect(direct) as raw,
        trusting.wrap_socket(raw, server_hostname="api.example", suppress_ragged_eofs=False) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
        try:
            while data := sock.recv(65536):
                got += data
        except ssl.SSLEOFError:
            ragged = True
    assert got.endswith(b"half")
    (exchange,) = server.wait_for(1)
    assert exchange.response_body is not None
    assert exchange.response_body.text == "half"
    if told and not clean:
        assert "ended without TLS's close_notify" in (exchange.error or "")
        assert (exchange.error or "").startswith("upstream-closed: ")
    else:
        assert exchange.error is None
    assert ragged == (told and not clean)


def test_session_tickets_do_not_make_a_connection_unusable_and_an_end_does(net: World) -> None:
    authority = UpstreamAuthority()
    over: list[asyncio.Event] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.Event())
        await over[0].wait()

    port = net.upstream(wait, ssl=authority.server_context("api.example"))
    context = ssl.create_default_context(cadata=authority.pem)

    async def run() -> None:
        _, inner = await asyncio.get_running_loop().create_connection(SocketStream, "127.0.0.1", port)
        stream = await TLSUpstream.connect(inner, context, "api.example")
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert stream.quiet
        over[0].set()
        assert await stream.read(10) == b""
        assert not stream.ragged
        assert not stream.quiet
        stream.drop()

    net.loop.run(asyncio.wait_for(run(), 30))
