"""What a chat completion says: from an untrusted response to an answer and the tool calls that it reports. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aegis.agents.httpcall import Response
from aegis.agents.lines import parse_object
from aegis.agents.record import AgentFault
from aegis.agents.tail import one_line


@dataclass(frozen=True, slots=True)
class ReportedCall:
    name: str
    arguments: Any
    id: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    content: str
    tool_calls: tuple[ReportedCall, ...] = ()


def read_reply(response: Response, turn: str) -> Reply:
    """Raises `AgentFault` for anything but a completion with a text."""
    if response.status != 200:
        words = one_line(response.body[:800].decode("utf-8", "replace"), 200)
        raise AgentFault(
            f"agent answered {turn} with status {response.status}" + (f": {words}" if words else "")
        )
    reply = parse_object(response.body, "a response")
    choices = reply.get("choices")
    if isinstance(choices, list) and len(choices) > 1:
        raise AgentFault(f"agent broke the protocol: {turn} was answered twice, with {len(choices)} choices")
    message = _message(reply)
    if message is None:
        shown = one_line(response.body[:400].decode("utf-8", "replace"), 100)
        raise AgentFault(f"agent broke the protocol with a response without choices[0].message: {shown}")
    content = message.get("content")
    if not isinstance(content, str):
        raise AgentFault('agent broke the protocol with a message whose "content" is not a text')
    calls = message.get("tool_calls")
    if calls is None:
        return Reply(content)
    if not isinstance(calls, list):
        raise AgentFault('agent broke the protocol with a message whose "tool_calls" are not a list')
    return Reply(content, tuple(_tool_call(call) for call in calls))


def _message(reply: dict[str, Any]) -> dict[str, Any] | None:
    match reply:
        case {"choices": [{"message": dict(message)}, *_]}:
            return message
    return None


def _tool_call(call: Any) -> ReportedCall:
    match call:
        case {"function": {"name": str(name), **function}} if name:
            arguments = function.get("arguments")
            size_bytes = len(json.dumps(call))
            id_ = call.get("id")
            return ReportedCall(name, _arguments(arguments), id_ if isinstance(id_, str) else "", size_bytes)
    raise AgentFault('agent broke the protocol with a tool call whose "function.name" is not a text')


def _arguments(arguments: Any) -> Any:
    """The format has them as a text that holds JSON; what is none stays as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return parse_object(arguments.encode("utf-8", "replace"), "arguments")
    except AgentFault:
        return arguments
