from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import httpx
import openai
import pytest
import requests

from aegis.gateway import Authority
from aegis.gateway.names import parse_host
from support.gateway_server import World
from support.http_upstream import HttpUpstream, echo
from support.raw_client import connect, read_all
from support.storm import HOST, Storm, rule, storm

ASK = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


def trusting(net: World, weather: Storm) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=net.ca_file(weather.server))


def ask_tls(port: int, context: ssl.SSLContext) -> bytes:
    with connect(port) as raw, context.wrap_socket(raw, server_hostname=HOST) as sock:
        sock.sendall(ASK)
        return read_all(sock)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("expired", 10, "certificate has expired"),
        ("wrong-host", 62, "Hostname mismatch"),
        ("untrusted", 20, "unable to get local issuer certificate"),
    ],
)
def test_a_client_that_checks_refuses_the_certificate(net: World, how: str, code: int, said: str) -> None:
    weather = storm(net, [rule("tls-failure", on=(2,), how=how)])
    context, port = trusting(net, weather), weather.tls_port
    assert ask_tls(port, context).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ssl.SSLCertVerificationError, match=said) as caught:
        ask_tls(port, context)
    assert caught.value.verify_code == code
    assert ask_tls(port, context).startswith(b"HTTP/1.1 200 ")
    _, failed, _ = weather.exchanges(3)
    assert (failed.kind, failed.host, failed.faults) == ("http", HOST, ("tls-failure",))
    assert failed.error == f"injected: the TLS handshake fails: {how}"
    report = weather.report("tls-failure")
    assert (report.matched, report.fired) == (3, 1)
    assert len(weather.upstream.received) == 2


@pytest.mark.parametrize("how", ["expired", "wrong-host", "untrusted"])
def test_that_a_client_does_not_check_is_recorded(net: World, how: str) -> None:
    weather = storm(net, [rule("tls-failure", how=how)])
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    assert ask_tls(weather.tls_port, careless).startswith(b"HTTP/1.1 200 ")
    handshake, request = weather.exchanges(2)
    assert handshake.error == f"injected: the client accepts a certificate that it should not: {how}"
    assert (handshake.faults, request.faults) == (("tls-failure",), ())
    assert (request.status, request.error) == (200, None)


def test_the_server_breaks_the_handshake_off_by_an_alert(net: World) -> None:
    weather = storm(net, [rule("tls-failure", how="alert", on=(1,))])
    context, port = trusting(net, weather), weather.tls_port
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        ask_tls(port, context)
    assert ask_tls(port, context).startswith(b"HTTP/1.1 200 ")
    failed, _ = weather.exchanges(2)
    assert (failed.error, failed.faults) == ("injected: the TLS handshake fails: alert", ("tls-failure",))


def test_or_by_a_reset(net: World) -> None:
    weather = storm(net, [rule("tls-failure", how="reset", on=(1,))])
    context, port = trusting(net, weather), weather.tls_port
    with pytest.raises(ConnectionResetError):
        ask_tls(port, context)
    assert ask_tls(port, context).startswith(b"HTTP/1.1 200 ")
    failed, _ = weather.exchanges(2)
    assert (failed.error, failed.faults) == ("injected: the TLS handshake fails: reset", ("tls-failure",))


def test_connections_without_tls_are_no_matches(net: World) -> None:
    weather = storm(net, [rule("tls-failure")])
    answer = requests.get(f"http://127.0.0.1:{weather.port}/", headers={"Host": HOST}, timeout=60)
    assert answer.status_code == 200
    report = weather.report("tls-failure")
    assert (report.matched, report.fired) == (0, 0)


def test_inside_a_proxys_tunnel_the_client_is_the_one_to_refuse(net: World) -> None:
    weather = storm(net, [rule("tls-failure", on=(1,))])
    context = trusting(net, weather)
    client = httpx.Client(proxy=weather.proxy, verify=context, timeout=60)
    with pytest.raises(httpx.ConnectError, match="certificate has expired"):
        client.get(f"https://{HOST}/")
    assert client.get(f"https://{HOST}/").status_code == 200


def test_an_official_client_tries_again(net: World) -> None:
    weather = storm(net, [rule("tls-failure", on=(1, 2))])
    http = httpx.Client(proxy=weather.proxy, verify=trusting(net, weather), timeout=60)
    client = openai.OpenAI(base_url=f"https://{HOST}/v1", api_key="sk-0123456789", http_client=http)
    assert client.get("/models", cast_to=httpx.Response).status_code == 200
    report = weather.report("tls-failure")
    assert (report.matched, report.fired) == (3, 2)


class SpeaksNoTls(HttpUpstream):
    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)


@pytest.mark.parametrize(("how", "fired"), [("alert", 1), ("reset", 1), ("expired", 0)])
def test_tls_that_is_passed_through_can_only_be_broken_off(net: World, how: str, fired: int) -> None:
    weather = storm(net, [rule("tls-failure", how=how)], SpeaksNoTls(echo), tls_passthrough=(HOST,))
    context = trusting(net, weather)
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        ask_tls(weather.tls_port, context)
    assert isinstance(caught.value, ConnectionResetError) or how != "reset"
    [exchange] = weather.exchanges(1)
    assert exchange.kind == "tls-passthrough"
    assert (exchange.error or "").startswith("injected: ") is bool(fired)
    report = weather.report("tls-failure")
    assert (report.matched, report.fired) == (1, fired)


def test_the_contexts_of_wrong_certificates_are_kept_apart(net: World) -> None:
    """A certificate that was wrong once is not shown to the next client."""
    rules = [
        rule("tls-failure", id="old", on=(1,)),
        rule("tls-failure", id="other", on=(2,), how="wrong-host"),
    ]
    weather = storm(net, rules)
    context, port = trusting(net, weather), weather.tls_port
    seen = []
    for _ in range(4):
        try:
            seen.append(ask_tls(port, context)[:12].decode())
        except ssl.SSLCertVerificationError as error:
            seen.append(str(error.verify_code))
    assert seen == ["10", "62", "HTTP/1.1 200", "HTTP/1.1 200"]


def test_addresses_have_certificates_of_all_kinds_too() -> None:
    authority = Authority()
    context = ssl.create_default_context(cadata=authority.pem)
    for bend, code in (("", 0), ("expired", 10), ("wrong-host", 64), ("untrusted", 20)):
        ours, theirs = socket.socketpair()
        server = authority.context(parse_host("10.0.0.5"), bend)  # type: ignore[arg-type]
        assert _verify_code(server, context, ours, theirs) == code


def _verify_code(
    server: ssl.SSLContext, client: ssl.SSLContext, ours: socket.socket, theirs: socket.socket
) -> int:
    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname="10.0.0.5"):
            return 0
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    finally:
        ours.close()
        thread.join(60)
