"""A trace for other tools: HAR, OpenTelemetry."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from aegis.errors import InfrastructureError, UsageError
from aegis.trace import Body, ToolCall, Trace, TurnRecord, build_trace
from aegis.trace.har import to_har
from aegis.trace.otel import TrialName, to_otlp
from aegis.trace.otlp_http import send
from support import wire

START = datetime(2026, 1, 5, 14, 15, tzinfo=UTC)
BLOBS = {"binary": b"\x89PNG\xff", "text": b"long text"}

ASK = wire.exchange(
    "/v1/chat/completions",
    {"model": "gpt-5-mini", "messages": []},
    wire.chat("Looking.", [("a", "lookup", {"order": 1042})]),
    started_s=1.0,
    ended_s=2.0,
    first_byte_s=1.25,
)
LOOKUP = wire.exchange(
    "/orders/1042?full=1&x=",
    None,
    {"paid": 42},
    id=2,
    method="GET",
    host="crm.example",
    started_s=2.5,
    ended_s=2.6,
)
LOOKUP = replace(
    LOOKUP,
    request_headers=(("Cookie", "a=1; b=2"), ("X-Two", "1"), ("X-Two", "2")),
    response_headers=(*LOOKUP.response_headers, ("Set-Cookie", "s=1; Path=/")),
    faults=("flaky-1",),
)
TELL = wire.exchange(
    "/v1/chat/completions",
    {"model": "gpt-5-mini", "messages": [{"role": "tool", "tool_call_id": "a", "content": "paid"}]},
    {"error": {"message": "slow down"}},
    id=3,
    status=429,
    started_s=3.0,
    ended_s=3.5,
)
LOST = replace(
    LOOKUP, id=4, status=None, response_body=None, response_headers=(), started_s=4.0, ended_s=None
)
LOST = replace(LOST, error="upstream-refused: 192.0.2.1:443", port=8443)
DENIED = replace(
    LOST, id=5, kind="denied", host="evil.example", method="", path="", error="denied: not allowed"
)
IMAGE = replace(
    LOOKUP, id=6, response_body=Body(5, blob="binary", truncated=True), started_s=5.0, ended_s=5.1
)
UPLOAD = replace(LOOKUP, id=7, method="PUT", request_body=Body(9, blob="text"), started_s=6.0, ended_s=6.1)

TRACE = build_trace(
    Trace(turns=(TurnRecord("Refund 1042", "Done \ud800", 7.0),), duration_s=7.0, exit="exit code 0"),
    [ASK, LOOKUP, TELL, LOST, DENIED, IMAGE, UPLOAD],
    BLOBS.__getitem__,
)
TRIAL = TrialName("run-1", "production", "refund", "baseline", 2, "failed", "answer: no amount")

NAMED = {"type": "object", "required": ["name", "value"], "properties": {"name": {"type": "string"}}}
PAIRS = {"type": "array", "items": NAMED}
TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
HAR_SCHEMA = {
    "type": "object",
    "required": ["log"],
    "properties": {
        "log": {
            "type": "object",
            "required": ["version", "creator", "entries"],
            "properties": {
                "version": {"const": "1.2"},
                "creator": {"type": "object", "required": ["name", "version"]},
                "entries": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["startedDateTime", "time", "request", "response", "cache", "timings"],
                        "properties": {
                            "startedDateTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"},
                            "time": {"type": "number", "minimum": 0},
                            "request": {
                                "type": "object",
                                "required": [
                                    *["method", "url", "httpVersion", "cookies", "headers", "queryString"],
                                    *["headersSize", "bodySize"],
                                ],
                                "properties": {
                                    "url": {"type": "string", "format": "uri"},
                                    "headers": PAIRS,
                                    "cookies": PAIRS,
                                    "queryString": PAIRS,
                                    "headersSize": INTEGER,
                                    "bodySize": INTEGER,
                                    "postData": {
                                        "type": "object",
                                        "required": ["mimeType", "params", "text"],
                                    },
                                },
                            },
                            "response": {
                                "type": "object",
                                "required": [
                                    *["status", "statusText", "httpVersion", "cookies", "headers", "content"],
                                    *["redirectURL", "headersSize", "bodySize"],
                                ],
                                "properties": {
                                    "status": INTEGER,
                                    "headers": PAIRS,
                                    "cookies": PAIRS,
                                    "content": {
                                        "type": "object",
                                        "required": ["size", "mimeType"],
                                        "properties": {"size": INTEGER, "mimeType": TEXT, "text": TEXT},
                                    },
                                },
                            },
                            "timings": {
                                "type": "object",
                                "required": ["send", "wait", "receive"],
                                "additionalProperties": NUMBER,
                            },
                        },
                    },
                },
            },
        }
    },
}
"""The shape of HAR 1.2, from its specification."""


def har() -> dict[str, Any]:
    document = to_har(TRACE.exchanges, BLOBS.__getitem__, started_at=START)
    loaded: dict[str, Any] = json.loads(json.dumps(document))
    return loaded


def test_har_has_the_shape_that_the_specification_gives() -> None:
    jsonschema.validate(har(), HAR_SCHEMA)


def test_har_says_what_passed() -> None:
    log = har()["log"]
    entries = {entry["_id"]: entry for entry in log["entries"]}
    assert sorted(entries) == [1, 2, 3, 4, 6, 7]
    first = entries[1]
    assert first["startedDateTime"] == "2026-01-05T14:15:01.000Z"
    assert (first["time"], first["timings"]["wait"], first["timings"]["receive"]) == (1000, 250, 750)
    assert json.loads(first["request"]["postData"]["text"])["model"] == "gpt-5-mini"
    lookup = entries[2]
    assert lookup["request"]["url"] == "https://crm.example/orders/1042?full=1&x="
    assert lookup["request"]["queryString"] == [{"name": "full", "value": "1"}, {"name": "x", "value": ""}]
    assert lookup["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert lookup["response"]["cookies"] == [{"name": "s", "value": "1"}]
    assert [item["value"] for item in lookup["request"]["headers"]] == ["a=1; b=2", "1", "2"]
    assert (lookup["_faults"], lookup["serverIPAddress"]) == (["flaky-1"], "192.0.2.1")
    lost = entries[4]
    assert (lost["response"]["status"], lost["response"]["bodySize"]) == (0, -1)
    assert lost["_error"].startswith("upstream-refused")
    assert ":8443/" in lost["request"]["url"]
    content = entries[6]["response"]["content"]
    assert base64.b64decode(content["text"]) == BLOBS["binary"]
    assert (content["encoding"], content["size"]) == ("base64", 5)
    assert "only the beginning" in content["comment"]
    assert entries[7]["request"]["postData"]["text"] == "long text"
    assert [(item["kind"], item["host"]) for item in log["_connections"]] == [("denied", "evil.example")]


def spans(**more: Any) -> dict[str, dict[str, Any]]:
    """The spans by name, with their attributes as plain values."""
    payload = json.loads(json.dumps(to_otlp(TRACE, TRIAL, started_at=START, **more)))
    [resource] = payload["resourceSpans"]
    [scope] = resource["scopeSpans"]
    found = {}
    for span in scope["spans"]:
        values = {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}
        found[f"{span['name']} {values.get('aegis.exchange', '')}".strip()] = {**span, "attributes": values}
    return found


def test_spans_follow_the_conventions() -> None:
    found = spans()
    root = found["invoke_agent production"]
    chat = found["chat gpt-5-mini-2025-08-07"]
    tool = found["execute_tool lookup"]
    request = found["GET 2"]
    assert root["parentSpanId"] == ""
    assert chat["parentSpanId"] == tool["parentSpanId"] == root["spanId"]
    assert request["parentSpanId"] == tool["spanId"]
    assert found["denied evil.example 5"]["parentSpanId"] == root["spanId"]
    ids = [span["spanId"] for span in found.values()]
    assert len(set(ids)) == len(ids)
    assert all(len(span["spanId"]) == 16 and len(span["traceId"]) == 32 for span in found.values())
    begin = int(START.timestamp()) * 10**9
    assert (int(chat["startTimeUnixNano"]) - begin, int(chat["endTimeUnixNano"]) - begin) == (
        10**9,
        2 * 10**9,
    )
    values = chat["attributes"]
    assert values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.provider.name"] == "openai"
    assert values["gen_ai.request.model"] == "gpt-5-mini"
    assert (values["gen_ai.usage.input_tokens"], values["gen_ai.usage.output_tokens"]) == ("1000", "100")
    assert values["gen_ai.usage.cache_read.input_tokens"] == "200"
    assert values["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "tool_calls"}]}
    assert json.loads(values["gen_ai.output.messages"])[0]["parts"][1]["name"] == "lookup"
    assert tool["attributes"]["gen_ai.tool.call.arguments"] == '{"order": 1042}'
    assert tool["attributes"]["gen_ai.tool.call.result"] == "paid"
    assert request["attributes"]["http.response.status_code"] == "200"


def test_spans_of_what_failed_say_so() -> None:
    found = spans()
    refused = found["chat gpt-5-mini"]
    assert refused["status"] == {"code": 2, "message": "429: slow down"}
    assert refused["attributes"]["error.type"] == "429"
    assert found["GET 4"]["attributes"]["error.type"] == "upstream-refused"
    assert found["invoke_agent production"]["status"]["message"] == "answer: no amount"
    assert found["GET 2"]["status"] == {}


def test_spans_without_texts() -> None:
    text = json.dumps(spans(texts=False))
    assert "Looking." not in text
    assert "1042}" not in text
    assert "gen_ai.usage.input_tokens" in text


def test_the_same_trial_has_the_same_spans() -> None:
    assert to_otlp(TRACE, TRIAL, started_at=START) == to_otlp(TRACE, TRIAL, started_at=START)
    other = to_otlp(TRACE, replace(TRIAL, number=3), started_at=START)
    assert other != to_otlp(TRACE, TRIAL, started_at=START)


def test_calls_that_only_the_agent_reported_have_spans_too() -> None:
    payload = to_otlp(Trace(tool_calls=(ToolCall("x", {"a": object()}),)), TRIAL, started_at=START)
    assert "execute_tool x" in json.dumps(payload)


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.seen.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.reply)))
        self.end_headers()
        self.wfile.write(server.reply)

    def log_message(self, *args: Any) -> None:
        return


@contextmanager
def collector(status: int = 200, reply: bytes = b"{}") -> Iterator[tuple[str, list[Any]]]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.status, server.reply, server.seen = status, reply, []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, other = c")
    payload = to_otlp(TRACE, TRIAL, started_at=START)
    with collector() as (url, seen):
        assert send(url, payload) == f"{url}/v1/traces"
        send(f"{url}/custom/path?x=1", payload)
    (path, headers, body), (custom, _, _) = seen
    assert (path, custom) == ("/v1/traces", "/custom/path?x=1")
    assert headers["Content-Type"] == "application/json"
    assert (headers["x-key"], headers["other"]) == ("a b", "c")
    assert body == json.loads(json.dumps(payload))


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (401, b'{"message": "who are you?"}', "refused the spans: HTTP status 401: who are you?"),
        (404, b"<html>\nnothing here", "HTTP status 404: <html> nothing here"),
        (
            200,
            b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}',
            "refused 3 of the spans: too",
        ),
    ],
)
def test_a_collector_that_refuses(status: int, reply: bytes, message: str) -> None:
    with collector(status, reply) as (url, _), pytest.raises(InfrastructureError) as caught:
        send(url, {})
    assert message in str(caught.value)


def test_no_collector_there() -> None:
    with pytest.raises(InfrastructureError, match="could not be sent to http://127") as caught:
        send("http://127.0.0.1:9", {})
    assert "4317 is gRPC" in str(caught.value.fix)


@pytest.mark.parametrize(
    "url", ["localhost:4318", "ftp://h", "http://", "http://h:99999", "http://h/a b", "http://[x"]
)
def test_what_is_no_url_of_a_collector(url: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a collector"):
        send(url, {})
