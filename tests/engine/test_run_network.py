"""A run's gateway with its upstream programs, and an attempt's session behind the sandbox's contract."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from engine_values import MemoryBlobs

from aegis.engine.network import AttemptNetwork, RunNetwork, label
from aegis.engine.resolve import resolve
from aegis.engine.spec import PlannedTrial
from aegis.errors import InfrastructureError, LedgerError, UsageError
from aegis.gateway import Recording
from aegis.sandbox.network import Destination, NetworkPaths, Refusal
from aegis.sandbox.proxyport import ProxyPort
from aegis.suite.model import FaultRule, Network, Secret
from support.fake_driver import until

TRIAL = PlannedTrial("refund", "baseline", 1)

ECHO = """\
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    served = 0
    def do_GET(self):
        Handler.served += 1
        body = f"{Handler.served} {self.headers['Host']} {self.headers.get('Authorization')}".encode()
        body += b"." * int(self.path[1:] or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/1":
            self.wfile.flush()
            os._exit(3)
    def log_message(self, *args):
        pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def network(scope: str = "trial", **more: Any) -> Network:
    upstream = {"command": f"{sys.executable} echo.py", "scope": scope}
    routes = {"crm.example": {"upstream": "crm"}}
    return Network.model_validate({"routes": routes, "upstreams": {"crm": upstream}, **more})


def make(
    tmp_path: Path,
    the_network: Network,
    *,
    secrets: Mapping[str, Secret] | None = None,
    environ: Mapping[str, str] | None = None,
    blobs: MemoryBlobs | None = None,
    **options: Any,
) -> RunNetwork:
    (tmp_path / "echo.py").write_text(ECHO)
    replay = options.get("replay") is not None
    resolved = resolve(the_network, secrets or {}, environ or {}, replay=replay)
    return RunNetwork(resolved, blobs or MemoryBlobs(), root=tmp_path, **options)


async def get(attempt: AttemptNetwork, host: str, path: str = "/0", **headers: str) -> bytes:
    """A request as a program in the machine makes it through its proxy: all that comes back."""
    port = ProxyPort(attempt.access.handler)
    await port.open()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(port.url).port)
        lines = [f"GET http://{host}{path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await reader.read()
        writer.close()
    finally:
        await port.close()
    return answer


@contextlib.asynccontextmanager
async def opened(run: RunNetwork, trial: PlannedTrial = TRIAL) -> AsyncIterator[AttemptNetwork]:
    attempt = await run.open(trial)
    try:
        yield attempt
    finally:
        await attempt.close()


def test_each_attempt_has_a_program_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with make(tmp_path, network()) as run, opened(run) as one, opened(run) as other:
            one.start_clock()
            other.start_clock()
            assert (await get(one, "crm.example")).endswith(b"1 crm.example None")
            assert (await get(one, "crm.example")).endswith(b"2 crm.example None")
            assert (await get(other, "crm.example")).endswith(b"1 crm.example None")
            for attempt, count in ((one, 2), (other, 1)):
                await attempt.end()
                attempt.check()
                assert [item.status for item in attempt.exchanges] == [200] * count
                assert all(item.routed for item in attempt.exchanges)

    asyncio.run(scenario())


def test_all_attempts_share_a_program_of_the_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with make(tmp_path, network("run")) as run, opened(run) as one, opened(run) as other:
            assert (await get(one, "crm.example")).endswith(b"1 crm.example None")
            assert (await get(other, "crm.example")).endswith(b"2 crm.example None")

    asyncio.run(scenario())


@pytest.mark.parametrize("scope", ["trial", "run"])
def test_a_program_that_ended_is_told(tmp_path: Path, scope: str) -> None:
    async def scenario() -> None:
        async with make(tmp_path, network(scope)) as run:
            async with opened(run) as attempt:
                await get(attempt, "crm.example", "/1")
                await until(lambda: bool(attempt._shared.problem() or attempt._own.problem()))
                await attempt.end()
                with pytest.raises(
                    InfrastructureError, match=r"the upstream crm ended in the middle \(exit code 3\)"
                ):
                    attempt.check()
            if scope == "run":
                with pytest.raises(InfrastructureError, match="ended in the middle"):
                    await run.open(TRIAL)
            else:
                async with opened(run) as again:
                    assert (await get(again, "crm.example")).endswith(b"1 crm.example None")

    asyncio.run(scenario())


def test_only_programs_that_a_route_leads_to_are_started(tmp_path: Path) -> None:
    async def scenario() -> None:
        broken = {scope: {"command": "exit 1", "scope": scope} for scope in ("run", "trial")}
        unused = Network.model_validate({"allow": ["a.example"], "upstreams": broken})
        async with make(tmp_path, unused) as run, opened(run):
            pass

    asyncio.run(scenario())


def test_what_began_before_the_clock_is_not_the_agents(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with make(tmp_path, network()) as run, opened(run) as attempt:
            await get(attempt, "crm.example")
            await get(attempt, "seeds.example")
            attempt.start_clock()
            await get(attempt, "crm.example")
            await get(attempt, "other.example")
            attempt.access.handler.refused(Refusal("9.9.9.9", 4444, "udp"))
            await attempt.end()
            assert [(item.host, item.kind) for item in attempt.exchanges] == [
                ("crm.example", "http"),
                ("other.example", "denied"),
                ("9.9.9.9", "denied"),
            ]
            assert [(item.host, item.port, item.count) for item in attempt.denied] == [
                ("9.9.9.9", 4444, 1),
                ("other.example", 80, 1),
                ("seeds.example", 80, 1),
            ]

    asyncio.run(scenario())


def test_an_exchange_that_spans_the_clocks_start_is_the_set_ups(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        routed = Network.model_validate({"routes": {"slow.example": {"to": f"http://127.0.0.1:{port}"}}})
        async with make(tmp_path, routed) as run, opened(run) as attempt:
            before = asyncio.create_task(get(attempt, "slow.example"))
            await reached.wait()
            attempt.start_clock()
            go_on.set()
            assert b"slow" in await before
            assert b"slow" in await get(attempt, "slow.example")
            await attempt.end()
            assert [item.id for item in attempt.setup] == [1]
            assert [item.id for item in attempt.exchanges] == [2]
        server.close()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow")
        await writer.drain()
        writer.close()

    async def main() -> None:
        nonlocal reached, go_on
        reached, go_on = asyncio.Event(), asyncio.Event()
        await scenario()

    reached = go_on = asyncio.Event()
    asyncio.run(main())


def test_after_the_end_nothing_passes_and_nothing_is_added(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with make(tmp_path, network()) as run, opened(run) as attempt:
            await attempt.end()
            with contextlib.suppress(ConnectionError):
                assert await get(attempt, "crm.example") == b""
            assert attempt.exchanges == []
            attempt.check()

    asyncio.run(scenario())


def test_the_environment_and_what_the_machine_listens_for(tmp_path: Path) -> None:
    wide = network(
        allow=[
            "*.db.example:5432",
            "10.0.0.5:5433",
            "10.0.0.6",
            "[2001:db8::1]:9000",
            "smtp.example:25",
            "x.example:443",
        ]
    )
    secrets = {"KEY": Secret(hosts=("crm.example",)), "SPARE": Secret(hosts=("crm.example",), optional=True)}

    async def scenario() -> None:
        environ = {"KEY": "sk-proj-0123456789abcdef"}
        async with make(tmp_path, wide, secrets=secrets, environ=environ) as run, opened(run) as attempt:
            access = attempt.access
            assert access.ports == (25, 5432)
            assert access.addresses == (("10.0.0.5", 5433), ("10.0.0.6", 80), ("10.0.0.6", 443))
            assert "BEGIN CERTIFICATE" in (access.ca_pem or "")
            env = attempt.environment(NetworkPaths("http://127.0.0.1:3128", "/ca.pem", "/all.pem"))
            assert env["HTTPS_PROXY"] == "http://127.0.0.1:3128"
            assert (env["NODE_EXTRA_CA_CERTS"], env["SSL_CERT_FILE"]) == ("/ca.pem", "/all.pem")
            assert env["KEY"].startswith("sk-proj-")
            assert env["KEY"] != environ["KEY"]
            assert env["SPARE"]
            assert attempt.environment(None) == {name: env[name] for name in ("KEY", "SPARE")}
            seen = await get(attempt, "crm.example", Authorization=f"Bearer {env['KEY']}")
            # The echo of the value has become the placeholder again.
            assert seen.endswith(f"Bearer {env['KEY']}".encode())
            await attempt.end()
            assert environ["KEY"] not in repr(attempt.exchanges)

    asyncio.run(scenario())


def test_where_connections_may_fail_machines_are_asked_and_programs_get_no_proxy(tmp_path: Path) -> None:
    machine = NetworkPaths("http://127.0.0.1:3128", "/ca.pem", "/all.pem", direct=True)
    process = NetworkPaths("http://127.0.0.1:4000", "/ca.pem", "/all.pem")

    async def scenario() -> None:
        async with make(tmp_path, network()) as run:
            for injected, asks in (
                ("refuse", ("opening",)),
                ("dns-failure", ("lookup",)),
                ("tls-failure", ()),
                ("overloaded", ()),
            ):
                attempt = await run.open(TRIAL, suite="s", faults=[FaultRule(id="f", inject=injected)])
                assert attempt.access.asks == asks
                assert (attempt.access.gate is attempt) is bool(asks)
                env = attempt.environment(machine)
                assert ("HTTPS_PROXY" in env) is not bool(asks)
                assert env["SSL_CERT_FILE"] == "/all.pem"
                assert attempt.environment(process)["HTTPS_PROXY"] == process.proxy
                await attempt.close()
            async with opened(run) as attempt:
                assert (attempt.access.asks, attempt.access.gate) == ((), None)
                assert "HTTPS_PROXY" in attempt.environment(machine)

    asyncio.run(scenario())


def test_an_attempts_gate_is_its_weather(tmp_path: Path) -> None:
    there = Destination("direct", "crm.example", "198.18.1.0", 80)
    rules = [
        FaultRule(id="zone", inject="dns-failure", on=(2,)),
        FaultRule(id="down", inject="refuse", on=(1,)),
    ]

    async def scenario() -> None:
        async with make(tmp_path, network()) as run:
            attempt = await run.open(TRIAL, suite="s", faults=rules)
            assert attempt.lookup("crm.example") == "", "the agent has not begun"
            assert attempt.opening(there)
            attempt.start_clock()
            assert [attempt.lookup("crm.example") for _ in range(3)] == ["", "nxdomain", ""]
            assert [attempt.opening(there) for _ in range(2)] == [False, True]
            await attempt.end()
            assert [item.faults for item in attempt.exchanges] == [("zone",), ("down",)]
            assert attempt.opening(there)
            await attempt.close()

    asyncio.run(scenario())


def test_a_body_that_cannot_be_stored_is_the_hosts_failure(tmp_path: Path) -> None:
    class Full(MemoryBlobs):
        def put(self, data: bytes) -> str:
            raise LedgerError("the disk is full")

    async def scenario() -> None:
        async with make(tmp_path, network(), blobs=Full()) as run, opened(run) as attempt:
            await get(attempt, "crm.example", "/200000")
            await attempt.end()
            with pytest.raises(LedgerError, match="the disk is full"):
                attempt.check()

    asyncio.run(scenario())


def test_a_replay_starts_nothing_and_answers_by_label(tmp_path: Path) -> None:
    asked: list[str] = []
    kept: list[Any] = []

    async def scenario() -> None:
        blobs = MemoryBlobs()
        async with make(tmp_path, network(), blobs=blobs, record=True) as run, opened(run) as attempt:
            attempt.start_clock()
            await get(attempt, "crm.example", "/200000")
            await attempt.end()
            kept.extend(attempt.exchanges)
        assert kept[0].response_body.blob is not None

        def recording(name: str) -> Recording:
            asked.append(name)
            return Recording(tuple(kept), blobs.get)

        answered = make(
            tmp_path, network(), replay=recording, secrets={"KEY": Secret(hosts=("crm.example",))}
        )
        (tmp_path / "echo.py").write_text("raise SystemExit('must not be started')")
        async with answered as run, opened(run) as attempt:
            attempt.start_clock()
            again = await get(attempt, "crm.example", "/200000")
            assert b"1 crm.example None" in again
            assert again.count(b".") >= 200_000
            assert b"502" in (await get(attempt, "crm.example", "/7")).partition(b"\r\n")[0]
            await attempt.end()
            attempt.check()
            assert [item.replayed for item in attempt.exchanges] == [True, False]
        assert asked == [label(TRIAL)]

    asyncio.run(scenario())


def test_recording_keeps_what_a_run_would_cut(tmp_path: Path) -> None:
    async def recorded(record: bool) -> bool:
        async with make(tmp_path, network(), record=record) as run, opened(run) as attempt:
            attempt.start_clock()
            await get(attempt, "crm.example", "/9000000")
            await attempt.end()
            body = attempt.exchanges[0].response_body
            assert body is not None
            return body.truncated

    assert asyncio.run(recorded(False)) is True
    assert asyncio.run(recorded(True)) is False


@pytest.mark.parametrize(
    "bundle", ["not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_bundle_that_holds_no_certificate_is_refused(tmp_path: Path, bundle: str) -> None:
    with pytest.raises(UsageError):
        make(tmp_path, network(), ca_bundle=bundle)
