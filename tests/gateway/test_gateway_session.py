"""What belongs to one trial: routes of its own, and refusals that its sandbox reports."""

from __future__ import annotations

import re

import pytest

from aegis.errors import UsageError
from aegis.gateway import Gateway, GatewayConfig, Origin
from aegis.gateway.names import parse_host
from aegis.gateway.placeholders import check_value, made_up
from aegis.gateway.secrets import Vault
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.raw_client import ask

GET = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"


def upstream(net: World, text: bytes) -> str:
    return f"http://127.0.0.1:{net.upstream(HttpUpstream(says(response(text))))}"


def test_a_trials_own_routes_are_added_to_the_runs_and_win_over_them(net: World) -> None:
    of_run, of_trial = upstream(net, b"of the run"), upstream(net, b"of the trial")
    config = GatewayConfig(routes={"crm.example": of_run, "mail.example": of_run, "*.example": of_run})
    server = net.gateway(
        config,
        session={"routes": {"crm.example": of_trial, "new.other": of_trial, "*.mail.example": of_trial}},
    )

    def answer(host: bytes) -> bytes:
        direct = server.listen(Origin.direct(host.decode(), None, 80))
        return ask(direct, GET % host).rpartition(b"\r\n\r\n")[2]

    assert answer(b"crm.example") == b"of the trial"
    assert answer(b"new.other") == b"of the trial"
    assert answer(b"eu.mail.example") == b"of the trial"
    assert answer(b"mail.example") == b"of the run"
    assert answer(b"x.example") == b"of the run"
    assert all(item.routed for item in server.wait_for(5))

    other = net.gateway(config)
    direct = other.listen(Origin.direct("crm.example", None, 80))
    assert ask(direct, GET % b"crm.example").endswith(b"of the run")


def test_a_trials_routes_open_nothing_for_its_neighbours(net: World) -> None:
    target = upstream(net, b"mine")
    gateway = Gateway(GatewayConfig())
    mine = gateway.session(
        "a/baseline/1", lambda item: None, lambda data: "", routes={"new.other:81": target}
    )
    yours = gateway.session("a/baseline/2", lambda item: None, lambda data: "", routes={})
    found = mine.policy.admit(parse_host("new.other"), 81)
    assert found is not None
    assert found.by_port
    assert yours.policy.admit(parse_host("new.other"), 81) is None
    gateway.close()


def test_a_wrong_route_of_a_trial_is_a_usage_error() -> None:
    gateway = Gateway(GatewayConfig())
    with pytest.raises(UsageError, match="not a place to route"):
        gateway.session("a/baseline/1", lambda item: None, lambda data: "", routes={"crm.example": "nowhere"})
    gateway.close()


@pytest.mark.parametrize(
    ("address", "port", "protocol", "name", "said"),
    [
        ("198.18.0.9", 5432, "tcp", "db.example", "add db.example:5432 to network.allow"),
        ("10.0.0.5", 5432, "tcp", None, "add 10.0.0.5:5432 to network.allow"),
        ("fd00::1", 22, "tcp", None, "add [fd00::1]:22 to network.allow"),
        ("198.18.0.9", 443, "udp", "api.example", "only TCP is carried; clients of HTTP/3 fall back to TCP"),
        ("8.8.8.8", 0, "icmp", None, "ICMP to 8.8.8.8: only TCP is carried"),
    ],
)
def test_what_the_sandboxs_kernel_refused_is_recorded_with_the_missing_entry(
    net: World, address: str, port: int, protocol: str, name: str | None, said: str
) -> None:
    server = net.gateway()
    net.loop.loop.call_soon_threadsafe(server.session.refused, address, port, protocol, name)
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.scheme) == ("denied", protocol)
    assert (exchange.host, exchange.port) == (name or address, port)
    assert (exchange.error or "").startswith("denied: ")
    assert said in (exchange.error or "")
    (denied,) = server.session.denied
    assert (denied.host, denied.port, denied.count) == (name or address, port, 1)
    assert denied.reason == exchange.error


def test_a_guest_that_is_refused_for_ever_fills_no_trace() -> None:
    exchanges: list[object] = []
    gateway = Gateway(GatewayConfig())
    session = gateway.session("a/baseline/1", exchanges.append, lambda data: "")
    for port in range(5000):
        session.refused("198.18.0.9", port + 1, "tcp", "db.example")
    gateway.close()
    assert len(exchanges) == 1000
    assert sum(item.count for item in session.denied) == 5000


def test_a_placeholder_in_a_name_that_was_refused_is_told_and_not_stored() -> None:
    exchanges: list[object] = []
    gateway = Gateway(
        GatewayConfig(secrets={"TOKEN": ("api.example",)}), secret_values={"TOKEN": made_up("TOKEN").lower()}
    )
    session = gateway.session("a/baseline/1", exchanges.append, lambda data: "")
    placeholder = session.environment()["TOKEN"]
    session.refused("198.18.0.9", 53, "udp", f"{placeholder}.evil.example")
    gateway.close()
    assert session.denied[0].reason.startswith("secret-refused: ")
    assert placeholder not in repr(exchanges) + repr(session.denied)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("OPENAI_API_KEY", r"sk-proj-[A-Za-z0-9]{156}"),
        ("ANTHROPIC_API_KEY", r"sk-ant-api03-[A-Za-z0-9]{95}"),
        ("GITHUB_TOKEN", r"ghp_[A-Za-z0-9]{36}"),
        ("AWS_ACCESS_KEY_ID", r"AKIA[A-Z2-7]{16}"),
        ("AWS_SECRET_ACCESS_KEY", r"[A-Za-z0-9]{40}"),
        ("GEMINI_API_KEY", r"AIza[A-Za-z0-9]{35}"),
        ("google_api_key", r"AIza[A-Za-z0-9]{35}"),
        ("CRM_PASSWORD", r"[A-Za-z0-9]{40}"),
    ],
)
def test_a_made_up_value_has_its_providers_shape_and_so_has_its_placeholder(name: str, shape: str) -> None:
    value = made_up(name)
    check_value(name, value)
    assert re.fullmatch(shape, value)
    assert made_up(name) != value
    placeholder = Vault({name: ("api.example",)}, {name: value}).environment()[name]
    assert placeholder != value
    assert re.fullmatch(shape, placeholder) or re.fullmatch(r"AKIA[A-Z0-9]{16}", placeholder)
