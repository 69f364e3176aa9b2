"""What the loop and the model say to each other: a transcript of messages, and the model's next step.

The shapes are those of a chat-completions API, so a model behind HTTP needs only a translation to JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The model wants a tool to be called."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant", "tool"]
    content: Any
    """Text; for role `tool` the result as a JSON value; None for an assistant message that calls a tool."""
    request: ToolRequest | None = None
    """Set on an assistant message that calls a tool, and on the `tool` message that answers it."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as it is offered to the model; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's last word on this user message."""

    text: str


Step = ToolRequest | Answer


class Model(Protocol):
    """Decides the next step. Keeps no state: everything it knows is in the transcript."""

    def next(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Step:
        """One tool call or the answer. `transcript` ends in a user message or a tool result."""
