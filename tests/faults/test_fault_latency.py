from __future__ import annotations

import asyncio
import math
import statistics
import time
import urllib.request
from typing import Any

import pytest
import requests

from aegis.faults.base import Hit, TrialKey
from aegis.faults.latency import Latency
from aegis.faults.streams import DelayLine
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, response
from support.raw_client import connect
from support.storm import rule, storm
from support.wild_tcp import link, pieces

URL = "http://127.0.0.1:{}/orders/1"
HEADERS = {"Host": "api.example"}


def hit(nth: int = 1, case: str = "case", route: str = "GET api.example/") -> Hit:
    return Hit("slow", route, nth, nth, 0.0, TrialKey("suite", case, "baseline", 1))


def of(**params: Any) -> Latency:
    return Latency(Latency.read(params))


@pytest.mark.parametrize("before", ["request", "response"])
def test_the_delay_comes_on_top_of_what_upstream_takes(net: World, before: str) -> None:
    heard: list[float] = []

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        heard.append(time.monotonic())
        await asyncio.sleep(0.4)
        writer.write(response(b"late"))

    weather = storm(net, [rule("latency", delay="400ms", before=before)], HttpUpstream(answer))
    url = URL.format(weather.port)
    began = time.monotonic()
    assert requests.get(url, headers=HEADERS, timeout=60).text == "late"
    assert time.monotonic() - began >= 0.8
    if before == "request":
        assert heard[0] - began >= 0.4
    (exchange,) = weather.exchanges(1)
    assert exchange.faults == ("latency",)
    assert exchange.first_byte_s is not None
    assert exchange.first_byte_s - exchange.started_s >= 0.8


@pytest.mark.parametrize("before", ["request", "response"])
def test_a_client_that_gives_up_has_left_also_when_it_asked_for_one_request_only(
    net: World, before: str
) -> None:
    weather = storm(net, [rule("latency", delay="10m", before=before)])
    request = urllib.request.Request(URL.format(weather.port), headers={**HEADERS, "Connection": "close"})
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=1)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")
    assert exchange.faults == ("latency",)
    assert len(weather.upstream.received) == (1 if before == "response" else 0)


def test_every_hit_has_its_own_delay_which_is_the_same_in_every_run() -> None:
    def drawn(case: str) -> list[float]:
        fault = of(distribution="uniform", min="1s", max="3s")
        return [fault.delay_s(hit(nth, case)) for nth in range(1, 200)]

    assert drawn("one") == drawn("one")
    assert drawn("one") != drawn("two")
    assert all(1 <= delay <= 3 for delay in drawn("one"))
    assert min(drawn("one")) < 1.2
    assert max(drawn("one")) > 2.8
    around = of(distribution="uniform", delay="2s", jitter="500ms")
    delays = [around.delay_s(hit(nth)) for nth in range(1, 200)]
    assert 1.5 <= min(delays) < 1.6
    assert 2.4 < max(delays) <= 2.5


def test_a_lognormal_delay_has_its_median_its_tail_and_its_bounds() -> None:
    fault = of(distribution="lognormal", median="200ms", sigma=0.5)
    logs = [math.log(fault.delay_s(hit(nth))) for nth in range(1, 4001)]
    assert statistics.median(logs) == pytest.approx(math.log(0.2), abs=0.05)
    assert statistics.stdev(logs) == pytest.approx(0.5, abs=0.05)
    bounded = of(distribution="lognormal", median="200ms", sigma=0.5, min="150ms", max="300ms")
    delays = [bounded.delay_s(hit(nth)) for nth in range(1, 200)]
    assert (min(delays), max(delays)) == (0.15, 0.3)


class _Lowest(Hit):
    def draw(self, purpose: str = "") -> float:
        return 0.0


def test_the_lowest_draw_has_a_delay_too() -> None:
    lowest = _Lowest("slow", "r", 1, 1, 0.0, TrialKey("s", "c", "baseline", 1))
    assert 0 < of(distribution="lognormal", median="200ms", sigma=3).delay_s(lowest) < 0.2


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"delay": "2"}, "expected a duration"),
        ({"delay": "11m"}, "from 1ms to 10m"),
        ({"jitter": "1s"}, "'jitter' means nothing for distribution: fixed"),
        ({"distribution": "uniform", "delay": "2s"}, "either 'delay' and 'jitter', or 'min' and 'max'"),
        ({"distribution": "uniform", "delay": "1s", "jitter": "2s"}, "delays would be negative"),
        ({"distribution": "uniform", "min": "2s", "max": "1s"}, "'min' is longer than 'max'"),
        ({"distribution": "lognormal", "median": "2s"}, "needs 'median' and 'sigma'"),
        ({"distribution": "lognormal", "delay": "2s"}, "'delay' means nothing for distribution: lognormal"),
        ({"distribution": "normal"}, "unknown distribution 'normal'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Latency.read(params)


def test_without_parameters_it_is_two_seconds() -> None:
    assert of().delay_s(hit()) == 2.0


# -- plain TCP ---------------------------------------------------------------------------------------------------------


async def three_bursts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in range(3):
        writer.write(b"%d %f\n" % (number, time.monotonic()))
        await writer.drain()
        await asyncio.sleep(0.1)
    await reader.read()


def test_each_burst_of_a_connection_arrives_later_and_a_server_may_speak_first(net: World) -> None:
    wire = link(net, [rule("latency", delay="500ms")], three_bursts)
    with connect(wire.port) as sock, sock.makefile("rb") as lines:
        for number in range(3):
            sent = lines.readline().split()
            assert int(sent[0]) == number
            assert time.monotonic() - float(sent[1]) >= 0.5
    (exchange,) = wire.server.wait_for(1)
    assert (exchange.kind, exchange.faults, exchange.error) == ("tcp", ("latency",), None)
    assert exchange.first_byte_s is not None
    assert exchange.first_byte_s - exchange.started_s >= 0.45
    assert exchange.response_body is not None
    assert wire.report("latency").fired == 1


def test_what_is_on_its_way_arrives_also_when_the_server_has_closed(net: World) -> None:
    payload = bytes(range(256)) * 4096

    async def sends_and_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(payload)
        await writer.drain()

    wire = link(net, [rule("latency", delay="500ms")], sends_and_closes)
    with connect(wire.port) as sock:
        began = time.monotonic()
        sock.sendall(b"send")
        found = pieces(sock)
    assert b"".join(data for _, data in found) == payload
    assert found[0][0] - began >= 0.45
    assert wire.server.wait_for(1)[0].error is None


class _Taken:
    """A client that takes everything at once."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def read(self, max_bytes: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.taken.append(data)

    async def write_eof(self) -> None:
        self.taken.append(b"")

    async def close(self) -> None:
        self.taken.append(b"closed")

    async def abort(self) -> None:
        self.taken.append(b"reset")


def test_a_delay_does_not_lower_the_rate() -> None:
    """Writing waits for nothing that is on its way."""

    async def run() -> None:
        client = _Taken()
        line = DelayLine(client, 0.3)
        for number in range(100):
            await line.write(b"%d" % number)
        assert client.taken == []
        await line.write_eof()
        assert client.taken == [*(b"%d" % number for number in range(100)), b""]

    asyncio.run(run())


def test_what_is_on_its_way_is_bounded() -> None:
    async def run() -> None:
        client = _Taken()
        line = DelayLine(client, 0.2, max_bytes=10)
        await line.write(b"x" * 10)
        assert client.taken == []
        await line.write(b"y")
        assert client.taken == [b"x" * 10]
        await line.abort()
        await asyncio.sleep(0.3)
        assert client.taken == [b"x" * 10, b"reset"]

    asyncio.run(run())


def test_a_client_that_has_gone_ends_the_delay_line() -> None:
    class Gone(_Taken):
        async def write(self, data: bytes) -> None:
            raise ConnectionResetError("gone")

    async def run() -> None:
        line = DelayLine(Gone(), 0.05, max_bytes=1)
        await line.write(b"x")
        with pytest.raises(ConnectionResetError):
            await line.write(b"y")

    asyncio.run(run())
