"""A chat-completions conversation as the rules see it, and the step that they answer with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from upstream.hearing import plain
from upstream.prompt import Prompt

MessageJson = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool is to be called."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The last word on this user message."""

    text: str


Step = ToolRequest | Answer


class View:
    """The conversation as the rules need it: the last user message, and which tools have answered since.

    Raises `ValueError` when no user has said anything.
    """

    def __init__(self, messages: Sequence[MessageJson]) -> None:
        self._messages = messages
        asked = [index for index, message in enumerate(messages) if message.get("role") == "user"]
        if not asked:
            raise ValueError("messages: there is none of role user")
        self._start = asked[-1]
        self._names = {
            call["id"]: call["function"]["name"]
            for message in messages
            if message.get("role") == "assistant"
            for call in message.get("tool_calls") or ()
        }

    @cached_property
    def text(self) -> str:
        """The last user message, as it was meant."""
        return plain(content_text(self._messages[self._start]))

    @cached_property
    def prompt(self) -> Prompt:
        """The operator's instructions. They are gone when whoever asks has left them out."""
        said = (
            content_text(message)
            for message in self._messages
            if message.get("role") in ("system", "developer")
        )
        return Prompt("\n".join(said))

    def wishes(self) -> Iterator[str]:
        """What the user has said so far, as it was written."""
        return (content_text(message) for message in self._messages if message.get("role") == "user")

    def read(self) -> str:
        """Everything that tools have answered for this user message."""
        return "\n".join(
            content_text(message)
            for message in self._messages[self._start :]
            if message.get("role") == "tool"
        )

    def observed(self, tool: str) -> Any:
        """The result of the tool's latest call for this user message, or None when it has not been called."""
        return next(self.all_observed(tool), None)

    def all_observed(self, tool: str) -> Iterator[Any]:
        """The results of the tool's calls for this user message, the latest first."""
        return (result for name, result in self._results(self._start) if name == tool)

    def earlier(self, tool: str) -> Any:
        """The result of the tool's latest call in the whole conversation, or None."""
        return next(self.all_earlier(tool), None)

    def all_earlier(self, tool: str) -> Iterator[Any]:
        """The results of the tool's calls in the whole conversation, the latest first."""
        return (result for name, result in self._results(0) if name == tool)

    def _results(self, start: int) -> Iterator[tuple[str, Any]]:
        for message in reversed(self._messages[start:]):
            if message.get("role") == "tool":
                yield self._names.get(message.get("tool_call_id"), ""), _value(content_text(message))


def content_text(message: MessageJson) -> str:
    """A message's content as one text: it may be a text, or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _value(text: str) -> Any:
    """A tool's result: JSON where it is some."""
    try:
        return json.loads(text)
    except ValueError:
        return text
