"""What every driver promises about a sandbox's network: what a client sends to the proxy reaches the handler."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from aegis.errors import SandboxLostError
from aegis.gateway.authority import Authority
from aegis.sandbox.base import Sandbox
from aegis.sandbox.network import Connection, Destination, NetworkAccess
from support.conformance_exec import SPEC
from support.host_state import host_state, nothing_left
from support.network_handlers import Handler, Plan
from support.sandbox_bench import Bench, finish, read_until, sh

MIB = 1 << 20
PEM = Authority().pem

CLIENT = """
import hashlib, socket, sys, threading, time
place = (sys.argv[1], int(sys.argv[2]))
def connect():
    return socket.create_connection(place, 100)
def rest(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data
"""


@asynccontextmanager
async def networked(bench: Bench, access: NetworkAccess) -> AsyncIterator[Sandbox]:
    sandbox = await bench.driver.start(await bench.template(SPEC), network=access)
    try:
        yield sandbox
    finally:
        await sandbox.stop()


def client(sandbox: Sandbox, script: str) -> tuple[str, ...]:
    """A program of the sandbox that speaks to the proxy."""
    assert sandbox.network is not None
    proxy = urlsplit(sandbox.network.proxy)
    return ("python3", "-c", CLIENT + script, str(proxy.hostname), str(proxy.port))


async def printed(sandbox: Sandbox, script: str) -> str:
    done = await sandbox.run(client(sandbox, script), timeout_s=100)
    assert done.status.ok, done.stderr.decode()
    return done.stdout.decode()


class NetworkConformance:
    def test_a_client_reaches_the_handler_through_the_proxy(self, bench: Bench) -> None:
        handler = Handler()

        async def body() -> None:
            async with networked(bench, NetworkAccess(handler)) as sandbox:
                script = 's = connect(); s.sendall(b"hello"); s.shutdown(1); print(rest(s).decode())'
                assert await printed(sandbox, script) == "hello\n"
                assert sandbox.network is not None
                assert (sandbox.network.ca_file, sandbox.network.ca_bundle) == (None, None)

        bench.run(body)
        assert handler.destinations == [Destination("proxy")]
        assert handler.errors == []

    def test_a_half_closed_connection_goes_on(self, bench: Bench) -> None:
        async def answers_after_the_end(connection: Connection) -> None:
            size = 0
            while data := await connection.read(65536):
                size += len(data)
            await connection.write(f"{size} bytes".encode())

        async def body() -> None:
            async with networked(bench, NetworkAccess(Handler(answers_after_the_end))) as sandbox:
                script = 's = connect(); s.sendall(b"x" * 1000000); s.shutdown(1); print(rest(s).decode())'
                assert await printed(sandbox, script) == "1000000 bytes\n"

        bench.run(body)

    def test_an_answer_before_the_clients_end_is_not_lost(self, bench: Bench) -> None:
        async def answers_early(connection: Connection) -> None:
            await connection.read(1)
            await connection.write(b"enough" * 10_000)
            await connection.close()

        async def body() -> None:
            async with networked(bench, NetworkAccess(Handler(answers_early))) as sandbox:
                script = """
s = connect()
def pour():
    for _ in range(50): s.sendall(b"x" * 65536)
    s.shutdown(1)
t = threading.Thread(target=pour); t.start()
print(len(rest(s))); t.join()
"""
                assert await printed(sandbox, script) == "60000\n"

        bench.run(body)

    def test_a_reset_is_a_reset_in_both_directions(self, bench: Bench) -> None:
        async def aborts(connection: Connection) -> None:
            if await connection.read(1) == b"a":
                await connection.abort()
            else:
                await connection.write(b"!")
                await connection.read(10)

        handler = Handler(aborts)

        async def body() -> None:
            async with networked(bench, NetworkAccess(handler)) as sandbox:
                script = """
s = connect(); s.sendall(b"a")
try: print(s.recv(1))
except ConnectionResetError: print("reset")
s = connect(); s.sendall(b"b"); s.recv(1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0"); s.close()
"""
                assert await printed(sandbox, script) == "reset\n"
                while not handler.errors:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        bench.run(body)
        assert [type(error) for error in handler.errors] == [ConnectionResetError]

    def test_a_large_download_waits_for_its_reader(self, bench: Bench) -> None:
        sent, whole = 0, 12 * MIB
        piece = bytes(range(256)) * 256

        async def pours(connection: Connection) -> None:
            nonlocal sent
            while sent < whole:
                await connection.write(piece)
                sent += len(piece)

        script = """
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536); s.settimeout(100); s.connect(place)
print("connected", flush=True)
sys.stdin.readline()
h, n = hashlib.sha256(), 0
while data := s.recv(1 << 18): h.update(data); n += len(data)
print(n, h.hexdigest(), flush=True)
"""

        async def body() -> None:
            async with networked(bench, NetworkAccess(Handler(pours))) as sandbox:
                process = await sandbox.exec(client(sandbox, script))
                await read_until(process.stdout(), b"connected\n")
                before = -1
                while sent != before:
                    before = sent
                    await asyncio.sleep(1)
                assert sent < whole, "nobody has read, so not all can have been written"
                await process.write(b"go\n")
                out, err = await finish(process)
                expected = hashlib.sha256(piece * (whole // len(piece))).hexdigest()
                assert out.decode() == f"{whole} {expected}\n", err

        bench.run(body)

    def test_a_large_upload_waits_for_its_handler(self, bench: Bench) -> None:
        whole = 12 * MIB
        release = asyncio.Event()
        hashed, size = hashlib.sha256(), 0

        async def slow(connection: Connection) -> None:
            nonlocal size
            await release.wait()
            while data := await connection.read(1 << 18):
                hashed.update(data)
                size += len(data)
            await connection.write(str(size).encode())

        script = f"""
s = connect(); piece = bytes(range(256)) * 256
s.settimeout(3)
sent = 0
try:
    while sent < {whole}: sent += s.send(piece)
except TimeoutError: pass
print(sent, flush=True)
sys.stdin.readline()
s.settimeout(100)
while sent < {whole}:
    start = sent % len(piece)
    sent += s.send(piece[start:start + {whole} - sent])
s.shutdown(1)
print(rest(s).decode())
"""

        async def body() -> None:
            async with networked(bench, NetworkAccess(Handler(slow))) as sandbox:
                process = await sandbox.exec(client(sandbox, script))
                blocked = await read_until(process.stdout(), b"\n")
                assert int(blocked) < whole, "nobody has read, so not all can have been sent"
                release.set()
                await process.write(b"go\n")
                out, err = await finish(process)
                assert out.decode() == f"{whole}\n", err
                assert hashed.digest() == hashlib.sha256(bytes(range(256)) * (whole // 256)).digest()

        bench.run(body)

    def test_many_connections_at_once(self, bench: Bench) -> None:
        handler = Handler()
        script = """
all = [connect() for _ in range(200)]
for n, s in enumerate(all): s.sendall(b"%d," % n * 500); s.shutdown(1)
print(all and sum(rest(s) == b"%d," % n * 500 for n, s in enumerate(all)))
"""

        async def body() -> None:
            async with networked(bench, NetworkAccess(handler)) as sandbox:
                assert await printed(sandbox, script) == "200\n"

        bench.run(body)
        assert len(handler.destinations) == 200

    def test_the_authority_is_in_files_that_clients_can_read(self, bench: Bench) -> None:
        async def body() -> None:
            async with networked(bench, NetworkAccess(Handler(), ca_pem=PEM)) as sandbox:
                paths = sandbox.network
                assert paths is not None
                assert paths.ca_file is not None
                assert paths.ca_bundle is not None
                assert (await sandbox.get_file(paths.ca_file)).decode() == PEM
                assert PEM.encode() in await sandbox.get_file(paths.ca_bundle)
                script = f"""
import ssl
for path in ({paths.ca_file!r}, {paths.ca_bundle!r}):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    print(any("Internal Services" in str(each["subject"]) for each in context.get_ca_certs()))
"""
                assert await printed(sandbox, script) == "True\nTrue\n"

        bench.run(body)

    def test_who_uses_the_proxy_asks_no_gate(self, bench: Bench) -> None:
        gate = Plan([], [])
        access = NetworkAccess(Handler(), gate=gate, asks=("lookup", "opening"))

        async def body() -> None:
            async with networked(bench, access) as sandbox:
                script = 's = connect(); s.sendall(b"hello"); s.shutdown(1); print(rest(s).decode())'
                assert await printed(sandbox, script) == "hello\n"

        bench.run(body)
        assert gate.asked == []

    def test_without_a_network_there_is_no_way_to_one(self, bench: Bench) -> None:
        async def body() -> None:
            async with bench.sandbox(SPEC) as sandbox:
                assert sandbox.network is None

        bench.run(body)

    def test_stop_ends_every_handler_and_leaves_nothing(self, bench: Bench) -> None:
        async def waits(connection: Connection) -> None:
            await connection.read(1)

        handler = Handler(waits)

        async def body() -> None:
            await bench.template(SPEC)
            before = host_state()
            sandbox = await bench.driver.start(
                await bench.template(SPEC), network=NetworkAccess(handler, ca_pem=PEM)
            )
            process = await sandbox.exec(
                client(sandbox, "a = [connect() for _ in range(5)]\nprint()\ntime.sleep(999)")
            )
            while handler.active < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await sandbox.stop()
            assert handler.active == 0, "when it has stopped, nothing goes on"
            with pytest.raises(SandboxLostError):
                await process.wait()
            await nothing_left(before)

        bench.run(body)

    def test_each_trial_has_a_handler_of_its_own(self, bench: Bench) -> None:
        one, two = Handler(), Handler()

        async def body() -> None:
            async with (
                networked(bench, NetworkAccess(one)) as first,
                networked(bench, NetworkAccess(two)) as second,
            ):
                script = 's = connect(); s.sendall(b"x"); s.shutdown(1); rest(s)'
                await asyncio.gather(printed(first, script), printed(second, script), printed(second, script))
                assert (await sh(first, "true")).status.ok

        bench.run(body)
        assert (len(one.destinations), len(two.destinations)) == (1, 2)
