"""Connections that fail before anything is said, as a program inside a machine sees them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from aegis.engine.network import RunNetwork
from aegis.engine.resolve import resolve
from aegis.engine.spec import PlannedTrial
from aegis.sandbox.base import Sandbox
from aegis.sandbox.network import Destination, NetworkAccess
from aegis.suite.model import Network
from support.conformance_network import networked
from support.network_handlers import Handler, Plan
from support.sandbox_bench import Bench, until
from support.storm import rule

pytestmark = pytest.mark.vm

CLIENT = """
import errno, json, os, socket, sys, threading, time, urllib.request
def said(error):
    if isinstance(error, socket.gaierror):
        return {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}[error.errno]
    return errno.errorcode.get(error.errno, repr(error))
def look(name):
    try: return sorted({each[4][0] for each in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})[0]
    except OSError as error: return said(error)
def dial(host, port, wait=True):
    s = socket.socket(); s.settimeout(60); s.setblocking(wait)
    try: s.connect((host, port))
    except BlockingIOError:
        import select
        select.select([], [s], [], 60)
        code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.errorcode.get(code, code)
    except OSError as error: return said(error)
    try: s.sendall(b"hi"); s.shutdown(1); return s.recv(100).decode()
    except OSError as error: return said(error)
def get(url):
    try: return urllib.request.urlopen(url, timeout=60).read().decode()
    except urllib.error.URLError as error: return said(error.reason)
def many(count, host, port):
    found = []
    threads = [threading.Thread(target=lambda: found.append(dial(host, port))) for _ in range(count)]
    for each in threads: each.start()
    for each in threads: each.join()
    return sorted(found)
def timed(call, *given):
    begun = time.monotonic()
    return [call(*given), time.monotonic() - begun]
"""


async def results(sandbox: Sandbox, *calls: str, env: dict[str, str] | None = None) -> list[Any]:
    """What these expressions of the client come to, one after another."""
    script = CLIENT + "".join(f"print(json.dumps({call}), flush=True)\n" for call in calls)
    done = await sandbox.run(("python3", "-c", script), timeout_s=100, env=env or {})
    assert done.status.ok, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_gate_decides_what_connect_and_getaddrinfo_say(bench: Bench) -> None:
    gate = Plan(
        ["", "nxdomain", "servfail", "", "timeout", ""],
        [True, False, True, False, False, True, *[number % 3 != 0 for number in range(30)]],
    )
    handler = Handler()
    access = NetworkAccess(handler, (5432,), (("10.0.0.5", 5432),), gate=gate, asks=("lookup", "opening"))

    async def body() -> None:
        async with networked(bench, access) as sandbox:
            assert sandbox.network is not None
            assert sandbox.network.direct
            found = await results(
                sandbox,
                *['look("api.example")'] * 4,
                'timed(look, "api.example")',
                'look("api.example")',
                *['dial("198.18.1.0", 443)'] * 3,
                *['dial("10.0.0.5", 5432)'] * 1,
                'dial("10.0.0.5", 5432, wait=False)',
                'dial("198.18.1.0", 80, wait=False)',
                'many(30, "198.18.1.0", 5432)',
                'dial("10.0.0.5", 1)',
            )
            address = "198.18.1.0"
            assert found[:4] == [address, "EAI_NONAME", "EAI_AGAIN", address]
            (silent, took_s), again = found[4:6]
            assert (silent, again) == ("EAI_AGAIN", address)
            assert took_s > 4, "a resolver waits for an answer that doesn't come"
            assert found[6:9] == ["hi", "ECONNREFUSED", "hi"]
            assert found[9:12] == ["ECONNREFUSED", "ECONNREFUSED", 0]
            assert found[12] == ["ECONNREFUSED"] * 10 + ["hi"] * 20
            assert found[13] == "ECONNREFUSED"

            async def told() -> bool:
                return bool(handler.refusals)

            await until(told, "the report of the kernel's own refusal")

    bench.run(body)
    assert gate.asked[:6] == ["api.example"] * 6, "each lookup once, whatever the resolver asks"
    assert len(gate.asked) == 6 + 6 + 30
    assert [(each.address, each.port) for each in handler.refusals] == [("10.0.0.5", 1)]
    assert Destination("direct", "api.example", "198.18.1.0", 443, let_in=True) in handler.destinations
    assert all(each.let_in for each in handler.destinations)


def test_a_trial_after_it_asks_nobody(bench: Bench) -> None:
    """A machine of the pool may have been told otherwise: it asks only when its own trial says so."""
    handler = Handler()

    async def body() -> None:
        async with networked(bench, NetworkAccess(handler, gate=Plan([], []), asks=())) as sandbox:
            assert await results(sandbox, 'dial(look("api.example"), 443)') == ["hi"]

    bench.run(body)
    assert handler.destinations == [Destination("direct", "api.example", "198.18.1.0", 443)]


class Blobs:
    def put(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def get(self, digest: str) -> bytes:
        raise KeyError(digest)


async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /orders"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nopen")
        await writer.drain()
        break
    writer.close()


def test_an_agents_weather_reaches_its_own_clients(bench: Bench, tmp_path: Path) -> None:
    """All of it: rules, gateway, protocol, guest, and a client that knows of no proxy."""
    host = {"host": ("shop.example",)}
    rules = [
        rule("dns-failure", id="zone", match=host, on=(1,)),
        rule("dns-failure", id="resolver", match=host, on=(3,), answer="servfail"),
        rule("refuse", id="restart", match=host, on=(2,)),
    ]

    async def body() -> None:
        server = await asyncio.start_server(shop, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        network = Network.model_validate({"routes": {"shop.example": {"to": f"http://127.0.0.1:{port}"}}})
        async with server, RunNetwork(resolve(network, {}, {}), Blobs(), root=tmp_path) as run:
            attempt = await run.open(PlannedTrial("case", "baseline", 1), suite="storms", faults=rules)
            async with networked(bench, attempt.access) as sandbox:
                env = attempt.environment(sandbox.network)
                assert not [name for name in env if name.lower().endswith("_proxy")]
                get = 'get("http://shop.example/orders")'
                assert await results(sandbox, get, env=env) == ["open"], "before the agent, no weather"
                attempt.start_clock()
                assert await results(sandbox, *[get] * 6, env=env) == [
                    "EAI_NONAME",
                    "open",
                    "EAI_AGAIN",
                    "ECONNREFUSED",
                    "open",
                    "open",
                ]
            await attempt.end()
            attempt.check()
            seen = [(each.scheme, each.error, each.faults) for each in attempt.exchanges]
            assert seen == [
                ("dns", "injected: the name does not resolve: nxdomain", ("zone",)),
                ("http", None, ()),
                ("dns", "injected: the name does not resolve: servfail", ("resolver",)),
                ("tcp", "injected: the connection is refused", ("restart",)),
                ("http", None, ()),
                ("http", None, ()),
            ]
            assert [(each.id, each.matched, each.fired) for each in attempt.faults] == [
                ("zone", 6, 1),
                ("resolver", 6, 1),
                ("restart", 4, 1),
            ]
            await attempt.close()

    bench.run(body)
