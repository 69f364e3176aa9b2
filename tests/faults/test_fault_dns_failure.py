from __future__ import annotations

import pytest

from aegis.faults.plan.weather import Weather
from support.gateway_server import World
from support.raw_client import ask, port_of
from support.storm import HOST, KEY, Storm, rule, storm


def lookup(weather: Storm, name: str = HOST) -> str:
    """As a machine's name server asks."""

    async def asked() -> str:
        return weather.server.session.lookup(name)

    return weather.server.loop.run(asked())


@pytest.mark.parametrize("answer", ["nxdomain", "servfail", "timeout"])
def test_the_lookup_fails_as_asked_for_and_is_recorded(net: World, answer: str) -> None:
    weather = storm(net, [rule("dns-failure", on=(2,), answer=answer)])
    assert [lookup(weather) for _ in range(3)] == ["", answer, ""]
    [exchange] = weather.exchanges(1)
    assert (exchange.kind, exchange.scheme, exchange.host, exchange.port) == ("tcp", "dns", HOST, 0)
    assert exchange.error == f"injected: the name does not resolve: {answer}"
    assert exchange.faults == ("dns-failure",)
    report = weather.report("dns-failure")
    assert (report.matched, report.fired) == (3, 1)


def test_a_lookup_has_no_port_and_its_connection_is_not_asked_again(net: World) -> None:
    weather = storm(net, [rule("dns-failure", match={"host": (HOST,), "port": 443})])
    assert lookup(weather) == "nxdomain"

    async def opening() -> bool:
        return weather.server.session.opening(HOST, "198.18.1.0", 443)

    assert weather.server.loop.run(opening())
    assert weather.report("dns-failure").matched == 1


@pytest.mark.parametrize("name", ["elsewhere.example", "10.0.0.5", "not a name", "", "x" * 300])
def test_names_that_lead_nowhere_are_policys_business(net: World, name: str) -> None:
    weather = storm(net, [rule("dns-failure")])
    assert lookup(weather, name) == ""
    assert weather.report("dns-failure").matched == 0


def test_a_proxys_client_is_told_by_502(net: World) -> None:
    weather = storm(net, [rule("dns-failure", on=(1,))])
    request = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode()
    assert ask(port_of(weather.proxy), request).startswith(b"HTTP/1.1 502 ")
    [exchange] = weather.exchanges(1)
    assert exchange.error == "injected: the name does not resolve: nxdomain"
    assert exchange.faults == ("dns-failure",)
    absolute = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    assert ask(port_of(weather.proxy), absolute).startswith(b"HTTP/1.1 200 ")


def test_an_address_needs_no_lookup() -> None:
    weather = Weather([rule("dns-failure")], KEY)
    weather.start()
    assert weather.connecting("10.0.0.5", 443, proxied=True) is None
    assert weather.connecting("2001:db8::1", 443, proxied=True) is None
    assert weather.connecting("db.example", 443, proxied=True) is not None


def test_what_the_machine_is_to_ask_about_is_what_may_fail() -> None:
    assert Weather([rule("overloaded"), rule("tls-failure")], KEY).shuts == ()
    assert Weather([rule("refuse")], KEY).shuts == ("opening",)
    assert Weather([rule("dns-failure")], KEY).shuts == ("lookup",)
    assert Weather([rule("refuse"), rule("dns-failure")], KEY).shuts == ("lookup", "opening")
