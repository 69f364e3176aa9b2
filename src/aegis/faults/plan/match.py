"""Which exchanges a rule is about. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis.faults import jsonpath
from aegis.faults.base import Seen
from aegis.suite.model import FaultMatch
from aegis.trace.modelrequests import asks_a_model

Test = Callable[[Seen], bool]
RequestPlace = tuple[str, int, str, str]
"""Host, port, method, path without the query."""


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


@dataclass(frozen=True, slots=True)
class Matcher:
    """A match, taken apart: what a request's place decides, which is the same for every request to that place, and what
    each request decides anew."""

    match: FaultMatch
    tests: tuple[Test, ...]

    def covers(self, place: RequestPlace) -> bool:
        """Whether requests to this place can match."""
        host, port, method, path = place
        match = self.match
        return (
            match.port in (None, port)
            and (not match.method or method in match.method)
            and covers_host(match, host)
            and (not match.path or any(glob(pattern, path) for pattern in match.path))
            and (match.call != "model" or asks_a_model(method, path))
        )

    def decides(self, seen: Seen) -> bool:
        """Whether a request to a place that is covered does match."""
        return not self.tests or all(test(seen) for test in self.tests)

    def __call__(self, seen: Seen) -> bool:
        return self.covers(place_of(seen)) and self.decides(seen)


def place_of(seen: Seen) -> RequestPlace:
    request = seen.request
    return request.host, request.port, request.method, seen.path


def compile_match(match: FaultMatch, placeholders: Mapping[str, str]) -> Matcher:
    """`placeholders`: secret → what the guest sends."""
    tests: list[Test] = []
    if match.credential is not None:
        tests.append(_credential(match.credential, placeholders))
    if match.call == "tool":
        tests.append(lambda seen: tool_of(seen.json) is not None)
    if match.tool:
        tests.append(lambda seen: _calls(tool_of(seen.json), match.tool))
    for path, wanted in match.body.items():
        tests.append(_body(path, wanted))
    return Matcher(match, tuple(tests))


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
