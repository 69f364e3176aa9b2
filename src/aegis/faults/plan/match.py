"""Which exchanges a rule is about. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from aegis.faults import jsonpath
from aegis.faults.base import Seen
from aegis.suite.model import FaultMatch
from aegis.trace.modelrequests import asks_a_model

Test = Callable[[Seen], bool]


def needs_body(match: FaultMatch) -> bool:
    """Whether the request's body decides."""
    return bool(match.body or match.tool or match.call == "tool")


def is_of_requests(match: FaultMatch) -> bool:
    """Whether it asks for more than a host and a port: connections that carry no request can't match then."""
    return bool(match.method or match.path or match.body or match.tool or match.call or match.credential)


def covers_place(match: FaultMatch, host: str, port: int) -> bool:
    """Whether a connection to this place is one that it is about."""
    return covers_host(match, host) and match.port in (None, port)


def covers_host(match: FaultMatch, host: str) -> bool:
    return not match.host or any(glob(pattern, host) for pattern in match.host)


def compile_match(match: FaultMatch, placeholders: Mapping[str, str]) -> Test:
    """A test for all that the match asks for, the cheapest first. `placeholders`: secret → what the guest sends."""
    tests: list[Test] = []
    if match.port is not None:
        tests.append(lambda seen: seen.request.port == match.port)
    if match.host:
        tests.append(lambda seen: covers_host(match, seen.request.host))
    if match.method:
        tests.append(lambda seen: seen.request.method in match.method)
    if match.path:
        tests.append(lambda seen: any(glob(pattern, seen.path) for pattern in match.path))
    if match.call == "model":
        tests.append(lambda seen: asks_a_model(seen.request.method, seen.path))
    if match.credential is not None:
        tests.append(_credential(match.credential, placeholders))
    if match.call == "tool":
        tests.append(lambda seen: tool_of(seen.json) is not None)
    if match.tool:
        tests.append(lambda seen: _calls(tool_of(seen.json), match.tool))
    for path, wanted in match.body.items():
        tests.append(_body(path, wanted))
    return lambda seen: all(test(seen) for test in tests)


def tool_of(body: Any) -> str | None:
    """The tool that an MCP request calls (JSON-RPC `tools/call`), or None."""
    if not isinstance(body, dict) or body.get("method") != "tools/call" or body.get("jsonrpc") != "2.0":
        return None
    params = body.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None


def _calls(tool: str | None, patterns: tuple[str, ...]) -> bool:
    # What calls no tool is not matched by `*` either.
    return tool is not None and any(glob(pattern, tool) for pattern in patterns)


def _credential(name: str, placeholders: Mapping[str, str]) -> Test:
    if name == "none":
        return lambda seen: seen.credential is None
    if name == "any":
        return lambda seen: seen.credential is not None
    placeholder = placeholders.get(name, "\0").encode()
    return lambda seen: (
        any(_holds(value, placeholder) for _, value in seen.request.headers)
        or placeholder in seen.request.target.encode()
    )


def _holds(value: bytes, placeholder: bytes) -> bool:
    """Whether a header holds it, also inside Basic credentials."""
    if placeholder in value:
        return True
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        return placeholder in base64.b64decode(encoded)
    except ValueError:
        return False


def _body(path: str, wanted: Any) -> Test:
    steps = jsonpath.parse(path)
    if isinstance(wanted, str):
        return lambda seen: any(
            isinstance(found, str) and glob(wanted, found) for found in jsonpath.find(seen.json, steps)
        )
    return lambda seen: any(_same(found, wanted) for found in jsonpath.find(seen.json, steps))


def _same(found: Any, wanted: Any) -> bool:
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


def glob(pattern: str, text: str) -> bool:
    """`*` stands for any characters, also none, also `/`; everything else for itself. No backtracking: what an agent
    sends cannot make it slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def describe(match: FaultMatch) -> str:
    """The match in words: `GET crm.example/orders/*`, `tool lookup_order`, `everything`."""
    words: list[str] = []
    where = "|".join(match.host) + (f":{match.port}" if match.port is not None else "")
    where += "|".join(match.path)
    if match.method or where:
        words.append(" ".join(part for part in ("/".join(match.method), where) if part))
    if match.call is not None:
        words.append(f"{match.call} calls")
    if match.tool:
        words.append(f"tool {'|'.join(match.tool)}")
    words += [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in match.body.items()]
    if match.credential is not None:
        words.append(f"credential {match.credential}")
    return ", ".join(words) or "everything"
