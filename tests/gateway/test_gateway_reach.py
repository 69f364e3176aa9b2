"""What the gateway does not dial, however it is asked; each refusal with a control that could have been reached."""

from __future__ import annotations

import http.client

import pytest

from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.raw_client import ask, port_of

ASK = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
@pytest.mark.parametrize("allow", [("*", "*:{port}"), ("api.example",)])
def test_an_address_is_refused_however_it_is_spelled(net: World, host: str, allow: tuple[str, ...]) -> None:
    canary = HttpUpstream(says(response(b"canary")))
    port = net.upstream(canary)
    assert ask(port, ASK).endswith(b"canary"), "the canary must be reachable for the refusal to mean anything"
    server = net.gateway(allow=tuple(entry.format(port=port) for entry in allow))
    answer = ask(
        port_of(server.proxy()),
        f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert len(canary.received) == 1
    assert server.wait_for(1)[0].kind == "denied"


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
def test_an_address_that_is_allowed_by_itself_is_dialled(net: World, spelling: str) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))
    server = net.gateway(allow=(f"127.0.0.1:{port}",))
    url = f"http://{spelling}:{port}/"
    request = f"GET {url} HTTP/1.1\r\nHost: {spelling}:{port}\r\nConnection: close\r\n\r\n"
    assert ask(port_of(server.proxy()), request.encode()).endswith(b"served")


def test_a_name_that_resolves_to_a_private_address_is_refused_at_each_dial(net: World) -> None:
    """Rebinding: whatever the second look-up says, only an address that was checked is dialled, and one bad address
    among good ones is enough."""
    canary = HttpUpstream(says(response(b"canary")))
    port = net.upstream(canary)
    lookups: list[list[str]] = [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::1"], ["169.254.169.254"]]
    asked = []

    async def resolve(name: str, _: int) -> list[str]:
        asked.append(name)
        return lookups[len(asked) - 1]

    server = net.gateway(allow=(f"api.example:{port}",), gateway={"resolve": resolve})
    request = (
        f"GET http://api.example:{port}/ HTTP/1.1\r\nHost: api.example:{port}\r\nConnection: close\r\n\r\n"
    )
    for _ in lookups:
        assert ask(port_of(server.proxy()), request.encode()).startswith(b"HTTP/1.1 403 ")
    assert asked == ["api.example"] * len(lookups)
    assert canary.received == []
    assert ["resolves to" in (item.error or "") for item in server.wait_for(4)] == [True] * 4


def test_an_address_entry_lets_a_name_resolve_to_it(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))

    async def resolve(name: str, _: int) -> list[str]:
        return ["127.0.0.1"]

    server = net.gateway(allow=(f"api.example:{port}", f"127.0.0.1:{port}"), gateway={"resolve": resolve})
    request = (
        f"GET http://api.example:{port}/ HTTP/1.1\r\nHost: api.example:{port}\r\nConnection: close\r\n\r\n"
    )
    assert ask(port_of(server.proxy()), request.encode()).endswith(b"served")


def test_a_redirect_to_a_private_address_is_refused_when_it_is_followed(net: World) -> None:
    canary = HttpUpstream(says(response(b"canary")))
    inner = net.upstream(canary)
    outer = net.upstream(
        HttpUpstream(says(response(b"", "302 Found", Location=f"http://127.0.0.1:{inner}/")))
    )
    server = net.gateway(allow=("*",), routes={"api.example": f"http://127.0.0.1:{outer}"})
    client = http.client.HTTPConnection("127.0.0.1", port_of(server.proxy()), timeout=20)
    client.request("GET", "http://api.example/", headers={"Host": "api.example"})
    first = client.getresponse()
    assert first.status == 302
    location = first.headers["Location"]
    first.read()
    client.request("GET", location, headers={"Host": f"127.0.0.1:{inner}"})
    assert client.getresponse().status == 403
    client.close()
    assert canary.received == []
