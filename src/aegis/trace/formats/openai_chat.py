"""OpenAI's chat completions (`POST …/chat/completions`), which most compatible servers speak.

Source: https://platform.openai.com/docs/api-reference/chat. Azure puts the deployment's name into the path
(`/openai/deployments/NAME/chat/completions`).
"""

from __future__ import annotations

import re
from typing import Any

from aegis.trace import lenient
from aegis.trace.calls import ToolRequest, ToolResult
from aegis.trace.formats.base import PartialTool, Reading, conclude, error_words, json_events
from aegis.trace.message import Message

NAME = "openai-chat"

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")


def claims(message: Message) -> bool:
    if message.path.endswith("/chat/completions"):
        return True
    # A gateway with paths of its own: the answer tells.
    if not isinstance(message.request_map.get("messages"), list):
        return False
    if message.is_event_stream:
        return any(_is_answer(event, "delta") for event, _, _ in json_events(message))
    return _is_answer(message.response, "message")


def _is_answer(body: Any, part: str) -> bool:
    return any(part in choice for choice in lenient.mappings(lenient.mapping(body).get("choices")))


def read(message: Message) -> Reading:
    request = message.request_map
    reading = Reading(model_requested=lenient.name(request.get("model")))
    if reading.model_requested is None and (deployment := _DEPLOYMENT.search(message.path)):
        reading.model_requested = deployment[1]
    reading.results = [
        result for sent in lenient.mappings(request.get("messages")) if (result := _result(sent))
    ]
    if message.is_event_stream:
        return conclude(message, reading, _read_stream(message, reading))
    body = lenient.mapping(message.response)
    choices = lenient.mappings(body.get("choices"))
    _read_common(body, reading)
    if choices:
        _read_message(lenient.mapping(choices[0].get("message")), reading)
        reading.stop_reason = lenient.name(choices[0].get("finish_reason"))
    return conclude(message, reading, bool(choices))


def _result(sent: dict[str, Any]) -> ToolResult | None:
    if sent.get("role") not in ("tool", "function"):
        return None
    content = lenient.cut(lenient.text_of(sent.get("content")))
    return ToolResult(lenient.string(sent.get("tool_call_id")), lenient.string(sent.get("name")), content)


def _read_common(body: dict[str, Any], reading: Reading) -> None:
    reading.model_answered = lenient.name(body.get("model")) or reading.model_answered
    if body.get("error"):
        reading.error = error_words(body) or "error"
    # Groq's streams tell it in a field of their own.
    usage = lenient.mapping(body.get("usage") or lenient.mapping(body.get("x_groq")).get("usage"))
    if not usage:
        return
    read = lenient.mapping(usage.get("prompt_tokens_details"))
    written = lenient.mapping(usage.get("completion_tokens_details"))
    reading.input_tokens = lenient.count(usage.get("prompt_tokens"))
    reading.output_tokens = lenient.count(usage.get("completion_tokens"))
    # DeepSeek tells cache hits in a field of its own.
    reading.cached_tokens = lenient.first_count(
        read.get("cached_tokens"), usage.get("prompt_cache_hit_tokens")
    )
    reading.cache_write_tokens = lenient.count(read.get("cache_write_tokens"))
    reading.reasoning_tokens = lenient.count(written.get("reasoning_tokens"))


def _read_message(answer: dict[str, Any], reading: Reading) -> None:
    reading.text = [part for key in ("content", "refusal") if (part := lenient.text_of(answer.get(key)))]
    reading.tools = [_tool(item) for item in lenient.mappings(answer.get("tool_calls"))]
    if isinstance(answer.get("function_call"), dict):
        reading.tools.append(_tool({"function": answer["function_call"]}))


def _tool(item: dict[str, Any]) -> ToolRequest:
    partial = PartialTool()
    _add_tool(partial, item)
    return partial.request()


def _add_tool(partial: PartialTool, item: dict[str, Any]) -> None:
    partial.id = partial.id or lenient.string(item.get("id"))
    inner = lenient.mapping(item.get("function")) or lenient.mapping(item.get("custom"))
    if name := lenient.string(inner.get("name")):
        partial.name = partial.name or name
    arguments = inner.get("arguments", inner.get("input"))
    if isinstance(arguments, str):
        partial.pieces.append(arguments)
    elif arguments is not None:  # some compatible servers send the object itself
        partial.whole = lenient.bounded(arguments)


def _read_stream(message: Message, reading: Reading) -> bool:
    """Returns whether the stream came to its end."""
    reading.streamed = True
    tools: dict[Any, PartialTool] = {}
    done = False
    for event, end, data in json_events(message):
        done = done or data.strip() == "[DONE]"
        chunk = lenient.mapping(event)
        _read_common(chunk, reading)
        for choice in lenient.mappings(chunk.get("choices")):
            if lenient.count(choice.get("index")):
                continue  # one of several answers (n > 1): the first one counts
            delta = lenient.mapping(choice.get("delta"))
            if _read_delta(delta, reading, tools) and reading.first_content is None:
                reading.first_content = end
            reading.stop_reason = lenient.name(choice.get("finish_reason")) or reading.stop_reason
    reading.tools = [partial.request() for partial in tools.values()]
    return done or reading.stop_reason is not None


def _read_delta(delta: dict[str, Any], reading: Reading, tools: dict[Any, PartialTool]) -> bool:
    """Returns whether there was content in it."""
    said = [part for key in ("content", "refusal") if (part := lenient.text_of(delta.get(key)))]
    reading.text += said
    calls = lenient.mappings(delta.get("tool_calls"))
    if isinstance(delta.get("function_call"), dict):
        calls.append({"index": -1, "function": delta["function_call"]})
    for item in calls:
        _add_tool(tools.setdefault(_tool_key(item, tools), PartialTool()), item)
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    return bool(said or calls or thought)


def _tool_key(item: dict[str, Any], tools: dict[Any, PartialTool]) -> Any:
    """Which call a piece belongs to. Servers that leave the index out begin each call with its id."""
    index, identity = item.get("index"), lenient.string(item.get("id"))
    if isinstance(index, int):
        # Some servers number every call 0 and tell them apart by id.
        known = tools.get(index)
        if known is None or not identity or not known.id or known.id == identity:
            return index
        return identity
    return identity or next(reversed(tools), 0)
