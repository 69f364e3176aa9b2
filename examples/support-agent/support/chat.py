"""The model: OpenAI's chat completions, streamed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPResponse
from typing import Any

from support.errors import BrokenAnswerError
from support.web import Site


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says: text, or tools that it wants to be called."""

    text: str
    tool_calls: tuple[ToolCall, ...]

    def message(self) -> dict[str, Any]:
        """As the next requests show it to the model."""
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.tool_calls
        ]
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        return {**message, "tool_calls": calls} if calls else message


class Chat:
    def __init__(self, site: Site, model: str) -> None:
        self._site = site
        self._model = model

    def next(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Reply:
        """The model's next step. Raises `support.errors.ServiceError` when it gives none.

        Asking changes nothing, so an answer that broke off is simply asked for again."""
        body = {
            "model": self._model,
            "messages": list(messages),
            "tools": list(tools),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        read = partial(read_stream, whole=self._site.manners.wants_whole_answers)
        return self._site.post("/chat/completions", body, read=read)


def read_stream(response: HTTPResponse, *, whole: bool = True) -> Reply:
    """Put the chunks of a streamed answer together. Raises `BrokenAnswerError` unless it came to its proper end; with
    `whole` false what has come is taken for all of it."""
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    finished = False
    while line := response.readline():
        field, _, data = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        data = data.strip()
        if field != "data" or not data:
            continue
        if data == "[DONE]":
            response.read()
            break
        finished = _add(_chunk(data), text, calls) or finished
    else:
        finished = False
    if whole and not finished:
        raise BrokenAnswerError("the stream broke off")
    return Reply("".join(text), tuple(ToolCall(**calls[index]) for index in sorted(calls)))


def _chunk(data: str) -> Mapping[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        raise BrokenAnswerError(f"not JSON: {data[:100]!r}") from None
    if not isinstance(chunk, dict) or "error" in chunk:
        raise BrokenAnswerError(f"not a chunk: {data[:200]}")
    return chunk


def _add(chunk: Mapping[str, Any], text: list[str], calls: dict[int, dict[str, str]]) -> bool:
    """Take in one chunk; whether it says that the answer is complete."""
    try:
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            text.append(delta.get("content") or delta.get("refusal") or "")
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                function = part.get("function") or {}
                call["id"] += part.get("id") or ""
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
            if choice.get("finish_reason"):
                return True
    except (LookupError, TypeError, AttributeError):
        raise BrokenAnswerError("a chunk in another form") from None
    return False
