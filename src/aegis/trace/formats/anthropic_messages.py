"""Anthropic's messages (`POST …/v1/messages`), also as Bedrock (`/model/NAME/invoke…`) and Vertex AI
(`…/NAME:rawPredict`, `…:streamRawPredict`) carry them, where the model's name stands in the path.

Source: https://docs.anthropic.com/en/api/messages. Bedrock streams in AWS's binary framing (eventstream.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aegis.trace import eventstream, lenient
from aegis.trace.calls import ToolResult
from aegis.trace.formats.base import PartialTool, Reading, conclude, error_words, json_events
from aegis.trace.message import Message, header

NAME = "anthropic-messages"

_CLOUD_PATH = re.compile(
    r"/model/(?P<bedrock>[^/]+)/invoke(-with-response-stream)?$|/models/(?P<vertex>[^/:]+):(r|streamR)awPredict$"
)


def claims(message: Message) -> bool:
    request = message.request_map
    if not isinstance(request.get("messages"), list):
        return False
    if message.path.endswith("/messages"):
        known = header(message.exchange.request_headers, "anthropic-version")
        return bool(known) or "max_tokens" in request or "anthropic_version" in request
    if "anthropic_version" in request and _CLOUD_PATH.search(message.path):
        return True
    if message.is_event_stream:
        first = next((event for event, _, _ in json_events(message)), None)
        return lenient.mapping(first).get("type") == "message_start"
    body = lenient.mapping(message.response)
    return body.get("type") == "message" and isinstance(body.get("content"), list)


def read(message: Message) -> Reading:
    request = message.request_map
    reading = Reading(model_requested=lenient.name(request.get("model")) or _model_in(message.path))
    reading.results = list(_results(request))
    if message.is_event_stream or eventstream.is_event_stream(message.content_type):
        return conclude(message, reading, _read_stream(message, reading))
    body = lenient.mapping(message.response)
    _read_common(body, reading)
    if body.get("type") == "error":
        reading.error = error_words(body) or "error"
    blocks = [_Block(block) for block in lenient.mappings(body.get("content"))]
    _finish(blocks, reading)
    return conclude(message, reading, "content" in body)


def _model_in(path: str) -> str | None:
    found = _CLOUD_PATH.search(path)
    return unquote(found["bedrock"] or found["vertex"]) if found else None


def _results(request: dict[str, Any]) -> Iterator[ToolResult]:
    for sent in lenient.mappings(request.get("messages")):
        for block in lenient.mappings(sent.get("content")):
            if block.get("type") == "tool_result":
                content = lenient.cut(lenient.text_of(block.get("content")))
                identity = lenient.string(block.get("tool_use_id"))
                yield ToolResult(identity, "", content, block.get("is_error") is True)


def _read_common(body: dict[str, Any], reading: Reading) -> None:
    reading.model_answered = lenient.name(body.get("model")) or reading.model_answered
    reading.stop_reason = lenient.name(body.get("stop_reason")) or reading.stop_reason
    _read_usage(body, reading, final=True)


def _read_usage(body: dict[str, Any], reading: Reading, *, final: bool) -> None:
    """`final`: False at a stream's beginning, where the count of written tokens is only a start."""
    usage = lenient.mapping(body.get("usage"))
    fresh = lenient.count(usage.get("input_tokens"))
    # The end of a stream may repeat the first number and leave the other two out.
    read = lenient.first_count(usage.get("cache_read_input_tokens"), reading.cached_tokens)
    written = lenient.first_count(usage.get("cache_creation_input_tokens"), reading.cache_write_tokens)
    if fresh is not None:
        reading.input_tokens = fresh + (read or 0) + (written or 0)
        reading.cached_tokens, reading.cache_write_tokens = read, written
    if final and (output := lenient.count(usage.get("output_tokens"))) is not None:
        reading.output_tokens = output
        details = lenient.mapping(usage.get("output_tokens_details"))
        reading.reasoning_tokens = lenient.count(details.get("thinking_tokens"))


class _Block:
    """One content block, whole or growing."""

    def __init__(self, block: dict[str, Any]) -> None:
        self.kind = lenient.string(block.get("type"))
        self.text = [lenient.string(block.get("text"))] if self.kind == "text" else []
        self.source = lenient.string(block.get("tool_use_id"))
        self.result = lenient.bounded(block.get("content"))
        # A stream's block begins with an empty input, which the pieces then replace.
        whole = lenient.bounded(block.get("input"))
        self.tool = PartialTool(
            lenient.string(block.get("id")), lenient.string(block.get("name")), whole=whole
        )
        self.tool.by_provider = self.kind in ("server_tool_use", "mcp_tool_use")

    def grow(self, delta: dict[str, Any]) -> bool:
        """Returns whether there was content in the delta."""
        text = lenient.string(delta.get("text"))
        if text:
            self.text.append(text)
        written = lenient.string(delta.get("partial_json"))
        if written:
            self.tool.pieces.append(written)
        return bool(text or written or delta.get("thinking"))


def _finish(blocks: list[_Block], reading: Reading) -> None:
    reading.text = ["\n".join("".join(block.text) for block in blocks if any(block.text))]
    told = {block.source: block.result for block in blocks if block.kind.endswith("tool_result")}
    for block in blocks:
        if block.kind.endswith("tool_use"):
            block.tool.result = told.get(block.tool.id)
            reading.tools.append(block.tool.request())


def _read_stream(message: Message, reading: Reading) -> bool:
    """Returns whether the stream came to its end."""
    reading.streamed = True
    blocks: dict[Any, _Block] = {}
    stopped = False
    for event, end in _stream(message):
        body = lenient.mapping(event)
        match body.get("type"):
            case "message_start":
                start = lenient.mapping(body.get("message"))
                reading.model_answered = lenient.name(start.get("model"))
                _read_usage(start, reading, final=False)
            case "content_block_start":
                place = lenient.count(body.get("index"))
                blocks[place] = _Block(lenient.mapping(body.get("content_block")))
            case "content_block_delta":
                block = blocks.setdefault(lenient.count(body.get("index")), _Block({"type": "text"}))
                if block.grow(lenient.mapping(body.get("delta"))) and reading.first_content is None:
                    reading.first_content = end
            case "message_delta":
                delta = lenient.mapping(body.get("delta"))
                reading.stop_reason = lenient.name(delta.get("stop_reason")) or reading.stop_reason
                _read_usage(body, reading, final=True)
            case "message_stop":
                stopped = True
            case "error":
                reading.error = error_words(body) or "error"
    _finish(list(blocks.values()), reading)
    return stopped or (reading.stop_reason is not None and reading.error is None)


def _stream(message: Message) -> Iterator[tuple[Any, int]]:
    if eventstream.is_event_stream(message.content_type):
        yield from eventstream.parse_payloads(message.response_bytes)[0]
        return
    for event, end, _ in json_events(message):
        yield event, end
