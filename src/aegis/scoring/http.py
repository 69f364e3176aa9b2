"""Scorer `http`: what a service in the sandbox answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import h11

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox import httpcall
from aegis.sandbox.base import MIB
from aegis.scoring import bridge, configs, jsonvalue, matcher, request_pattern, services
from aegis.scoring.base import ConfigError, Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.services import Declared
from aegis.scoring.words import failed, passed, plain, shown
from aegis.suite.units import describe, format_duration, format_size, parse_duration

MAX_BODY_BYTES = 8 * MIB
DIAL_S = 2.0
"""For a server that is just coming up again."""
_KEYS = (
    *("url", "service", "path", "method", "headers", "body", "json"),
    *("status", "response", "response_headers", "timeout"),
)
_URL = "http://127.0.0.1:8080/path"
_SET_HERE = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")


class HttpScorer:
    name = "http"

    def check(self, config: Any) -> None:
        refuse(_problems(_whole(config)))

    def check_services(self, config: Any, declared: Sequence[Declared]) -> None:
        name = _whole(config).get("service")
        if name is None:
            return
        try:
            service = services.pick(declared, name=name)
        except services.NoSuchService as error:
            raise ConfigError(str(error), ("service",)) from None
        if not service.kind and service.port is None:
            raise ConfigError(
                f"the service {name!r} has no port: give it one, or write url: {_URL}", ("service",)
            )

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config = _whole(config)
        port, host, path = _target(config, context)
        what = f"{config.get('method', 'GET').upper()} {shown(f'http://{host}{path}')}"
        timeout_s = parse_duration(config.get("timeout", "60s"))
        try:
            async with asyncio.timeout(timeout_s):
                response = await _ask(config, context, port, host, path)
        except TimeoutError:
            return failed(self.name, f"{what} got no whole response within {format_duration(timeout_s)}")
        except httpcall.BrokenOffError as error:
            return failed(self.name, f"{what}: the server {error}")
        except httpcall.NoHttpError as error:
            return failed(self.name, f"{what} got {plain(str(error))}")
        except httpcall.TooLongError:
            return failed(self.name, f"{what} got a response longer than {format_size(MAX_BODY_BYTES)}")
        except GuestOperationError as error:
            reason = f"nothing listens on port {port}" if error.code == "not-found" else plain(str(error))
            return failed(self.name, f"{what}: {reason}")
        return await _judge(config, what, response)


def _whole(config: Any) -> Any:
    return {"url": config} if isinstance(config, str) else config


def _target(config: Mapping[str, Any], context: ScoreContext) -> tuple[int, str, str]:
    """(port, host as the header has it, path)."""
    if "url" in config:
        url = urlsplit(config["url"])
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return url.port or 80, url.netloc, path
    try:
        service = services.pick(context.services, name=config["service"])
    except services.NoSuchService as error:
        raise InfrastructureError(str(error)) from None
    port = service.port
    if port is None:
        raise InfrastructureError(
            f"the service {service.name!r} has no port", fix=f"Give it one, or write url: {_URL}."
        )
    return port, f"127.0.0.1:{port}", config.get("path", "/")


async def _ask(
    config: Mapping[str, Any], context: ScoreContext, port: int, host: str, path: str
) -> httpcall.Response:
    headers = [(name, str(value)) for name, value in config.get("headers", {}).items()]
    body: bytes | None = None
    if "json" in config:
        body = json.dumps(config["json"], ensure_ascii=False).encode("utf-8", "replace")
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
    elif "body" in config:
        body = str(config["body"]).encode()
    connection = await context.sandbox.dial(port, wait_s=DIAL_S)
    try:
        return await httpcall.request(
            connection,
            config.get("method", "GET").upper(),
            host=host,
            path=path,
            headers=headers,
            size_bytes=None if body is None else len(body),
            body=() if body is None else (body,),
            max_body_bytes=MAX_BODY_BYTES,
        )
    finally:
        await bridge.end(connection)


async def _judge(config: Mapping[str, Any], what: str, response: httpcall.Response) -> Score:
    found = f"{what} → {response.status}"
    text = response.body.decode("utf-8", "replace")
    told = f" {shown(text, 200)}" if text else ""
    wanted = config.get("status", "2xx")
    if not request_pattern.is_one_of(wanted, response.status):
        several = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        return failed("http", f"expected status {'/'.join(map(str, several))}: {found}{told}")
    for name, expected in config.get("response_headers", {}).items():
        value = ", ".join(value for header, value in response.headers if header == name.lower())
        judgement = await matcher.judge(expected, value, f"the header {name}")
        if not judgement.ok:
            return failed("http", f"{found}: {judgement.reason}")
    if "response" in config:
        judgement = await matcher.judge(config["response"], text, "the response")
        return Score("http", judgement.ok, float(judgement.ok), f"{found}: {judgement.reason}")
    return passed("http", found + told)


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    yield from _target_problems(config)
    yield from request_pattern.each(config, "status", request_pattern.status_problem)
    if "method" in config and (wrong := request_pattern.method_problem(config["method"])):
        yield ("method",), wrong
    yield from _header_problems(config.get("headers", {}))
    if "body" in config and "json" in config:
        yield ("json",), "stands beside a body: keep one of the two"
    yield from configs.text(config, "body")
    if "json" in config and (wrong := jsonvalue.problem(config["json"])):
        yield ("json",), wrong
    if "response" in config:
        yield from matcher.problems(config["response"], ("response",))
    expected = config.get("response_headers", {})
    if not isinstance(expected, Mapping):
        yield ("response_headers",), f"expected a mapping of headers to matchers, got {describe(expected)}"
    else:
        for name, value in expected.items():
            yield from matcher.problems(value, ("response_headers", str(name)))
    yield from configs.duration(config, "timeout")


def _target_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    if ("url" in config) is ("service" in config):
        yield (), f"expected one of url (such as {_URL}) and service (a name of sandbox.services)"
    yield from configs.text(config, "service")
    if "url" in config:
        if "path" in config:
            yield ("path",), "is for a service: write it into the url"
        if wrong := _url_problem(config["url"]):
            yield ("url",), wrong
    path = config.get("path", "/")
    if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path) or "#" in path:
        yield ("path",), f"expected a path that begins with /, without spaces, got {describe(path)}"


def _url_problem(url: Any) -> str | None:
    if not isinstance(url, str) or not re.fullmatch(r"[!-~]+", url):
        return f"expected a URL such as {_URL}, got {describe(url)}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"expected a URL such as {_URL}, got {url!r} ({error})"
    if parts.scheme == "https":
        return "a service in the sandbox is asked in plain HTTP: write http://"
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return f"expected a URL of the sandbox itself, such as {_URL}, got {url!r}"
    if port == 0 or parts.fragment or "@" in parts.netloc:
        return f"expected a URL such as {_URL}, got {url!r}"
    return None


def _header_problems(headers: Any) -> Iterator[Problem]:
    if not isinstance(headers, Mapping):
        yield ("headers",), f"expected a mapping of names to values, got {describe(headers)}"
        return
    for name, value in headers.items():
        path = ("headers", str(name))
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            yield path, f"expected a text or a number, got {describe(value)}"
        elif str(name).lower() in _SET_HERE:
            yield path, "is set by Aegis itself: take it out"
        else:
            try:
                h11.Request(method="GET", target="/", headers=[("host", "x"), (str(name), str(value))])
            except (h11.LocalProtocolError, UnicodeError, ValueError) as error:
                yield path, f"HTTP cannot carry it: {error}"


scorer = HttpScorer()
