"""OpenAI's responses (`POST …/responses`).

Source: https://platform.openai.com/docs/api-reference/responses. Whatever item ends in `_call` is a tool call; one
with a `call_id` is the agent's to run, the others are run by the provider.
"""

from __future__ import annotations

from typing import Any

from aegis.trace import lenient
from aegis.trace.calls import ToolResult
from aegis.trace.formats.base import PartialTool, Reading, conclude, error_words, json_events
from aegis.trace.message import Message

NAME = "openai-responses"

_REQUEST_KEYS = {"input", "prompt", "previous_response_id", "conversation"}
_FINAL = {"response.completed", "response.incomplete", "response.failed"}
_TEXT_DELTAS = {"response.output_text.delta", "response.refusal.delta"}
_TOOL_DELTAS = {
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.mcp_call_arguments.delta",
}


def claims(message: Message) -> bool:
    if message.path.endswith("/responses"):
        return bool(_REQUEST_KEYS & message.request_map.keys())
    if "input" not in message.request_map:
        return False
    if message.is_event_stream:
        first = next((event for event, _, _ in json_events(message)), None)
        return lenient.mapping(first).get("type") == "response.created"
    body = lenient.mapping(message.response)
    return body.get("object") == "response" and isinstance(body.get("output"), list)


def read(message: Message) -> Reading:
    request = message.request_map
    reading = Reading(model_requested=lenient.name(request.get("model")))
    reading.results = [found for item in lenient.mappings(request.get("input")) if (found := _result(item))]
    if message.is_event_stream:
        return conclude(message, reading, _read_stream(message, reading))
    body = lenient.mapping(message.response)
    _read_response(body, reading)
    return conclude(message, reading, "output" in body or "status" in body)


def _result(item: dict[str, Any]) -> ToolResult | None:
    if not lenient.string(item.get("type")).endswith("_call_output"):
        return None
    output = item.get("output")
    content = (
        lenient.cut(lenient.text_of(output)) if isinstance(output, str | list) else lenient.bounded(output)
    )
    return ToolResult(lenient.string(item.get("call_id")), "", content, item.get("status") == "failed")


def _read_response(body: dict[str, Any], reading: Reading) -> None:
    """A whole response object, as it stands in a plain answer or at the end of a stream."""
    reading.model_answered = lenient.name(body.get("model")) or reading.model_answered
    if body.get("error"):
        reading.error = error_words(body) or "error"
    details = lenient.mapping(body.get("incomplete_details"))
    reading.stop_reason = lenient.name(details.get("reason")) or lenient.name(body.get("status"))
    usage = lenient.mapping(body.get("usage"))
    if usage:
        read = lenient.mapping(usage.get("input_tokens_details"))
        reading.input_tokens = lenient.count(usage.get("input_tokens"))
        reading.output_tokens = lenient.count(usage.get("output_tokens"))
        reading.cached_tokens = lenient.count(read.get("cached_tokens"))
        reading.cache_write_tokens = lenient.count(read.get("cache_write_tokens"))
        written = lenient.mapping(usage.get("output_tokens_details"))
        reading.reasoning_tokens = lenient.count(written.get("reasoning_tokens"))
    items = lenient.mappings(body.get("output"))
    if items:
        said = [part for item in items if item.get("type") == "message" for part in _said(item)]
        reading.text, reading.tools = ["\n".join(said)], []
    for item in items:
        if _is_tool(item):
            partial = PartialTool()
            _fill_tool(partial, item)
            reading.tools.append(partial.request())


def _said(item: dict[str, Any]) -> list[str]:
    parts = lenient.mappings(item.get("content"))
    return [said for part in parts if (said := lenient.string(part.get("text") or part.get("refusal")))]


def _is_tool(item: dict[str, Any]) -> bool:
    return lenient.string(item.get("type")).endswith("_call")


def _fill_tool(partial: PartialTool, item: dict[str, Any]) -> None:
    partial.id = lenient.string(item.get("call_id")) or lenient.string(item.get("id"))
    partial.name = lenient.string(item.get("name")) or lenient.string(item.get("type")).removesuffix("_call")
    partial.by_provider = "call_id" not in item
    if partial.by_provider:
        told = next((item[key] for key in ("output", "results", "outputs", "error") if item.get(key)), None)
        partial.result = lenient.bounded(told)
    written = item.get("arguments", item.get("input"))
    if isinstance(written, str):
        # The whole of it replaces the pieces that came before.
        partial.pieces = [written] if written else partial.pieces
    else:
        known = ("action", "operation", "queries", "code", "input", "arguments")
        partial.whole = lenient.bounded(next((item[key] for key in known if item.get(key) is not None), {}))


def _read_stream(message: Message, reading: Reading) -> bool:
    """Returns whether the stream came to its end."""
    reading.streamed = True
    tools: dict[Any, PartialTool] = {}
    finished = False
    for event, end, _ in json_events(message):
        body = lenient.mapping(event)
        kind = lenient.string(body.get("type"))
        if _read_event(kind, body, reading, tools) and reading.first_content is None:
            reading.first_content = end
        if kind in _FINAL:
            finished = True
        elif kind == "error":
            reading.error = error_words(body) or "error"
        if kind in _FINAL or kind == "response.created":
            reading.tools = [partial.request() for partial in tools.values()]
            _read_response(lenient.mapping(body.get("response")), reading)
    if not finished:
        reading.tools = [partial.request() for partial in tools.values()]
        reading.stop_reason = None
    return finished


def _read_event(kind: str, body: dict[str, Any], reading: Reading, tools: dict[Any, PartialTool]) -> bool:
    """Returns whether there was content in it."""
    delta = lenient.string(body.get("delta"))
    place = lenient.count(body.get("output_index"))
    if kind in _TEXT_DELTAS:
        reading.text.append(delta)
        return bool(delta)
    if kind in _TOOL_DELTAS:
        tools.setdefault(place, PartialTool()).pieces.append(delta)
        return True
    item = lenient.mapping(body.get("item"))
    if kind in ("response.output_item.added", "response.output_item.done") and _is_tool(item):
        _fill_tool(tools.setdefault(place, PartialTool()), item)
        return True
    return kind.startswith("response.reasoning") and bool(delta)
