from __future__ import annotations

import asyncio

import pytest

from aegis.faults import registry
from aegis.faults.providers import balancers
from support.faults import hit, seen
from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client

NGINX_502 = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def test_the_page_of_nginx_to_the_byte(net: World) -> None:
    weather = storm(net, [rule("gateway-html", on=(1,))])
    answer = Client(weather).get()
    assert (answer.status_code, answer.reason) == (502, "Bad Gateway")
    assert answer.headers["Server"] == "nginx"
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.content == NGINX_502
    assert weather.upstream.received == []


@pytest.mark.parametrize(
    ("status", "phrase"), [(503, "Service Temporarily Unavailable"), (504, "Gateway Time-out")]
)
def test_the_words_are_those_of_load_balancers(net: World, status: int, phrase: str) -> None:
    weather = storm(net, [rule("gateway-html", server="alb", status=status)])
    answer = Client(weather).get()
    assert (answer.status_code, answer.reason, answer.headers["Server"]) == (status, phrase, "awselb/2.0")
    assert f"<center><h1>{status} {phrase}</h1></center>" in answer.text
    assert "<hr>" not in answer.text


def test_browsers_get_the_padding_of_nginx(net: World) -> None:
    weather = storm(net, [rule("gateway-html")])
    answer = Client(weather).get(headers={"User-Agent": "Mozilla/5.0 Chrome/141.0"})
    assert answer.content.startswith(NGINX_502)
    assert answer.text.count("<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n") == 6


def test_cloudflare_signs_with_its_name(net: World) -> None:
    weather = storm(net, [rule("gateway-html", server="cloudflare")])
    answer = Client(weather).get()
    assert answer.headers["Server"] == "cloudflare"
    assert len(answer.headers["CF-RAY"]) == 20
    assert "<hr><center>cloudflare</center>" in answer.text


@pytest.mark.parametrize(
    ("host", "server"),
    [("api.openai.com", "cloudflare"), ("api.anthropic.com", "cloudflare"), ("a.b", "nginx")],
)
def test_whose_page_it_is_is_told_by_the_host(host: str, server: str) -> None:
    kind = registry.get("gateway-html")
    asked = seen(url=f"https://{host}/v1/models")

    async def never(request: object) -> object:
        raise AssertionError("nothing is forwarded")

    plan = asyncio.run(kind(kind.read({})).apply(hit(), asked, never))  # type: ignore[arg-type]
    assert (b"Server", server.encode()) in plan.headers


def test_after_a_timeout_the_write_may_have_been_done(net: World) -> None:
    weather = storm(net, [rule("gateway-html", status=504, carried_out=True)])
    assert Client(weather).post("/orders", json={"number": 1}).status_code == 504
    assert [received.body for received in weather.upstream.received] == [b'{"number": 1}']


def test_the_page_of_alb_had_138_bytes_with_a_colour() -> None:
    coloured = balancers.page("alb", 502).replace(b"<body>", b'<body bgcolor="white">')
    assert len(coloured) == 138
