"""The Model Context Protocol over HTTP: which tools were called, and what came of it.

Streamable HTTP (protocol versions from 2025-03-26 on): JSON-RPC requests are POSTed; the answer is JSON, or
server-sent events of the same response or, when a stream was resumed, of a later GET. The older transport (2024-11-05)
answers every POST with 202 and sends all results over one GET: read here too. JSON-RPC over a program's standard
input and output (`mcp-stdio`) has the same bodies. Source: https://modelcontextprotocol.io/specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from aegis.trace import lenient
from aegis.trace.exchange import Exchange
from aegis.trace.message import FetchBlob, Message, header

_Key = tuple[str, int, str, str]
"""Host, port, session id, JSON-RPC id with its type (`"1"` is not `1`)."""


@dataclass(frozen=True, slots=True)
class McpToolCall:
    """One `tools/call`."""

    exchange: int
    """Id of the exchange that asked."""
    server: str
    """`host:port`, or `NAME.mcp-stdio`."""
    name: str
    arguments: Any
    result: Any = None
    """The text of its content; structured content when there is no text. None when no answer was seen."""
    is_error: bool = False
    """The tool said so (`isError`), or the server answered with a JSON-RPC error."""
    started_s: float = 0.0
    ended_s: float | None = None
    incomplete: bool = False
    """No answer was seen."""


def is_mcp(exchange: Exchange, fetch_blob: FetchBlob) -> bool:
    """Whether the exchange speaks JSON-RPC as MCP does (whatever the method)."""
    return _speaks(Message(exchange, fetch_blob))


def tool_calls(exchanges: Iterable[Exchange], fetch_blob: FetchBlob) -> tuple[list[McpToolCall], set[int]]:
    """The tool calls in the order of the requests, and the ids of all exchanges that were MCP's."""
    calls: list[tuple[_Key, McpToolCall]] = []
    answers: dict[_Key, tuple[dict[str, Any], Exchange]] = {}
    ours: set[int] = set()
    for exchange in exchanges:
        message = Message(exchange, fetch_blob)
        if not _speaks(message):
            continue
        ours.add(exchange.id)
        session = _session(exchange)
        asked = [
            (_key(exchange, session, request), _asked(exchange, request)) for request in _requests(message)
        ]
        own = dict(_answers(message))
        for key, call in asked:
            if (body := own.get(key[3]) or _refusal(message, own)) is not None:
                call = _with_answer(call, body, exchange)
            calls.append((key, call))
        for identity, body in own.items():
            answers.setdefault((exchange.host, exchange.port, session, identity), (body, exchange))
    return [_settle(key, call, answers) for key, call in calls], ours


def _speaks(message: Message) -> bool:
    exchange = message.exchange
    if exchange.kind == "mcp-stdio":
        return True
    if exchange.kind != "http":
        return False
    if exchange.method == "POST":
        return any(found.get("jsonrpc") == "2.0" for found in _messages(message.request))
    if exchange.method != "GET" or not message.content_type.startswith("text/event-stream"):
        return False
    return bool(_session(exchange)) or any(True for _ in _answers(message))


def _messages(body: Any) -> list[dict[str, Any]]:
    """One JSON-RPC message, or a batch."""
    return lenient.mappings(body if isinstance(body, list) else [body])


def _requests(message: Message) -> Iterator[dict[str, Any]]:
    for found in _messages(message.request):
        if found.get("method") == "tools/call" and "id" in found:
            yield found


def _answers(message: Message) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, response) of every JSON-RPC response in an HTTP response."""
    if message.is_event_stream:
        bodies = [lenient.parse(event.data) for event in message.events]
    else:
        bodies = [message.response]
    for body in bodies:
        for found in _messages(body):
            if found.get("jsonrpc") == "2.0" and ("result" in found or "error" in found):
                yield repr(found.get("id")), found


def _refusal(message: Message, own: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """An error that answers whatever was asked: with the id null, or as a bare HTTP status."""
    if "None" in own:
        return own["None"]
    if message.status >= 400:
        return {"error": {"message": f"HTTP {message.status} {message.exchange.reason}".strip()}}
    return None


def _session(exchange: Exchange) -> str:
    if exchange.kind == "mcp-stdio":
        # Each connection is a server of its own, whose ids begin anew.
        return str(exchange.connection)
    name = "mcp-session-id"
    return header(exchange.request_headers, name) or header(exchange.response_headers, name)


def _key(exchange: Exchange, session: str, request: dict[str, Any]) -> _Key:
    return exchange.host, exchange.port, session, repr(request.get("id"))


def _asked(exchange: Exchange, request: dict[str, Any]) -> McpToolCall:
    params = lenient.mapping(request.get("params"))
    return McpToolCall(
        exchange=exchange.id,
        server=f"{exchange.host}:{exchange.port}" if exchange.port else exchange.host,
        name=lenient.string(params.get("name")),
        arguments=lenient.bounded(params.get("arguments", {})),
        started_s=exchange.started_s,
        ended_s=exchange.ended_s,
        incomplete=True,
    )


def _settle(
    key: _Key, call: McpToolCall, answers: dict[_Key, tuple[dict[str, Any], Exchange]]
) -> McpToolCall:
    if call.incomplete and key in answers:
        return _with_answer(call, *answers[key])
    return call


def _with_answer(call: McpToolCall, body: dict[str, Any], exchange: Exchange) -> McpToolCall:
    result, failed = _outcome(body)
    return replace(call, result=result, is_error=failed, ended_s=exchange.ended_s, incomplete=False)


def _outcome(body: dict[str, Any]) -> tuple[Any, bool]:
    if "error" in body:
        return lenient.cut(lenient.string(lenient.mapping(body["error"]).get("message"))), True
    result = lenient.mapping(body.get("result"))
    text = lenient.cut(lenient.text_of(result.get("content")))
    told = text or lenient.bounded(result.get("structuredContent"))
    return told, result.get("isError") is True
