"""Faults of the groups `partial` and `semantic` before upstreams that send whatever they like."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aegis.faults import registry
from aegis.faults.base import Hit, Seen, TrialKey
from aegis.gateway.base import Framing, Request, ResponsePlan
from aegis.gateway.deliver import Whole, deliver
from aegis.gateway.failures import Cut, Failure

JSON = "application/json"
EVENTS = "text/event-stream"
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "x", "arguments": {"a": "\ud800"}},
}
ANSWER = {
    "jsonrpc": "2.0",
    "id": 1,
    "result": {"content": [{"type": "text", "text": '{"a_b": [1, {"c": null}]}'}]},
}
LISTING = {"items": [{"a_b": 1}], "next": "/2", "has_more": True, "data": {"x": 1}}

BODIES: list[bytes] = [
    b"",
    b"\0",
    b"\xff\xfe\xfd",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"1e999",
    b"-",
    b"[" * 50_000 + b"]" * 50_000,
    b"[" * 60 + b'{"a_b": 1}' + b"]" * 60,
    b"1" * 10_000,
    b'{"a": "\\ud800", "b\\udfff": [{"c_d": "\\ud800"}]}',
    b'{"": {"": ""}, "a_b": [[], [{}], [[{"x": true}]]]}',
    b"\xef\xbb\xbf{}",
    '{"é": "é"}'.encode("utf-16"),
    json.dumps(ANSWER).encode(),
    json.dumps([ANSWER, 1, None]).encode(),
    json.dumps({**ANSWER, "result": {"content": 3, "structuredContent": {"result": "{"}}}).encode(),
    json.dumps(
        {**ANSWER, "result": {"content": [1, {"text": 2}, {"text": "[]"}], "structuredContent": 4}}
    ).encode(),
    json.dumps(LISTING).encode(),
    b"data: "
    + json.dumps(ANSWER).encode()
    + b"\n\ndata: "
    + json.dumps(LISTING).encode()
    + b"\n\ndata: [DONE]\n\n",
    b"data\n\ndata:\r\rdata: \r\n\r\nevent: message_stop\rdata\r\rid: 1",
    b"\n\n\n\n:\n\n:\n\ndata: x",
    gzip.compress(b'{"a_b": 1}', mtime=0)[:-9],
]

PARAMS: dict[str, list[dict[str, Any]]] = {
    "truncate": [
        {"how": how, "at": at, "ragged": ragged}
        for how in ("right-length", "wrong-length", "in-chunk", "in-gzip", "until-close")
        for at in (0.001, 0.999)
        for ragged in ((False, True) if how == "until-close" else (False,))
    ],
    "cut-stream": [
        {"how": how, **at}
        for how in ("clean", "inside-event", "in-chunk", "reset", "ragged")
        for at in ({}, {"at_event": 1})
    ],
    "drop-page": [{"page": page, "first_page": True} for page in ("empty", "last", "empty-last")],
    "malformed-json": [{}, {"how": "nan"}, {"how": "bom"}, {"how": "unterminated-string"}],
    "garbage": [{"how": how} for how in ("body", "middle", "prefix", "bad-utf8", "bad-gzip", "bad-chunk")],
    "stale": [
        {},
        {"set": {"$[*]": None, "a_b": "\ud7ff"}, "fields": ["$.items[*].a_b", "$.*"]},
        {"body": {"a": 1}},
    ],
    "silent-noop": [{}, {"body": {"b": "{{a}}"}}, {"status": 204}],
    "wrong-shape": [{}, {"remove": ["$[*]"], "rename": {"$.*": "x"}, "retype": {"$.*": "string"}}],
    "tool-error": [{}, {"code": 1}],
    "graphql-errors": [{}, {"partial": True}],
    "duplicate-delivery": [{}, {"what": "event"}, {"what": "event", "at_event": 2}],
}
REQUESTS: list[tuple[str, Any]] = [
    ("GET", None),
    ("POST", CALL),
    ("POST", {"query": "{ a }"}),
    ("DELETE", [1]),
]


async def _pieces(body: bytes, size: int, broken: bool) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
    if broken:
        raise Cut("upstream-closed: in the middle")


def _plan(body: bytes, kind: str, coding: str, framing: Framing, broken: bool) -> ResponsePlan:
    coded = gzip.compress(body, mtime=0) if coding == "gzip" else body
    headers = [(b"Content-Type", kind.encode()), (b"Link", b'<2>; rel="next",,;"'), (b"Date", b"\xff")]
    headers += [(b"Content-Encoding", coding.encode())] if coding else []
    headers += [(b"Content-Length", str(len(coded)).encode())] if framing is Framing.LENGTH else []
    size = max(1, len(coded) // 7)
    return ResponsePlan(200, "OK", tuple(headers), framing, _pieces(coded, size, broken))


def _seen(method: str, body: Any) -> Seen:
    raw = b"" if body is None else json.dumps(body).encode()
    headers = ((b"Accept-Encoding", b"gzip"), (b"MCP-Protocol-Version", b"2026-07-28"))
    request = Request(method, "https", "api.example", 443, "/x?page=2", headers, _Body(raw))
    return Seen(request, raw, body, 0.0)


class _Body:
    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


async def _send(fault: Any, hit: Hit, seen: Seen, plan: ResponsePlan) -> bytes:
    """What the client gets; b"?" when its connection ends with nothing."""
    out = bytearray()

    async def forward(request: Request) -> ResponsePlan:
        return plan

    async def write(data: bytes) -> None:
        out.extend(data)

    try:
        watched = fault.takes(seen, True) and fault.watches(seen)

        async def inner(request: Request) -> ResponsePlan:
            return await (fault.observe(seen, forward) if watched else forward(request))

        if not fault.takes(seen, True):
            return b"-"
        bent = await fault.apply(hit, seen, inner)
        await deliver(bent, write, close=False, http_version="1.1")
    except (Cut, Failure):
        return bytes(out) or b"?"
    return bytes(out)


def _all_of(name: str, params: dict[str, Any], body: bytes) -> list[bytes]:
    async def run() -> list[bytes]:
        kind = registry.get(name)
        got = []
        for method, asked in REQUESTS:
            fault = kind(kind.read(params))
            for number, (content_type, coding, framing, broken) in enumerate(
                [
                    (JSON, "", Framing.LENGTH, False),
                    (JSON, "gzip", Framing.CHUNKED, False),
                    (JSON, "br", Framing.LENGTH, False),
                    (JSON, "", Framing.CLOSE, True),
                    (EVENTS, "", Framing.CHUNKED, False),
                    (EVENTS, "gzip", Framing.LENGTH, False),
                    (EVENTS, "", Framing.CLOSE, True),
                    ("", "zstd", Framing.CHUNKED, False),
                ],
                1,
            ):
                hit = Hit(name, "r", number, number, 0.0, TrialKey("s", "c", "v", 1))
                plan = _plan(body, content_type, coding, framing, broken)
                got.append(await _send(fault, hit, _seen(method, asked), plan))
            empty = ResponsePlan(204, "No Content", (), Framing.NONE, Whole(b""))
            got.append(await _send(fault, hit, _seen(method, asked), empty))
            assert all(isinstance(note, str) for note in fault.notes())
        return got

    return asyncio.run(run())


@pytest.mark.parametrize("body", range(len(BODIES)))
@pytest.mark.parametrize("name", PARAMS)
def test_nothing_but_cuts_and_failures_comes_out_and_always_the_same(name: str, body: int) -> None:
    for params in PARAMS[name]:
        found = _all_of(name, params, BODIES[body])
        assert len(found) == 9 * len(REQUESTS)
        assert all(found)
        assert found == _all_of(name, params, BODIES[body])
