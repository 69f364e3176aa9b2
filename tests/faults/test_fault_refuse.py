from __future__ import annotations

import pytest
import requests

from aegis.gateway import Origin
from support.gateway_server import World
from support.raw_client import ask, port_of
from support.storm import HOST, Storm, rule, storm


def opening(weather: Storm, name: str | None = HOST, port: int = 443) -> bool:
    """As a machine asks before its client's first packet is answered."""

    async def asked() -> bool:
        return weather.server.session.opening(name, "198.18.1.0", port)

    return weather.server.loop.run(asked())


def test_only_the_second_connection_does_not_come_about(net: World) -> None:
    weather = storm(net, [rule("refuse", on=(2,))])
    assert [opening(weather) for _ in range(4)] == [True, False, True, True]
    [exchange] = weather.exchanges(1)
    assert (exchange.kind, exchange.scheme, exchange.host, exchange.port) == ("tcp", "tcp", HOST, 443)
    assert (exchange.error, exchange.faults) == ("injected: the connection is refused", ("refuse",))
    report = weather.report("refuse")
    assert (report.matched, report.fired) == (4, 1)


def test_a_connection_that_was_let_in_is_not_asked_about_again(net: World) -> None:
    weather = storm(net, [rule("refuse", on=(2,))])
    port = weather.server.listen(Origin.direct(HOST, "198.18.1.0", 80, let_in=True))
    assert opening(weather, port=80)
    answer = requests.get(f"http://127.0.0.1:{port}/", headers={"Host": HOST}, timeout=60)
    assert answer.status_code == 200
    assert weather.report("refuse").matched == 1
    assert not opening(weather, port=80)


def test_one_that_nobody_was_asked_about_is_reset(net: World) -> None:
    weather = storm(net, [rule("refuse", on=(1,))])
    url, headers = f"http://127.0.0.1:{weather.port}/", {"Host": HOST}
    with pytest.raises(requests.ConnectionError, match=r"[Rr]eset"):
        requests.get(url, headers=headers, timeout=60)
    assert requests.get(url, headers=headers, timeout=60).status_code == 200
    assert [exchange.faults for exchange in weather.exchanges(2)] == [("refuse",), ()]
    assert len(weather.upstream.received) == 1


@pytest.mark.parametrize(
    "request_",
    [f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443", f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}"],
)
def test_a_proxys_client_is_told_by_502(net: World, request_: str) -> None:
    weather = storm(net, [rule("refuse")])
    answer = ask(port_of(weather.proxy), f"{request_}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 ")
    [exchange] = weather.exchanges(1)
    assert (exchange.status, exchange.faults) == (502, ("refuse",))
    assert exchange.error == "injected: the connection is refused"
    assert weather.upstream.received == []


def test_what_policy_refuses_is_policys_business(net: World) -> None:
    weather = storm(net, [rule("refuse")])
    assert opening(weather, "elsewhere.example")
    assert opening(weather, port=5432)
    assert opening(weather, "not a name")
    assert weather.report("refuse").matched == 0


def test_the_port_of_a_match_is_looked_at(net: World) -> None:
    weather = storm(net, [rule("refuse", match={"host": (HOST,), "port": 443})])
    assert opening(weather, port=80)
    assert not opening(weather, port=443)


def test_it_ends_when_another_request_succeeds(net: World) -> None:
    until = {"path": ("/health",)}
    weather = storm(net, [rule("refuse", match={"port": 443}, until_match=until)])
    assert not opening(weather)
    url, headers = f"http://127.0.0.1:{weather.port}", {"Host": HOST}
    assert requests.get(f"{url}/other", headers=headers, timeout=60).status_code == 200
    assert not opening(weather)
    assert requests.get(f"{url}/health", headers=headers, timeout=60).status_code == 200
    assert opening(weather)


def test_a_session_that_has_ended_lets_everything_be(net: World) -> None:
    weather = storm(net, [rule("refuse")])
    net.loop.run(weather.server.session.close())
    assert opening(weather)
