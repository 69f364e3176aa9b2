from __future__ import annotations

import asyncio
import shutil
import subprocess

import httpx
import openai
import pytest
import requests

from aegis.faults.streams import Ended
from aegis.gateway.failures import Failure
from support.gateway_server import World
from support.http_upstream import HttpUpstream, event_stream
from support.storm import HOST, Storm, rule, storm
from support.wild_tcp import ask_and_end, ask_inside_tls, link

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n"
HEADERS = {"Host": "api.example"}


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/x"


@pytest.mark.parametrize(("upstream", "heard"), [("called", 1), ("not-called", 0)])
@pytest.mark.parametrize("body", [b"", b"x" * 3_000_000])
def test_the_connection_is_closed_properly_without_a_byte(
    net: World, upstream: str, heard: int, body: bytes
) -> None:
    weather = storm(net, [rule("empty-reply", upstream=upstream)])
    request = b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    assert ask_and_end(weather.port, request) == (b"", "end")
    (exchange,) = weather.exchanges(1)
    assert exchange.error == "injected: closed without an answer"
    assert (exchange.status, exchange.faults) == (None, ("empty-reply",))
    assert len(weather.upstream.received) == heard


def test_inside_tls_the_end_is_announced(net: World) -> None:
    weather = storm(net, [rule("empty-reply")])
    assert ask_inside_tls(weather.tls_port, GET, net.ca_file(weather.server), HOST) == (b"", "end")


def test_what_clients_raise(net: World) -> None:
    where = url(storm(net, [rule("empty-reply")]))
    with pytest.raises(requests.exceptions.ConnectionError, match="RemoteDisconnected"):
        requests.get(where, headers=HEADERS, timeout=60)
    with pytest.raises(httpx.RemoteProtocolError, match="Server disconnected"):
        httpx.get(where, headers=HEADERS, timeout=60)
    if curl := shutil.which("curl"):
        assert subprocess.run([curl, "-s", "-H", "Host: api.example", where], check=False).returncode == 52


@pytest.mark.parametrize("fault", ["empty-reply", "reset"])
def test_the_official_client_tries_three_times(net: World, fault: str) -> None:
    weather = storm(net, [rule(fault)])
    client = openai.OpenAI(
        api_key="k", base_url=f"http://127.0.0.1:{weather.port}/v1", default_headers=HEADERS
    )
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    exchanges = weather.exchanges(3)
    assert [exchange.faults for exchange in exchanges] == [(fault,)] * 3
    assert len(weather.upstream.received) == 3, "upstream has done the work each time"


def test_the_official_client_does_not_try_again_inside_a_stream(net: World) -> None:
    event = b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'
    upstream = HttpUpstream(event_stream([event] * 3))
    weather = storm(net, [rule("reset", at_byte=len(event) + 20)], upstream)
    client = openai.OpenAI(
        api_key="k", base_url=f"http://127.0.0.1:{weather.port}/v1", default_headers=HEADERS
    )
    stream = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    got = []
    with pytest.raises(openai.APIConnectionError):
        got.extend(stream)
    assert len(got) == 1
    assert len(weather.exchanges(1)) == 1
    assert len(upstream.received) == 1


def test_a_carried_connection_is_closed_without_a_byte(net: World) -> None:
    heard: list[bytes] = []

    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4))
        writer.write(b"answer")

    called = link(net, [rule("empty-reply")], answerer)
    assert ask_and_end(called.port, b"data") == (b"", "end")
    assert heard == [b"data"]
    lost = link(net, [rule("empty-reply", upstream="not-called")], answerer)
    assert ask_and_end(lost.port, b"data") == (b"", "end")
    (exchange,) = lost.server.wait_for(1)
    assert (exchange.error, exchange.faults) == ("injected: closed without a byte", ("empty-reply",))
    assert b"data" not in heard[1:]


def test_what_ends_the_rest_does_not_turn_a_proper_end_into_a_reset() -> None:
    done: list[str] = []

    class Client:
        async def read(self, max_bytes: int) -> bytes:
            return b""

        async def write(self, data: bytes) -> None:
            done.append("write")

        async def write_eof(self) -> None:
            done.append("eof")

        async def close(self) -> None:
            done.append("close")

        async def abort(self) -> None:
            done.append("abort")

    async def run(reset: bool) -> None:
        stream = Ended(Client(), "closed", "called", reset=reset)
        with pytest.raises(Failure, match="injected: closed"):
            await stream.write(b"answer")
        await stream.abort()

    asyncio.run(run(reset=False))
    assert done == ["close"]
    asyncio.run(run(reset=True))
    assert done[1:] == ["abort", "abort"]
