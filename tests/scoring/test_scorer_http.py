"""Scorer `http`: real servers on loopback, honest and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox
from aegis.scoring import http, registry
from aegis.scoring.base import Score
from support.process_sandbox import in_sandbox
from support.scoring import context, service

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(handler: Handler | bytes, **config: Any) -> tuple[Score, bytes]:
    """The score, and the request as the server got it."""
    seen = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.extend(head)
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    seen.extend(await reader.readexactly(int(line.split(b":")[1])))
            if isinstance(handler, bytes):
                writer.write(handler)
                await writer.drain()
            else:
                await handler(reader, writer)
        writer.close()

    async def use(sandbox: Sandbox) -> Score:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        whole = {"service": "app", **config}
        assert registry.check("http", whole) == []
        try:
            return await registry.get("http").score(
                whole, context(sandbox=sandbox, services=[service("app", port=port)])
            )
        finally:
            server.close()

    return in_sandbox(use), bytes(seen)


def response(body: bytes = b'{"state": "shipped"}', status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_what_is_sent() -> None:
    score, seen = asked(
        response(),
        method="put",
        path="/orders/1?full=yes",
        json={"a": "ü"},
        headers={"X-Key": 5},
        response={"json": {"state": "shipped"}},
    )
    assert score.passed, score.reason
    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /orders/1?full=yes HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Key: 5" in head
    assert b"\r\nContent-Type: application/json" in head
    assert json.loads(body) == {"a": "ü"}


def test_a_get_has_no_body_and_a_text_is_a_url() -> None:
    score, seen = asked(response())
    assert score.passed
    assert b"content-length" not in seen.lower()
    assert registry.check("http", "http://127.0.0.1:8080/health") == []


@pytest.mark.parametrize(
    ("sent", "config", "reason"),
    [
        (response(b"gone", "404 Not Found"), {}, '→ 404 "gone"'),
        (response(b"", "404 Not Found"), {"status": [200, "3xx"]}, "expected status 200/3xx"),
        (response(b"[]"), {"response": {"json": {"state": "x"}}}, "expected the response to"),
        (response(b"x"), {"response_headers": {"Content-Type": "json"}}, "the header Content-Type"),
        (b"", {}, "closed the connection without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", {}, "broke its response off"),
        (b"220 mail.example ESMTP\r\n\r\n", {}, "what is no HTTP response"),
        (b"HTTP/1.1 103 \r\n\r\n" * 200, {}, "a response of status 103"),
        (response(b"x", "200 OK", "Content-Encoding: gzip"), {}, "a compressed response"),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * 300_000, {}, "what is no HTTP response"),
    ],
)
def test_what_fails(sent: bytes, config: dict[str, Any], reason: str) -> None:
    score, _ = asked(sent, **config)
    assert not score.passed
    assert reason in score.reason


def test_a_status_that_is_expected() -> None:
    assert asked(response(b"", "404 Not Found"), status=404)[0].passed
    assert asked(
        response(b"", "302 Found", "Location: /x"), response_headers={"location": "/x"}, status="3xx"
    )[0].passed


def test_an_endless_response_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 200_000)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()

    assert "longer than" in asked(endless)[0].reason


def test_a_response_that_does_not_come_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await reader.read()

    score, _ = asked(silent, timeout="300ms")
    assert "got no whole response within 300ms" in score.reason


def test_nobody_listens() -> None:
    async def use(sandbox: Sandbox) -> Score:
        return await registry.get("http").score("http://127.0.0.1:1/", context(sandbox=sandbox))

    assert in_sandbox(use).reason == 'GET "http://127.0.0.1:1/": nothing listens on port 1'


def test_a_service_that_is_not_there() -> None:
    with pytest.raises(InfrastructureError, match="has no 'app'"):
        asyncio.run(registry.get("http").score({"service": "app"}, context()))
    with pytest.raises(InfrastructureError, match="has no port"):
        asyncio.run(registry.get("http").score({"service": "app"}, context(services=[service("app")])))


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({}, (), "expected one of url"),
        ({"url": "http://127.0.0.1/", "service": "a"}, (), "expected one of url"),
        ("https://127.0.0.1/", ("url",), "plain HTTP"),
        ("http://example.com/", ("url",), "of the sandbox itself"),
        ("http://127.0.0.1:99999/", ("url",), "expected a URL"),
        ("http://127.0.0.1/a b", ("url",), "expected a URL"),
        ({"url": "http://localhost/", "path": "/x"}, ("path",), "write it into the url"),
        ({"service": "a", "path": "x"}, ("path",), "begins with /"),
        ({"service": "a", "method": "G T"}, ("method",), "expected a method"),
        ({"service": "a", "status": 700}, ("status",), "expected a status"),
        ({"service": "a", "headers": {"Host": "x"}}, ("headers", "Host"), "set by Aegis"),
        ({"service": "a", "headers": {"a b": "x"}}, ("headers", "a b"), "HTTP cannot carry it"),
        ({"service": "a", "headers": {"a": "x\r\nb: c"}}, ("headers", "a"), "HTTP cannot carry it"),
        ({"service": "a", "headers": {"a": "ü€"}}, ("headers", "a"), "HTTP cannot carry it"),
        ({"service": "a", "json": 1, "body": "x"}, ("json",), "keep one of the two"),
        ({"service": "a", "response": {"contain": 1}}, ("response", "contain"), "unknown key"),
        (
            {"service": "a", "response_headers": {"a": {"matches": "("}}},
            ("response_headers", "a", "matches"),
            "not a",
        ),
        ({"service": "a", "timeout": "soon"}, ("timeout",), "duration"),
        ({"service": "a", "staus": 200}, ("staus",), "did you mean 'status'?"),
    ],
)
def test_wrong_configurations(config: Any, path: tuple[str, ...], said: str) -> None:
    problems = registry.check("http", config)
    assert path in [where for where, _ in problems]
    assert any(said in told for _, told in problems)


def test_services_are_checked_with_the_suite() -> None:
    def lack(services: list[dict[str, Any]]) -> list[str]:
        return [told for _, told in registry.check_services("http", {"service": "app"}, services)]

    assert lack([{"name": "app", "port": 80}]) == []
    assert lack([{"name": "app", "preset": "http-files"}]) == []
    assert "has no port" in lack([{"name": "app"}])[0]
    assert "has no 'app'" in lack([{"name": "db"}])[0]
    assert registry.check_services("http", "http://127.0.0.1/", []) == []
