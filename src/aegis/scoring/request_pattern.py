"""One pattern of the scorer `request`: what it takes, and which exchanges it matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aegis.scoring import configs, glob, matcher
from aegis.scoring.configs import Path, Problem
from aegis.scoring.words import shown
from aegis.suite.units import describe as kind_of
from aegis.trace import Body, Exchange

KEYS = ("method", "host", "path", "query", "body", "response", "status", "denied")

_METHOD = re.compile(r"[A-Za-z]+")
_STATUS_CLASS = re.compile(r"[1-5]xx")
_HOST = re.compile(r"[^\s/@?#]+")

FetchBlob = Callable[[str], bytes]


class UnknownBodyError(Exception):
    """The pattern looks at a body of which only the beginning was recorded, and does not find what it looks for."""


def problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the keys of a pattern; other keys are not looked at."""
    if not any(key in config for key in KEYS):
        yield (), f"expected one of {', '.join(KEYS)}"
    yield from each(config, "method", method_problem)
    yield from each(config, "status", status_problem)
    yield from configs.flag(config, "denied")
    if "host" in config and not (isinstance(config["host"], str) and _HOST.fullmatch(config["host"])):
        yield (
            ("host",),
            f"expected a host such as api.example.com or *.example.com:8443, got {kind_of(config['host'])}",
        )
    if "path" in config and not (isinstance(config["path"], str) and config["path"].startswith(("/", "*"))):
        yield ("path",), f"expected a path that begins with /, got {kind_of(config['path'])}"
    yield from _query_problems(config.get("query", {}))
    for key in ("body", "response"):
        if key in config:
            yield from matcher.problems(config[key], (key,))
    if config.get("denied") is True:
        for key in ("status", "response", "body", "method", "path", "query"):
            if key in config:
                yield (key,), f"a refused connection carried no request: {key!r} can't be looked at"


def each(config: Mapping[str, Any], key: str, problem: Callable[[Any], str | None]) -> Iterator[Problem]:
    if key not in config:
        return
    value = config[key]
    several = isinstance(value, list | tuple)
    if several and not value:
        yield (key,), "expected at least one"
    for index, item in enumerate(value if several else [value]):
        if message := problem(item):
            path: Path = (key, index) if several else (key,)
            yield path, message


def method_problem(value: Any) -> str | None:
    if isinstance(value, str) and _METHOD.fullmatch(value):
        return None
    return f"expected a method such as POST, got {kind_of(value)}"


def status_problem(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return None
    if isinstance(value, str) and _STATUS_CLASS.fullmatch(value):
        return None
    return f"expected a status from 100 to 599, or 2xx, got {kind_of(value)}"


def _query_problems(query: Any) -> Iterator[Problem]:
    if not isinstance(query, Mapping):
        yield ("query",), f"expected a mapping of parameters to values, got {kind_of(query)}"
        return
    for name, value in query.items():
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, str | int | float):
            yield ("query", str(name)), f"expected a text or a number, got {kind_of(value)}"


def matches(config: Mapping[str, Any], exchange: Exchange, fetch_blob: FetchBlob) -> bool:
    """Whether the exchange is one that the pattern describes. Raises `UnknownBodyError`; what `fetch_blob` raises
    comes out of here. Bodies may take time: call it in a thread."""
    if not _outside(config, exchange):
        return False
    cut = False
    for key, body in (("body", exchange.request_body), ("response", exchange.response_body)):
        if key in config and not matcher.judge_now(config[key], _text(body, fetch_blob), f"the {key}").ok:
            if body is None or not body.truncated:
                return False
            cut = True
    if cut:
        raise UnknownBodyError
    return True


def _outside(config: Mapping[str, Any], exchange: Exchange) -> bool:
    """Everything but the bodies."""
    if exchange.kind == "mcp-stdio":
        # It never left the sandbox: what a server in there was asked is for `tool_calls`.
        return False
    if (exchange.kind == "denied") is not config.get("denied", False):
        return False
    if "host" in config and not _is_host(config["host"], exchange):
        return False
    path, _, query = exchange.path.partition("?")
    if "path" in config and not glob.matches(config["path"], path):
        return False
    if "method" in config and exchange.method.upper() not in [
        item.upper() for item in _as_list(config["method"])
    ]:
        return False
    if "status" in config and not is_one_of(config["status"], exchange.status):
        return False
    if config.get("query"):
        sent = parse_qsl(query, keep_blank_values=True)
        return all((name, str(value)) in sent for name, value in config["query"].items())
    return True


def _is_host(pattern: str, exchange: Exchange) -> bool:
    host, pattern = exchange.host.lower(), pattern.lower()
    return glob.matches(pattern, host) or glob.matches(pattern, f"{host}:{exchange.port}")


def is_one_of(expected: Any, status: int | None) -> bool:
    """Whether a status is the expected one, one of a list, or of a class such as `2xx`."""
    return any(_is_status(item, status) for item in _as_list(expected))


def _is_status(expected: Any, status: int | None) -> bool:
    if isinstance(expected, str):
        return status is not None and status // 100 == int(expected[0])
    return bool(status == expected)


def _text(body: Body | None, fetch_blob: FetchBlob) -> str:
    if body is None:
        return ""
    if body.text is not None:
        return body.text
    return fetch_blob(body.blob).decode("utf-8", "replace") if body.blob else ""


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def describe(config: Mapping[str, Any]) -> str:
    """The pattern in words: `POST crm.example/refunds whose body should contain "42" → 201`."""
    method = (
        "/".join(item.upper() for item in _as_list(config["method"]))
        if "method" in config
        else "any request to"
    )
    query = (
        "?" + "&".join(f"{name}={value}" for name, value in config["query"].items())
        if config.get("query")
        else ""
    )
    words = f"{method} {config.get('host', '')}{config.get('path', '')}{query}".replace("  ", " ").strip()
    if config.get("denied"):
        return f"refused connections to {config.get('host', 'any host')}"
    if "body" in config:
        words += f" whose body should {matcher.describe(config['body'])}"
    if "response" in config:
        words += f" whose response should {matcher.describe(config['response'])}"
    if "status" in config:
        words += f" → {'/'.join(map(str, _as_list(config['status'])))}"
    return words


def told(exchange: Exchange) -> str:
    """One exchange in a reason: `POST crm.example/refunds → 201`."""
    if exchange.kind == "denied":
        return f"a refused connection to {shown(f'{exchange.host}:{exchange.port}')}"
    status = exchange.status if exchange.status is not None else "no response"
    return f"{shown(f'{exchange.method} {exchange.host}{exchange.path}'.strip())} → {status}"
