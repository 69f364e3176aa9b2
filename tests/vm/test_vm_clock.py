"""A machine on another date: its clock and zone, and TLS that its clients accept there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.engine.network import AttemptNetwork, RunNetwork
from aegis.engine.resolve import resolve
from aegis.engine.spec import PlannedTrial
from aegis.errors import GuestOperationError
from aegis.results.blobs import BlobStore
from aegis.sandbox.base import Sandbox
from aegis.suite.clockkeys import instant
from aegis.suite.model import FaultRule, Network
from support.conformance_exec import SPEC
from support.fake_driver import until
from support.http_upstream import HttpUpstream, Received
from support.sandbox_bench import Bench, sh, text_of

pytestmark = pytest.mark.vm

LEAP_DAY = instant("2028-02-29T23:50:00", None)
LAST_CENTURY = instant("1999-12-31T23:00:00", None)
AFTER_32_BITS = instant("2038-01-19T03:14:08", None)

ASK = """
import datetime, json, ssl, socket, sys, urllib.request
answer = urllib.request.urlopen("https://crm.example/day", timeout=90).read().decode()
connection = ssl.create_default_context().wrap_socket(
    socket.create_connection(("crm.example", 443), 90), server_hostname="crm.example")
certificate = connection.getpeercert()
ends = [ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter")]
print(json.dumps({"answer": answer, "days": (ends[1] - ends[0]) / 86400,
                  "shown": datetime.datetime.now(datetime.UTC).timestamp(), "ends": ends}))
"""


async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")


@asynccontextmanager
async def connected(
    bench: Bench, folder: Path, shown_s: float | None, *faults: FaultRule
) -> AsyncIterator[tuple[Sandbox, AttemptNetwork]]:
    """A machine with this date, whose crm.example is a server of ours behind the gateway."""
    server = await asyncio.start_server(HttpUpstream(answer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network = Network.model_validate({"routes": {"crm.example": {"to": f"http://127.0.0.1:{port}"}}})
    run = RunNetwork(resolve(network, {}, {}, replay=False), BlobStore(folder), root=folder)
    async with server, run:
        attempt = await run.open(PlannedTrial("a", "baseline", 1), faults=faults, shown_s=shown_s)
        sandbox = await bench.driver.start(await bench.template(SPEC), network=attempt.access)
        try:
            await sandbox.set_clock(shown_s, None)
            yield sandbox, attempt
        finally:
            await sandbox.stop()
            await attempt.close()


@pytest.mark.parametrize("shown_s", [LEAP_DAY, LAST_CENTURY, AFTER_32_BITS])
def test_tls_is_accepted_on_that_day(bench: Bench, tmp_path: Path, shown_s: float) -> None:
    async def body() -> None:
        async with connected(bench, tmp_path, shown_s) as (sandbox, _):
            environment = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
            done = await sandbox.run(("python3", "-c", ASK), env=environment, timeout_s=110)
            assert done.status.ok, done.stderr.decode()
            told = json.loads(done.stdout)
            assert told["answer"] == "here"
            assert shown_s <= told["shown"] < shown_s + 120
            assert told["ends"][0] < shown_s < told["ends"][1]
            assert told["days"] < 398

    bench.run(body)


def test_without_the_date_the_certificate_has_ended_by_then(bench: Bench, tmp_path: Path) -> None:
    """What the date on the gateway's side is for."""

    async def body() -> None:
        async with connected(bench, tmp_path, None) as (sandbox, _):
            await sandbox.set_clock(LEAP_DAY, None)
            done = await sandbox.run(("python3", "-c", ASK), timeout_s=110)
            assert b"certificate has expired" in done.stderr

    bench.run(body)


def test_dates_that_faults_tell_are_of_that_day(bench: Bench, tmp_path: Path) -> None:
    limit = FaultRule(
        id="limit", inject="rate-limit", on=(1,), params={"retry_after": "30s", "form": "http-date"}
    )

    async def body() -> str:
        async with connected(bench, tmp_path, LEAP_DAY, limit) as (sandbox, attempt):
            await sandbox.set_clock(LEAP_DAY, None)
            attempt.start_clock()
            ask = "import urllib.request, urllib.error\n"
            ask += "try: urllib.request.urlopen('http://crm.example/')\n"
            ask += "except urllib.error.HTTPError as error: print(error.code, error.headers['Retry-After'])"
            done = await sandbox.run(("python3", "-c", ask), timeout_s=110)
            return done.stdout.decode().strip()

    assert bench.run(body).startswith("429 Tue, 29 Feb 2028 23:5")


def test_the_zone_is_everybodys(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        before = await text_of(sandbox, "date +%Z")
        at = instant("2028-02-29T23:50:00", "Asia/Kolkata")
        await sandbox.set_clock(at, "Asia/Kolkata")
        assert (await text_of(sandbox, "date '+%F %H %Z'")) == "2028-02-29 23 IST\n"
        # Also of programs that nobody gave the variable, and of those that know zones by name.
        assert (await text_of(sandbox, "env -u TZ date '+%F %H %Z'")) == "2028-02-29 23 IST\n"
        known = "import zoneinfo; print(zoneinfo.ZoneInfo('Asia/Kolkata').key)"
        assert await text_of(sandbox, f'python3 -c "{known}"') == "Asia/Kolkata\n"
        assert await text_of(sandbox, "cat /etc/timezone") == "Asia/Kolkata\n"
        assert await text_of(sandbox, "TZ=UTC date +%Z") == "UTC\n" == before
        await sandbox.set_clock(None, "America/New_York")
        assert await text_of(sandbox, "date +%Z | tr -d '\n'; env -u TZ date +%Z") in ("ESTEST\n", "EDTEDT\n")

    bench.trial(use, SPEC)


def test_an_image_without_zones_gets_the_one(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await text_of(sandbox, "rm -rf /usr/share/zoneinfo /etc/localtime /etc/timezone")
        await sandbox.set_clock(LEAP_DAY, "Europe/Berlin")
        assert await text_of(sandbox, "date '+%F %H %Z'") == "2028-03-01 00 CET\n"
        assert await text_of(sandbox, "env -u TZ date '+%H %Z'") == "00 CET\n"

    bench.trial(use, SPEC)


def test_the_next_machine_has_the_real_time(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        assert abs(float(await text_of(sandbox, "date +%s.%N")) - time.time()) < 30
        await sandbox.set_clock(LAST_CENTURY, "Europe/Berlin")
        assert await text_of(sandbox, "date +%Y") == "2000\n"

    bench.trial(use, SPEC)
    bench.trial(use, SPEC)


def test_a_pooled_machine_has_it_too(bench: Bench) -> None:
    async def body() -> None:
        spec = replace(SPEC, setup=(*SPEC.setup, "echo pooled > pooled.txt"))
        template = await bench.template(spec)
        bench.driver.expect(template, 2)
        try:
            await until(lambda: bool(bench.driver.ready(template)))  # type: ignore[attr-defined]
            sandbox = await bench.driver.start(template)
            assert sandbox.info.pooled
            await sandbox.set_clock(LEAP_DAY, None)
            assert await text_of(sandbox, "date +%F") == "2028-02-29\n"
            await sandbox.stop()
        finally:
            bench.driver.expect(template, 0)

    bench.run(body)


def test_a_time_that_the_kernel_refuses(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        for at in (-5.0, 1e19):
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.set_clock(at, None)
            assert refused.value.code == "bad-request"
        assert (await sh(sandbox, "true")).status.ok

    bench.trial(use, SPEC)
