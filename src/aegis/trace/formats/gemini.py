"""Google Gemini (`POST …/models/NAME:generateContent`, `…:streamGenerateContent`), on the Gemini API and Vertex AI.

Source: https://ai.google.dev/api/generate-content. A stream is server-sent events with `alt=sse`, else one JSON array
that arrives in pieces. Function calls have ids in newer models only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aegis.trace import lenient
from aegis.trace.calls import ToolRequest, ToolResult
from aegis.trace.formats.base import Reading, conclude, error_words, json_events
from aegis.trace.message import Message

NAME = "gemini"

_PATH = re.compile(r"(?:/models/|/tunedModels/|/endpoints/)([^/:]+):(generateContent|streamGenerateContent)$")
_MAX_CHUNKS = 100_000


def claims(message: Message) -> bool:
    return _PATH.search(message.path) is not None


def read(message: Message) -> Reading:
    found = _PATH.search(message.path)
    reading = Reading(model_requested=unquote(found[1]) if found else None)
    reading.results = list(_results(message.request_map))
    reading.streamed = found is not None and found[2] == "streamGenerateContent"
    if not reading.streamed:
        body = lenient.mapping(message.response)
        _read_chunk(body, reading)
        return conclude(message, reading, "candidates" in body or "promptFeedback" in body)
    for chunk, end in _chunks(message):
        if _read_chunk(lenient.mapping(chunk), reading) and reading.first_content is None:
            reading.first_content = end
    return conclude(message, reading, reading.stop_reason is not None)


def _results(request: dict[str, Any]) -> Iterator[ToolResult]:
    for content in lenient.mappings(request.get("contents")):
        for part in lenient.mappings(content.get("parts")):
            found = lenient.mapping(part.get("functionResponse") or part.get("function_response"))
            if found:
                response = lenient.bounded(found.get("response"))
                failed = set(lenient.mapping(response)) == {"error"}
                yield ToolResult(
                    lenient.string(found.get("id")), lenient.string(found.get("name")), response, failed
                )


def _chunks(message: Message) -> Iterator[tuple[Any, int]]:
    if message.is_event_stream:
        for event, end, _ in json_events(message):
            yield event, end
        return
    yield from array_elements(message.response_bytes)


def array_elements(body: bytes) -> Iterator[tuple[Any, int]]:
    """The elements of a JSON array, each with the number of bytes up to its end, as far as the array is there.

    A body that is no array is one element.
    """
    text = body.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    position = _skip(text, 0, "[")
    counted = passed = 0
    for _ in range(_MAX_CHUNKS):
        try:
            value, stop = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return
        passed += len(text[counted:stop].encode("utf-8", "replace"))
        counted = stop
        yield value, passed
        position = _skip(text, stop, ",")


def _skip(text: str, position: int, mark: str) -> int:
    """After white space, at most one mark, and white space."""
    seen = False
    while position < len(text) and (
        text[position] in " \t\r\n\ufeff" or (text[position] == mark and not seen)
    ):
        seen = seen or text[position] == mark
        position += 1
    return position


def _read_chunk(chunk: dict[str, Any], reading: Reading) -> bool:
    """Returns whether there was content in it."""
    reading.model_answered = lenient.name(chunk.get("modelVersion")) or reading.model_answered
    _read_usage(lenient.mapping(chunk.get("usageMetadata")), reading)
    if chunk.get("error"):
        reading.error = error_words(chunk) or "error"
    blocked = lenient.mapping(chunk.get("promptFeedback")).get("blockReason")
    reading.stop_reason = lenient.name(blocked) or reading.stop_reason
    candidates = lenient.mappings(chunk.get("candidates"))
    if not candidates:
        return False
    reading.stop_reason = lenient.name(candidates[0].get("finishReason")) or reading.stop_reason
    parts = lenient.mappings(lenient.mapping(candidates[0].get("content")).get("parts"))
    for part in parts:
        call = lenient.mapping(part.get("functionCall"))
        if call:
            arguments = lenient.bounded(call.get("args", {}))
            identity, name = lenient.string(call.get("id")), lenient.string(call.get("name"))
            reading.tools.append(ToolRequest(identity, name, arguments))
        elif not part.get("thought") and (said := lenient.string(part.get("text"))):
            reading.text.append(said)
    return bool(parts)


def _read_usage(usage: dict[str, Any], reading: Reading) -> None:
    if not usage:
        return
    prompt, tools = (
        lenient.count(usage.get("promptTokenCount")),
        lenient.count(usage.get("toolUsePromptTokenCount")),
    )
    answer, thoughts = (
        lenient.count(usage.get(key)) for key in ("candidatesTokenCount", "thoughtsTokenCount")
    )
    if prompt is not None:
        reading.input_tokens = prompt + (tools or 0)
    if answer is not None or thoughts is not None:
        reading.output_tokens = (answer or 0) + (thoughts or 0)
    elif prompt is not None and lenient.count(usage.get("totalTokenCount")) == prompt:
        reading.output_tokens = 0
    reading.cached_tokens = lenient.first_count(usage.get("cachedContentTokenCount"), reading.cached_tokens)
    reading.reasoning_tokens = thoughts if thoughts is not None else reading.reasoning_tokens
