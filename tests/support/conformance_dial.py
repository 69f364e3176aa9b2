"""What every driver promises about connections into a sandbox: `Sandbox.dial`."""

from __future__ import annotations

import asyncio

import pytest

from aegis.errors import GuestOperationError
from aegis.sandbox.base import Process, Sandbox
from support.conformance_exec import SPEC
from support.sandbox_bench import DEADLINE_S, Bench, read_all

SERVER = """
import os, socket, struct, sys, time
family = socket.AF_INET6 if sys.argv[1] == "v6" else socket.AF_INET
time.sleep(float(sys.argv[2]))
server = socket.socket(family)
server.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", int(sys.argv[3])))
server.listen()
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    stream = connection.makefile("rwb")
    order = stream.readline().decode().split()
    if order[0] == "echo":
        stream.write(stream.read(int(order[1]))[::-1])
    elif order[0] == "end":
        while stream.read(65536): pass
        stream.write(b"all of it")
    elif order[0] == "flood":
        try:
            while True: connection.sendall(b"x" * 65536)
        except OSError:
            continue
    elif order[0] == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close(); connection.close()
        continue
    stream.close(); connection.close()
"""


async def serve(sandbox: Sandbox, family: str = "v4") -> tuple[Process, int]:
    """A server on a free port."""
    server = await sandbox.exec(("python3", "-c", SERVER, family, "0", "0"))
    line = b""
    async for chunk in server.stdout():
        line += chunk
        if b"\n" in line:
            break
    return server, int(line)


class DialConformance:
    @pytest.mark.parametrize("family", ["v4", "v6"])
    def test_bytes_pass_in_both_directions(self, bench: Bench, family: str) -> None:
        async def use(sandbox: Sandbox) -> None:
            _, port = await serve(sandbox, family)
            for size in (5, 1_000_000):
                connection = await sandbox.dial(port)
                await connection.write(b"echo %d\n" % size + b"a" * (size - 1) + b"b")
                assert await read_all(connection.stdout()) == b"b" + b"a" * (size - 1)
                assert (await connection.wait()).ok
                await connection.kill()

        bench.trial(use, SPEC)

    def test_closing_the_input_ends_the_sending_only(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            _, port = await serve(sandbox)
            connection = await sandbox.dial(port)
            await connection.write(b"end\nmore")
            await connection.close_stdin()
            assert await read_all(connection.stdout()) == b"all of it"

        bench.trial(use, SPEC)

    def test_a_connection_that_is_reset_ends_badly(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            _, port = await serve(sandbox)
            connection = await sandbox.dial(port)
            await connection.write(b"reset\n" + b"x" * 100)
            assert await read_all(connection.stdout()) == b""
            assert not (await connection.wait()).ok

        bench.trial(use, SPEC)

    def test_a_flood_waits_until_it_is_read(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            server, port = await serve(sandbox)
            connection = await sandbox.dial(port)
            await connection.write(b"flood\n")
            size = 0
            async for chunk in connection.stdout():
                size += len(chunk)
                if size > 1_000_000:
                    break
            await connection.kill()
            again = await sandbox.dial(port)  # the server has noticed the end of the first
            await again.write(b"echo 1\nx")
            assert await read_all(again.stdout()) == b"x"
            await server.kill()

        bench.trial(use, SPEC)

    def test_nothing_that_listens_is_not_found(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            server, port = await serve(sandbox)
            await server.kill()
            for wait_s in (0.0, 0.3):
                with pytest.raises(GuestOperationError) as caught:
                    await sandbox.dial(port, wait_s=wait_s)
                assert caught.value.code == "not-found"

        bench.trial(use, SPEC)

    def test_what_listens_later_is_waited_for(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            server, port = await serve(sandbox)
            await server.kill()
            await sandbox.exec(("python3", "-c", SERVER, "v4", "1", str(port)))
            connection = await sandbox.dial(port, wait_s=DEADLINE_S)
            await connection.write(b"echo 1\nx")
            assert await read_all(connection.stdout()) == b"x"

        bench.trial(use, SPEC)

    def test_waiting_for_a_listener_can_be_given_up(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            server, port = await serve(sandbox)
            await server.kill()
            waiting = asyncio.ensure_future(sandbox.dial(port, wait_s=DEADLINE_S))
            await asyncio.sleep(0.3)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await sandbox.run(("true",))).status.ok

        bench.trial(use, SPEC)
