"""The allow list and the routes."""

from __future__ import annotations

import pytest

from aegis.errors import UsageError
from aegis.gateway import GatewayConfig
from aegis.gateway.config import Bounds, ProviderLimit
from aegis.gateway.names import parse_host
from aegis.gateway.policy import Policy


def admitted(allow: str, host: str, port: int) -> bool:
    return Policy((allow,), {}).admit(parse_host(host), port) is not None


@pytest.mark.parametrize(
    ("allow", "host", "port", "expected"),
    [
        ("api.example", "api.example", 443, True),
        ("api.example", "API.example.", 80, True),
        ("api.example", "api.example", 8080, False),
        ("api.example", "www.api.example", 443, False),
        ("api.example", "notapi.example", 443, False),
        ("API.Example:8080", "api.example", 8080, True),
        ("api.example:8080", "api.example", 443, False),
        ("*.crm.example", "eu.crm.example", 443, True),
        ("*.crm.example", "a.b.crm.example", 443, True),
        ("*.crm.example", "crm.example", 443, False),
        ("*.crm.example", "evilcrm.example", 443, False),
        ("*.crm.example:443", "eu.crm.example", 80, False),
        ("*", "anything.example", 443, True),
        ("*", "anything.example", 22, False),
        ("*:22", "anything.example", 22, True),
        ("*", "127.0.0.1", 80, False),
        ("*.0.0.example", "127.0.0.1", 80, False),
        ("10.0.0.5:5432", "10.0.0.5", 5432, True),
        ("10.0.0.5:5432", "10.0.0.5", 443, False),
        ("127.0.0.1:80", "0x7f.1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
    ],
)
def test_allow_entries(allow: str, host: str, port: int, expected: bool) -> None:
    assert admitted(allow, host, port) is expected


def test_nothing_is_allowed_by_default() -> None:
    assert Policy((), {}).admit(parse_host("api.openai.com"), 443) is None


def test_a_route_allows_its_name_on_the_ports_of_the_web() -> None:
    policy = Policy((), {"crm.example": "http://127.0.0.1:9001"})
    found = policy.admit(parse_host("crm.example"), 443)
    assert found is not None
    assert found.route is not None
    assert (found.route.scheme, found.route.host.name, found.route.port) == ("http", "127.0.0.1", 9001)
    assert policy.admit(parse_host("crm.example"), 5432) is None
    assert not found.by_port


def test_an_exact_route_wins_over_a_wildcard_and_a_long_one_over_a_short_one() -> None:
    routes = {"*.example": "a:1", "*.crm.example": "b:2", "eu.crm.example": "c:3"}
    policy = Policy((), routes)

    def port(host: str) -> int | None:
        found = policy.admit(parse_host(host), 443)
        return found.route.port if found and found.route else None

    assert [port(host) for host in ("x.example", "us.crm.example", "eu.crm.example")] == [1, 2, 3]


def test_only_an_entry_with_this_port_opens_it_to_other_protocols() -> None:
    policy = Policy(("db.example:5432", "api.example"), {})
    database, web = policy.admit(parse_host("db.example"), 5432), policy.admit(parse_host("api.example"), 443)
    assert database is not None
    assert database.by_port
    assert web is not None
    assert not web.by_port


@pytest.mark.parametrize(
    "entry", ["http://a.example", "a.example/path", "", "*.127.0.0.1", "a.*.example", "a:99999"]
)
def test_a_wrong_allow_entry_is_a_usage_error_that_names_it(entry: str) -> None:
    with pytest.raises(UsageError) as caught:
        Policy((entry,), {})
    assert repr(entry) in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    "target", ["ftp://a:1", "a.example", "http://a/path", "http://", "http://user@a:1", "a:x"]
)
def test_a_wrong_route_is_a_usage_error(target: str) -> None:
    with pytest.raises(UsageError):
        Policy((), {"crm.example": target})


def test_the_configuration_survives_json() -> None:
    config = GatewayConfig(
        allow=("a.example", "*.b.example:443"),
        routes={"crm.example": "http://127.0.0.1:9001"},
        tls_passthrough=("pinned.example",),
        secrets={"KEY": ("a.example",)},
        limits={"a.example": ProviderLimit(requests_per_minute=60)},
        bounds=Bounds(max_connections=7),
    )
    assert GatewayConfig.from_json(config.to_json()) == config


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UsageError, match="alow"):
        GatewayConfig.from_json({"alow": ["a.example"]})
