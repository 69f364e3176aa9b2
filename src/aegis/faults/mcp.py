"""Tool calls of the Model Context Protocol: JSON-RPC 2.0 messages in JSON bodies and in server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aegis.faults.answers import json_answer, to_json
from aegis.faults.base import Seen
from aegis.faults.plan.match import tool_of
from aegis.gateway.base import ResponsePlan
from aegis.trace import lenient

Change = Callable[[Any], bool]
"""Changes a mapping or a list in place; False when it found nothing to change."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str | int
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    modern: bool = False
    """Whether it is of protocol version 2026-07-28 or a later one, where results say their type."""


def call_of(seen: Seen) -> ToolCall | None:
    """The tool call that a request is, or None."""
    name = tool_of(seen.json)
    if name is None:
        return None
    identity = seen.json.get("id")
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        return None
    arguments = lenient.mapping(lenient.mapping(seen.json.get("params")).get("arguments"))
    modern = (seen.request.header("mcp-protocol-version") or "") >= "2026-07-28"
    return ToolCall(identity, name, arguments, modern)


def is_message(body: Any) -> bool:
    """Whether a request's body is JSON-RPC: one message, or a batch."""
    first = body[0] if isinstance(body, list) and body else body
    return isinstance(first, dict) and first.get("jsonrpc") == "2.0"


def result(call: ToolCall, text: str, structured: Any = None, *, failed: bool = False) -> dict[str, Any]:
    """What a tool returned, as `CallToolResult` writes it."""
    value: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if structured is not None:
        value["structuredContent"] = structured
    value["isError"] = failed
    if call.modern:
        value["resultType"] = "complete"
    return value


def returned(call: ToolCall, value: Any) -> dict[str, Any]:
    """A tool's result of any value: text as it is; a mapping as structured content, with its JSON as text beside it,
    as the specification recommends for clients that read text only. What is wrapped (`{"result": text}`) is shown
    bare."""
    if isinstance(value, dict):
        bare = value.get("result") if value.keys() == {"result"} else None
        return result(call, bare if isinstance(bare, str) else _json_text(value), value)
    return result(call, value if isinstance(value, str) else _json_text(value))


def _json_text(value: Any) -> str:
    return to_json(value).decode("utf-8", "replace")


def answer(call: ToolCall, result: Any) -> ResponsePlan:
    """The response to the call, as one JSON body: what a server may always choose instead of an event stream."""
    return json_answer(200, {"jsonrpc": "2.0", "id": call.id, "result": result})


def refusal(call: ToolCall, code: int, message: str) -> ResponsePlan:
    """A JSON-RPC error, which has no result."""
    return json_answer(200, {"jsonrpc": "2.0", "id": call.id, "error": {"code": code, "message": message}})


def answer_in(call: ToolCall, value: Any) -> dict[str, Any] | None:
    """The message with the call's result, when a JSON value is it or a batch that holds it."""
    for message in lenient.mappings(value if isinstance(value, list) else [value]):
        found = message.get("id")
        if found == call.id and isinstance(found, bool) is False and isinstance(message.get("result"), dict):
            return message
    return None


def result_in(call: ToolCall, document: bytes) -> dict[str, Any] | None:
    """What the tool returned, out of a JSON body or an event's data; None when it failed or is not in there."""
    message = answer_in(call, lenient.parse(document))
    if message is None:
        return None
    found: dict[str, Any] = message["result"]
    return None if found.get("isError") is True else found


def change_result(message: dict[str, Any], change: Change) -> bool:
    """Change what the tool returned: its structured content, and each text that is JSON. Structured content that only
    wraps a value (`{"result": …}`, which servers make for tools that return no mapping) is also taken without it."""
    told = message["result"]
    changed = False
    structured = told.get("structuredContent")
    if isinstance(structured, dict | list):
        changed = change(structured)
        if isinstance(structured, dict) and structured.keys() == {"result"}:
            changed |= _change_member(structured, "result", change)
    for part in lenient.mappings(told.get("content")):
        if isinstance(part.get("text"), str):
            changed |= _change_member(part, "text", change)
    return changed


def _change_member(parent: dict[str, Any], name: str, change: Change) -> bool:
    value = parent[name]
    if isinstance(value, dict | list):
        return change(value)
    inner = lenient.parse(value) if isinstance(value, str) else None
    if isinstance(inner, dict | list) and change(inner):
        parent[name] = _json_text(inner)
        return True
    return False
