"""TLS opened, passed through, refused; plain TCP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.gateway import Authority, GatewayConfig, Origin
from aegis.gateway.clienthello import ACCESS_DENIED, parse_hello, sniff
from aegis.gateway.gateway import Gateway
from aegis.gateway.names import parse_host
from support.certificates import UpstreamAuthority
from support.gateway_server import GatewayServer, World, quick
from support.http_upstream import HttpUpstream, echo
from support.raw_client import ask, connect, port_of, read_all, read_until

ASK = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


def trusting(net: World, server: GatewayServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=net.ca_file(server))


def ask_tls(port: int, context: ssl.SSLContext, data: bytes, name: str | None = "api.example") -> bytes:
    with connect(port) as raw, context.wrap_socket(raw, server_hostname=name) as sock:
        sock.sendall(data)
        return read_all(sock)


def hello_for(name: str | None, alpn: list[str]) -> bytes:
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def test_a_client_hello_tells_its_name_and_protocols() -> None:
    data = hello_for("api.example", ["h2", "http/1.1"])
    found = parse_hello(data)
    assert found is not None
    assert (found.server_name, found.alpn) == ("api.example", ("h2", "http/1.1"))
    nameless = parse_hello(hello_for(None, []))
    assert nameless is not None
    assert nameless.server_name is None


def test_a_client_hello_in_several_records_is_put_together() -> None:
    data = hello_for("api.example", [])
    message = data[5:]
    records = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (message[:50], message[50:60], message[60:])
    )
    found = parse_hello(records)
    assert found is not None
    assert found.server_name == "api.example"
    assert all(parse_hello(records[:end]) is None for end in range(0, len(records), 7))


@given(st.binary(max_size=60), st.integers(0, 400))
def test_no_bytes_break_the_client_hello_parser(noise: bytes, at: int) -> None:
    data = hello_for("api.example", ["http/1.1"])
    for candidate in (noise, data[:at] + noise + data[at + len(noise) :]):
        assert sniff(candidate) in ("tls", "http", "other", "more")
        try:
            parse_hello(candidate)
        except ValueError:
            pass


def test_certificates_look_like_a_companys_and_name_the_host_only(net: World) -> None:
    server = net.gateway(allow=("api.example",))
    ca = x509.load_pem_x509_certificate(server.gateway.ca_pem.encode())
    context = trusting(net, server)
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = connect(server.listen(Origin.direct("api.example", None, 443)))
    with context.wrap_socket(raw, server_hostname="api.example") as sock:
        der = sock.getpeercert(binary_form=True)
        assert sock.selected_alpn_protocol() == "http/1.1"
    assert der is not None
    leaf = x509.load_der_x509_certificate(der)
    assert leaf.issuer == ca.subject
    text = f"{ca.subject.rfc4514_string()} {leaf.subject.rfc4514_string()}".lower()
    assert not [
        word for word in ("aegis", "eval", "test", "mitm", "proxy", "sandbox", "gateway") if word in text
    ]
    assert 10 < (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days < 398
    assert ca.not_valid_before_utc < leaf.not_valid_before_utc
    assert ca.not_valid_after_utc > leaf.not_valid_after_utc


def test_leaves_verify_strictly_for_names_and_addresses() -> None:
    authority = Authority()
    client = ssl.create_default_context(cadata=authority.pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("api.example", "127.0.0.1", "::1", "a" * 60 + "." + "b" * 60 + ".example"):
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        server_side = authority.context(parse_host(name)).wrap_bio(to_server, to_client, server_side=True)
        client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
        for _ in range(4):
            for side in (client_side, server_side):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        assert client_side.version() == "TLSv1.3"


def test_the_key_is_never_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    Authority().context(parse_host("api.example"))
    assert list(tmp_path.rglob("*")) == []


def test_direct_tls_is_opened_and_goes_to_the_route_in_the_clear(net: World) -> None:
    upstream = HttpUpstream(echo)
    port = net.upstream(upstream)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", "198.18.0.4", 443))
    assert b'"target": "/x"' in ask_tls(direct, trusting(net, server), ASK)
    (exchange,) = server.wait_for(1)
    assert (exchange.scheme, exchange.port, exchange.host) == ("https", 443, "api.example")


@pytest.mark.parametrize("scheme", ["https://", ""])
def test_an_upstream_with_tls_is_verified(net: World, scheme: str) -> None:
    authority = UpstreamAuthority()
    name = "api.example" if scheme == "" else "127.0.0.1"
    port = net.upstream(HttpUpstream(echo), ssl=authority.server_context(name))
    routes = {"api.example": f"{scheme}127.0.0.1:{port}"}
    good = net.gateway(routes=routes, ca_bundle=authority.pem)
    assert b'"target": "/x"' in ask_tls(
        good.listen(Origin.direct("api.example", None, 443)), trusting(net, good), ASK
    )
    bad = net.gateway(routes=routes)
    answer = ask_tls(bad.listen(Origin.direct("api.example", None, 443)), trusting(net, bad), ASK)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert (bad.wait_for(1)[0].error or "").startswith("upstream-tls: ")


def test_a_certificate_for_another_name_is_refused(net: World) -> None:
    authority = UpstreamAuthority()
    port = net.upstream(HttpUpstream(echo), ssl=authority.server_context("other.example"))
    server = net.gateway(routes={"api.example": f"127.0.0.1:{port}"}, ca_bundle=authority.pem)
    direct = server.listen(Origin.direct("api.example", None, 443))
    assert ask_tls(direct, trusting(net, server), ASK).startswith(b"HTTP/1.1 502 ")


def test_passthrough_is_not_opened(net: World, tmp_path: Path) -> None:
    authority = UpstreamAuthority()
    port = net.upstream(HttpUpstream(echo), ssl=authority.server_context("api.example"))
    server = net.gateway(routes={"api.example": f"127.0.0.1:{port}"}, tls_passthrough=("api.example",))
    direct = server.listen(Origin.direct("api.example", None, 443))
    context = ssl.create_default_context(cafile=authority.write(tmp_path))
    assert b'"target": "/x"' in ask_tls(direct, context, ASK)
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.host, exchange.error) == ("tls-passthrough", "api.example", None)
    assert exchange.response_body is not None
    assert exchange.response_body.size_bytes > 500
    assert exchange.path == ""


def test_a_client_that_pins_is_told_apart(net: World) -> None:
    server = net.gateway(allow=("api.example",))
    direct = server.listen(Origin.direct("api.example", None, 443))
    with pytest.raises(ssl.SSLError):
        ask_tls(direct, ssl.create_default_context(), ASK)
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("tls-handshake: ")
    assert "passthrough" in (exchange.error or "")


@pytest.mark.parametrize("passthrough", [(), ("api.example",)])
@pytest.mark.parametrize("way", ["connect", "direct"])
def test_a_name_in_tls_that_is_not_the_one_dialled_is_denied(
    net: World, way: str, passthrough: tuple[str, ...]
) -> None:
    server = net.gateway(allow=("api.example", "other.example"), tls_passthrough=passthrough)
    with connect(
        server.listen(Origin.proxy() if way == "connect" else Origin.direct("api.example", None, 443))
    ) as sock:
        if way == "connect":
            sock.sendall(b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n")
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        sock.sendall(hello_for("other.example", []))
        assert read_all(sock) == ACCESS_DENIED
    (exchange,) = server.wait_for(1)
    assert exchange.kind == "denied"
    assert "other.example" in (exchange.error or "")


def test_a_host_header_that_is_not_the_one_in_tls_is_denied(net: World) -> None:
    upstream = HttpUpstream(echo)
    port = net.upstream(upstream)
    server = net.gateway(routes={"*.example": f"http://127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", None, 443))
    answer = ask_tls(direct, trusting(net, server), ASK.replace(b"api.example", b"other.example"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert upstream.received == []
    assert server.wait_for(1)[0].kind == "denied"


def test_a_host_that_is_not_allowed_is_refused_in_the_clients_language(net: World) -> None:
    server = net.gateway(allow=("api.example",))
    https = server.listen(Origin.direct("evil.example", None, 443))
    with pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
        ask_tls(https, trusting(net, server), ASK, "evil.example")
    http_port = server.listen(Origin.direct("evil.example", None, 80))
    answer = ask(
        http_port, b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 4\r\n\r\nbody", end=True
    )
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert answer.endswith(b"\r\n\r\nHost not allowed by egress policy\n")
    raw = server.listen(Origin.direct("evil.example", None, 5432))
    assert ask(raw, b"\x00\x00\x00\x08\x04\xd2\x16\x2f") == b""
    proxy = port_of(server.proxy())
    tunnel = ask(proxy, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    assert tunnel.startswith(b"HTTP/1.1 403 ")
    plain = ask(proxy, b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert plain.startswith(b"HTTP/1.1 403 ")
    exchanges = server.wait_for(5)
    assert [item.kind for item in exchanges] == ["denied"] * 5
    assert {item.host for item in exchanges} == {"evil.example"}
    assert {(item.host, item.port, item.count) for item in server.session.denied} == {
        ("evil.example", 443, 2),
        ("evil.example", 80, 2),
        ("evil.example", 5432, 1),
    }


def test_plain_http_in_a_tunnel_is_served_as_http(net: World) -> None:
    port = net.upstream(HttpUpstream(echo))
    server = net.gateway(routes={"api.example:8080": f"http://127.0.0.1:{port}"})
    with connect(port_of(server.proxy())) as sock:
        sock.sendall(b"CONNECT api.example:8080 HTTP/1.1\r\nHost: api.example:8080\r\n\r\n" + ASK)
        assert b'"target": "/x"' in read_all(sock)
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.scheme, exchange.port) == ("http", "http", 8080)


async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that speaks first, as mail servers and MySQL do."""
    writer.write(b"220 ready\r\n")
    writer.write((await reader.readline()).upper())


async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that waits for its client, as PostgreSQL does."""
    writer.write((await reader.readexactly(8))[::-1])
    writer.write(await reader.read())


def test_a_server_may_speak_first_on_a_port_that_is_allowed(net: World) -> None:
    port = net.upstream(greeter)
    server = net.gateway(routes={"mail.example:25": f"127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("mail.example", "198.18.0.9", 25))) as sock:
        assert read_until(sock, b"\n") == b"220 ready\r\n"
        sock.sendall(b"ehlo me\r\n")
        assert read_all(sock) == b"EHLO ME\r\n"
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.scheme, exchange.host, exchange.port) == (
        "tcp",
        "tcp",
        "mail.example",
        25,
    )
    assert exchange.request_body is not None
    assert exchange.response_body is not None
    assert (exchange.request_body.size_bytes, exchange.response_body.size_bytes) == (9, 20)
    assert exchange.upstream == f"127.0.0.1:{port}"


@pytest.mark.parametrize("delay_s", [0, 0.3])
def test_a_client_may_speak_first_and_close_its_side(net: World, delay_s: float) -> None:
    port = net.upstream(answerer)
    server = net.gateway(routes={"db.example:5432": f"127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("db.example", None, 5432))) as sock:
        if delay_s:
            sock.settimeout(delay_s)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(20)
        sock.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2fmore")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"\x2f\x16\xd2\x04\x08\x00\x00\x00more"
    assert server.wait_for(1)[0].error is None


def test_a_slow_client_that_speaks_http_is_still_served_as_http(net: World) -> None:
    port = net.upstream(HttpUpstream(echo))
    server = net.gateway(routes={"api.example:9000": f"http://127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("api.example", None, 9000))) as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(20)
        sock.sendall(ASK)
        assert b'"target": "/x"' in read_all(sock)
    assert server.wait_for(1)[0].kind == "http"


def test_other_protocols_need_an_entry_with_their_port(net: World) -> None:
    port = net.upstream(answerer)
    server = net.gateway(routes={"api.example": f"127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", None, 443))
    assert ask(direct, b"\x00\x00\x00\x08\x04\xd2\x16\x2f") == b""
    (exchange,) = server.wait_for(1)
    assert exchange.kind == "denied"
    assert "api.example:443" in (exchange.error or "")


def test_an_unfinished_handshake_ends(net: World) -> None:
    server = net.gateway(allow=("api.example",), bounds=quick())
    direct = server.listen(Origin.direct("api.example", None, 443))
    whole = hello_for("api.example", [])
    for data in (whole[:40], whole):
        with connect(direct) as sock:
            sock.sendall(data)
            read_all(sock)
    assert [(item.error or "").partition(":")[0] for item in server.wait_for(2)] == ["tls-handshake"] * 2


def test_a_wrong_bundle_of_authorities_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="authorities"):
        Gateway(GatewayConfig(ca_bundle="not a certificate"))
