"""What the wire formats say, where the real clients' tests don't reach: other hosts, other shapes, broken answers."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.report.timeline import render
from aegis.trace import Body, Exchange, ModelCall, Trace, build_trace, eventstream
from aegis.trace.calls import ToolRequest
from aegis.trace.formats.gemini import array_elements
from aegis.trace.har import to_har
from aegis.trace.observe import observe_one
from aegis.trace.otel import TrialName, to_otlp
from aegis.trace.sse import parse_events
from aegis.trace.timeline import rows
from support import wire
from support.fuzzing import examples
from support.recorder import no_blobs

MESSAGES = {"messages": [{"role": "user", "content": "Hi"}]}
ORDER = {"order": 1042}
START = datetime(2026, 1, 5, tzinfo=UTC)


def call_of(exchange: Exchange) -> ModelCall:
    seen = observe_one(exchange, no_blobs)
    assert seen is not None
    return seen.call


@pytest.mark.parametrize(
    ("host", "path", "provider"),
    [
        ("openrouter.ai", "/api/v1/chat/completions", "openrouter"),
        ("llm.internal", "/v1/chat/completions", "openai"),
        ("127.0.0.1", "/chat/completions/", "openai"),
        ("api.groq.com", "/openai/v1/chat/completions?x=1", "groq"),
        ("llm.internal", "/route/7", "openai"),
    ],
)
def test_compatible_servers_are_known_by_path_or_shape(host: str, path: str, provider: str) -> None:
    call = call_of(wire.exchange(path, {"model": "m", **MESSAGES}, wire.chat("Hi."), host=host))
    assert (call.format, call.provider, call.text) == ("openai-chat", provider, "Hi.")


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        ({"model": "m", **MESSAGES}, wire.message([{"type": "text", "text": "Let me look."}, wire.USE])),
        ({"model": "m", **MESSAGES}, wire.MESSAGE_STREAM),
        ({"model": "m", "input": "Hi"}, wire.response([wire.SAID, wire.CALLED])),
        ({"model": "m", "input": "Hi"}, wire.response_events()),
        ({"model": "m", **MESSAGES}, wire.CHAT_STREAM),
    ],
)
def test_every_shape_is_known_at_a_gateway_with_paths_of_its_own(request_body: Any, answer: Any) -> None:
    call = call_of(wire.exchange("/llm", request_body, answer, host="gateway.example"))
    assert call.text == "Let me look."
    assert call.tool_requests[0].arguments == ORDER


@pytest.mark.parametrize(
    ("path", "request_body", "answer"),
    [
        ("/messages", {"messages": ["hello"], "room": 7}, {"ok": True}),
        ("/messages", {"text": "hello"}, {"ok": True}),
        ("/survey/responses", {"answers": [1, 2]}, {"ok": True}),
        ("/v1/embeddings", {"model": "m", "input": "Hi"}, {"data": []}),
        ("/search", {"input": "Hi"}, {"output": "x", "object": "list"}),
        ("/v1/messages/count_tokens", {"model": "m", **MESSAGES}, {"input_tokens": 3}),
        ("/v1/models/m:countTokens", {"contents": []}, {"totalTokens": 3}),
    ],
)
def test_what_only_looks_alike_is_no_model_call(path: str, request_body: Any, answer: Any) -> None:
    assert observe_one(wire.exchange(path, request_body, answer), no_blobs) is None


def test_only_posts_over_http_are_calls() -> None:
    right = wire.exchange("/v1/chat/completions", {"model": "m"}, wire.chat())
    assert observe_one(replace(right, method="GET"), no_blobs) is None
    assert observe_one(replace(right, kind="denied"), no_blobs) is None


def event_message(event: Any) -> bytes:
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
    headers = b"\x0b:event-type\x07\x00\x05chunk"
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", binascii.crc32(head))


@pytest.mark.parametrize("cut", [0, 3, 150])
def test_bedrock_streams_in_a_framing_of_its_own(cut: int) -> None:
    stream = b"".join(map(event_message, wire.MESSAGE_EVENTS))
    stream = stream[: len(stream) - cut]
    request = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, **MESSAGES}
    exchange = wire.exchange(
        "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/invoke-with-response-stream",
        request,
        "",
        host="bedrock-runtime.us-east-1.amazonaws.com",
        content_type="application/vnd.amazon.eventstream",
    )
    exchange = replace(exchange, response_body=Body(size_bytes=len(stream), blob="d"))
    seen = observe_one(exchange, lambda digest: stream)
    assert seen is not None
    call = seen.call
    assert (call.provider, call.text) == ("aws.bedrock", "Let me look.")
    assert call.model_requested == "anthropic.claude-sonnet-4-20250514-v1:0"
    assert call.tool_requests[0].arguments == ORDER
    assert (call.input_tokens, call.output_tokens) == (1000, None if cut > 3 else 100)
    assert call.incomplete is (cut > 3)


def test_anthropic_on_vertex_has_its_model_in_the_path() -> None:
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict"
    request = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, **MESSAGES}
    host = "us-east5-aiplatform.googleapis.com"
    call = call_of(wire.exchange(path, request, wire.message([{"type": "text", "text": "Hi"}]), host=host))
    assert (call.provider, call.model_requested) == ("gcp.vertex_ai", "claude-sonnet-4@20250514")


GEMINI_PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
GEMINI_REQUEST = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize("form", ["sse", "array", "plain"])
def test_gemini(form: str) -> None:
    if form == "sse":
        exchange = wire.exchange(f"{GEMINI_PATH}?alt=sse", GEMINI_REQUEST, wire.events(*wire.GEMINI_CHUNKS))
    elif form == "array":
        exchange = wire.exchange(GEMINI_PATH, GEMINI_REQUEST, wire.GEMINI_CHUNKS)
    else:
        parts = [part for chunk in wire.GEMINI_CHUNKS for part in chunk["candidates"][0]["content"]["parts"]]
        path = "/v1beta/models/gemini-2.5-flash:generateContent"
        exchange = wire.exchange(path, GEMINI_REQUEST, wire.gemini(parts))
    call = call_of(replace(exchange, host="generativelanguage.googleapis.com"))
    assert (call.provider, call.model) == ("gcp.gemini", "gemini-2.5-flash")
    assert (call.text, call.stop_reason) == ("Let me look.", "STOP")
    assert call.tool_requests == (ToolRequest("", "lookup_order", ORDER),)
    assert (call.input_tokens, call.output_tokens) == (1000, 100)
    assert (call.cached_tokens, call.reasoning_tokens) == (200, 40)
    assert call.usd == pytest.approx(0.000496)
    assert not call.incomplete


def test_gemini_cut_in_the_middle_of_an_array() -> None:
    text = json.dumps(wire.GEMINI_CHUNKS)
    text = text[: text.index('"functionCall"')]
    exchange = wire.exchange(GEMINI_PATH, GEMINI_REQUEST, text, content_type="application/json")
    call = call_of(exchange)
    assert (call.text, call.incomplete, call.output_tokens) == ("Let me ", True, None)


def test_gemini_refusing_a_prompt() -> None:
    answer = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    call = call_of(wire.exchange("/v1beta/models/g:generateContent", GEMINI_REQUEST, answer))
    assert (call.stop_reason, call.input_tokens, call.output_tokens) == ("SAFETY", 5, 0)
    assert not call.incomplete


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "type": "x"}}, "500: no"),
        ({"error": "no"}, "500: no"),
        ({"message": "no"}, "500: no"),
        ([{"error": {"message": "no"}}], "500: no"),
        ({"type": "error", "error": {"type": "api_error", "message": "no"}}, "500: no"),
        ({"fault": 1}, "500"),
    ],
)
def test_errors_in_the_forms_that_servers_use(body: Any, words: str) -> None:
    call = call_of(wire.exchange("/v1/chat/completions", {"model": "m"}, body, status=500))
    assert (call.error, call.incomplete, call.usd) == (words, False, 0.0)


def test_an_error_page_is_quoted() -> None:
    page = "<html>\n<h1>Bad gateway</h1>"
    exchange = wire.exchange(
        "/v1/chat/completions", {"model": "m"}, page, status=502, content_type="text/html"
    )
    assert call_of(exchange).error == "502: <html> <h1>Bad gateway</h1>"


def test_no_response_at_all() -> None:
    exchange = wire.exchange("/v1/chat/completions", {"model": "gpt-5-mini"}, None)
    exchange = replace(
        exchange, status=None, response_body=None, error="client-gone: closed", response_headers=()
    )
    call = call_of(exchange)
    assert (call.error, call.incomplete, call.input_tokens, call.usd) == (
        "client-gone: closed",
        True,
        None,
        None,
    )
    refused = call_of(replace(exchange, upstream="", error="upstream-refused: 192.0.2.1:443"))
    assert (refused.input_tokens, refused.usd) == (0, 0.0)


@pytest.mark.parametrize(
    "pieces",
    [
        # Numbered as OpenAI does; without numbers; all with number 0, told apart by id; whole objects.
        [(0, "a", "x", '{"q'), (0, "", "", '": 1}'), (1, "b", "y", "{}")],
        [(None, "a", "x", '{"q'), (None, "", "", '": 1}'), (None, "b", "y", "{}")],
        [(0, "a", "x", '{"q": 1}'), (0, "b", "y", "{}")],
        [(0, "a", "x", {"q": 1}), (1, "b", "y", {})],
    ],
)
def test_streamed_tool_calls_of_servers_that_number_differently(pieces: list[Any]) -> None:
    chunks = []
    for index, identity, name, arguments in pieces:
        piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, "id": identity}
        chunks.append(
            wire.chat_chunk({"tool_calls": [piece if index is None else {**piece, "index": index}]})
        )
    stream = wire.events(*chunks, wire.chat_chunk({}, "tool_calls"))
    call = call_of(wire.exchange("/v1/chat/completions", {"model": "m"}, stream))
    assert call.tool_requests == (ToolRequest("a", "x", {"q": 1}), ToolRequest("b", "y", {}))
    assert not call.incomplete


def test_arguments_that_are_not_json_stay_as_text() -> None:
    answer = wire.chat(None)
    functions = [{"id": "a", "function": {"name": "f", "arguments": "{'q': 1}"}}]
    answer["choices"][0]["message"]["tool_calls"] = functions
    call = call_of(wire.exchange("/v1/chat/completions", {"model": "m"}, answer))
    assert call.tool_requests[0].arguments == "{'q': 1}"


def test_arguments_nested_without_end_stay_as_text() -> None:
    deep = "[" * 500 + "]" * 500
    answer = wire.message([{**wire.USE, "input": json.loads(deep)}])
    exchange = wire.exchange("/v1/messages", {"max_tokens": 1, **MESSAGES}, answer)
    assert call_of(exchange).tool_requests[0].arguments == deep
    json.dumps(build_trace(Trace(), [exchange], no_blobs).to_json())


def test_the_first_token_is_when_the_first_content_was_passed_on() -> None:
    first = wire.events(wire.chat_chunk({"role": "assistant", "content": ""}))
    sizes = [len(first), len(wire.CHAT_STREAM) - len(first)]
    exchange = wire.exchange("/v1/chat/completions", {"model": "m"}, wire.CHAT_STREAM, started_s=10.0)
    exchange = replace(exchange, chunks=((10.5, sizes[0]), (12.0, sizes[1])))
    assert call_of(exchange).first_token_s == 2.0
    packed = replace(exchange, response_headers=(*exchange.response_headers, ("Content-Encoding", "gzip")))
    assert call_of(packed).first_token_s is None


def test_long_bodies_are_fetched_and_those_of_others_are_not() -> None:
    blobs = {"q": json.dumps({"model": "m"}).encode(), "a": json.dumps(wire.chat("Long.")).encode()}
    exchange = wire.exchange("/v1/chat/completions", None, None)
    exchange = replace(exchange, request_body=Body(9, blob="q"), response_body=Body(9, blob="a"))
    seen = observe_one(exchange, blobs.__getitem__)
    assert seen is not None
    assert seen.call.text == "Long."
    download = replace(exchange, method="GET", path="/big.iso", id=2)
    assert build_trace(Trace(), [download], no_blobs).model_calls == ()


PATHS = st.sampled_from(
    ["/v1/chat/completions", "/v1/responses", "/v1/messages", GEMINI_PATH, "/mcp", "/model/x/invoke", "/x"]
)
WORDS = """
messages input content choices delta message tool_calls function arguments index id type usage output item
response error result jsonrpc method params name candidates parts functionCall usageMetadata prompt_tokens
input_tokens role tool_call_id model max_tokens output_index
"""
KEYS = WORDS.split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(["application/json", "text/event-stream", "application/vnd.amazon.eventstream", ""])


@settings(max_examples=examples(300))
@given(
    PATHS,
    JSON | st.text(max_size=30),
    st.lists(JSON, max_size=4) | st.text(max_size=60),
    TYPES,
    st.integers(0, 2),
)
def test_nothing_that_a_body_holds_raises(path: str, sent: Any, got: Any, kind: str, form: int) -> None:
    if isinstance(got, list) and form == 1:
        got = wire.events(*got)
    elif isinstance(got, list) and form == 2 and got:
        got = got[0]
    exchange = wire.exchange(path, sent, got, content_type=kind or "text/plain")
    if not kind:
        exchange = replace(exchange, response_headers=())
    trace = build_trace(Trace(), [exchange, replace(exchange, id=2, started_s=3.0)], no_blobs)
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))).usage == trace.usage
    assert all(line.isprintable() for line in render(rows(trace)))
    json.dumps(to_har(trace.exchanges, no_blobs, started_at=START), allow_nan=False)
    json.dumps(to_otlp(trace, TrialName("r", "s", "c", "baseline", 1), started_at=START), allow_nan=False)


@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    parse_events(data)
    eventstream.parse_payloads(data)
    eventstream.parse_payloads(event_message({"type": "ping"}) + data)
    list(array_elements(b"[1, " + data))


def test_the_end_of_a_stream_that_repeats_only_a_part_of_the_counts() -> None:
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": "x"},
        "usage": {"input_tokens": 700, "output_tokens": 9},
    }
    stream = wire.events(wire.MESSAGE_EVENTS[0], last, named=True)
    call = call_of(wire.exchange("/v1/messages", {"max_tokens": 1, **MESSAGES}, stream))
    assert (call.input_tokens, call.cached_tokens, call.output_tokens) == (1000, 200, 9)


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream"])
def test_streams_that_are_called_something_else(kind: str) -> None:
    call = call_of(wire.exchange("/v1/chat/completions", {"model": "m"}, wire.CHAT_STREAM, content_type=kind))
    assert (call.text, call.streamed) == ("Let me look.", True)


def test_groq_tells_the_usage_of_a_stream_elsewhere() -> None:
    end = {**wire.chat_chunk({}, "stop"), "x_groq": {"usage": wire.CHAT_USAGE}}
    call = call_of(wire.exchange("/openai/v1/chat/completions", {"model": "m"}, wire.events(end)))
    assert (call.input_tokens, call.output_tokens) == (1000, 100)


def test_numbers_that_json_cannot_hold_again_stay_as_text() -> None:
    stream = wire.events(wire.chat_chunk(wire.chat_piece(0, '{"a": 1e999}', id="a", name="f"), "tool_calls"))
    call = call_of(wire.exchange("/v1/chat/completions", {"model": "m"}, stream))
    assert call.tool_requests[0].arguments == '{"a": Infinity}'


@settings(max_examples=examples(100))
@given(st.sampled_from([wire.CHAT_STREAM, wire.MESSAGE_STREAM, wire.response_events()]), st.data())
def test_a_stream_cut_anywhere_gives_what_was_there(stream: str, draw: st.DataObject) -> None:
    cut = stream[: draw.draw(st.integers(0, len(stream) - 1))]
    exchange = wire.exchange(
        "/llm/v1/chat/completions" if stream is wire.CHAT_STREAM else "/v1/messages", {}, cut
    )
    request = {"model": "m", "max_tokens": 1, **MESSAGES}
    if stream.startswith("event: response"):
        exchange, request = replace(exchange, path="/v1/responses"), {"model": "m", "input": "Hi"}
    exchange = replace(exchange, request_body=wire.body(request), error="upstream-cut: closed")
    call = call_of(exchange)
    assert "Let me look.".startswith(call.text)
    assert call.incomplete or call.stop_reason
