"""Calls as values: what was asked of a model, what it asked for, and what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call that a model asked for."""

    id: str
    """"" in formats that number nothing (older Gemini, OpenAI's `function_call`)."""
    name: str
    arguments: Any
    """The parsed value; the raw text when it is not JSON (also when the stream was cut in the middle of it)."""
    by_provider: bool = False
    """True for tools that the provider runs itself within the call (its web search, its MCP connector)."""
    result: Any = None
    """Of a tool that the provider ran, when it told."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the agent told the model that came of a tool call."""

    id: str
    name: str
    """"" in formats that tell the id only."""
    content: Any
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a model. Token counts are the provider's own; None where it told none, 0 for a request that it
    refused or never got.

    `input_tokens` holds everything that was read, cached or not (Anthropic's three numbers added up), and
    `output_tokens` everything that was written, thinking included. Times are seconds since the trial's clock zero.
    """

    exchange: int
    """Id of its exchange."""
    format: str
    """`openai-chat`, `openai-responses`, `anthropic-messages`, `gemini`."""
    provider: str
    """As OpenTelemetry names providers (`openai`, `aws.bedrock`, …); for an unknown host, the one whose format it
    speaks."""
    host: str
    model_requested: str | None = None
    model_answered: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """The part of `input_tokens` that was read from the provider's cache."""
    cache_write_tokens: int | None = None
    """The part of `input_tokens` that was written to the cache."""
    reasoning_tokens: int | None = None
    """The part of `output_tokens` that was thinking."""
    usd: float | None = None
    """None when the tokens or the model's price are unknown."""
    stop_reason: str | None = None
    """In the provider's own words (`stop`, `tool_use`, `MAX_TOKENS`)."""
    tool_requests: tuple[ToolRequest, ...] = ()
    text: str = ""
    """What the model said, cut at `lenient.MAX_TEXT_CHARS`; thinking and refusals' metadata are not in it."""
    error: str | None = None
    """The provider's error (`429: Rate limit reached`), or the connection's."""
    started_s: float = 0.0
    duration_s: float | None = None
    """None when the exchange never ended."""
    first_token_s: float | None = None
    """Seconds from the start until the first piece of content had been sent on to the agent; None when the answer
    was not streamed or its pieces' times are not known."""
    streamed: bool = False
    incomplete: bool = False
    """The answer broke off, or cannot be read to its end. What was there is here."""

    @property
    def model(self) -> str:
        """The name to call it by: the one that answered, else the one that was asked for."""
        return self.model_answered or self.model_requested or "unknown"

    @property
    def ended_s(self) -> float | None:
        return None if self.duration_s is None else self.started_s + self.duration_s

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelCall:
        """The inverse of `dataclasses.asdict`."""
        fields = dict(data)
        fields["tool_requests"] = tuple(ToolRequest(**item) for item in data.get("tool_requests", ()))
        return cls(**fields)
