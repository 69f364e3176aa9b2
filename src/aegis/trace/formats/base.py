"""What every format has, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from aegis.trace import lenient
from aegis.trace.calls import ToolRequest, ToolResult
from aegis.trace.message import Message


@dataclass(slots=True)
class Reading:
    """What one exchange says, filled in piece by piece. The fields are those of `ModelCall`."""

    model_requested: str | None = None
    model_answered: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    stop_reason: str | None = None
    tools: list[ToolRequest] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    """The tool results that the request brings, in their order, those of earlier rounds among them."""
    text: list[str] = field(default_factory=list)
    error: str | None = None
    streamed: bool = False
    incomplete: bool = False
    first_content: int | None = None
    """Bytes of the stream up to the end of the first event with content."""


class Format(Protocol):
    """A module of this package."""

    NAME: str

    def claims(self, message: Message) -> bool:
        """Whether the request is one of this format. Only asked of HTTP POST requests."""

    def read(self, message: Message) -> Reading:
        """What it says. Never raises, whatever the bodies hold."""


@dataclass(slots=True)
class PartialTool:
    """A tool call whose arguments arrive in pieces."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    whole: Any = None
    """Arguments that came in one piece, parsed."""
    by_provider: bool = False
    result: Any = None

    def request(self) -> ToolRequest:
        written = "".join(self.pieces)
        arguments = lenient.parse_arguments(written) if written or self.whole is None else self.whole
        return ToolRequest(self.id, self.name, arguments, self.by_provider, self.result)


def json_events(message: Message) -> Iterator[tuple[Any, int, str]]:
    """(the JSON of an event's data or None, bytes up to its end, the data) of each event of a response."""
    for event in message.events:
        yield lenient.parse(event.data), event.end, event.data


def conclude(message: Message, reading: Reading, finished: bool) -> Reading:
    """What holds for every format: how the exchange ended. `finished`: the answer says that it is whole."""
    exchange = message.exchange
    if message.status >= 400 or not message.status:
        reading.error = exchange.error or plain_error(message)
        reading.incomplete = not message.status
        if (message.status or not exchange.upstream) and reading.input_tokens is None:
            # Refused, or never sent: nothing was read and nothing written.
            reading.input_tokens = reading.output_tokens = 0
        return reading
    if not finished:
        reading.incomplete = True
        reading.error = reading.error or exchange.error
        # Some providers count as they go: what they had counted so far is not what was written.
        reading.output_tokens = reading.reasoning_tokens = None
    return reading


def plain_error(message: Message) -> str:
    """`429: Rate limit reached`, from the error bodies that providers and proxies send."""
    if not message.status:
        return "no response"
    body = message.response
    if isinstance(body, list):
        body = body[0] if body else None
    words = error_words(body)
    if not words and body is None:
        words = " ".join(message.response_bytes[:400].decode("utf-8", "replace").split())
    return f"{message.status}: {words or message.exchange.reason}".rstrip(": ")


def error_words(body: Any) -> str:
    """The message of an error object, wherever it stands: `{error: {message}}`, `{error: text}`, `{message}`."""
    found = lenient.mapping(body)
    error = found.get("error", found)
    if isinstance(error, str):
        return lenient.cut(error, 1000)
    inner = lenient.mapping(error)
    words = lenient.string(inner.get("message")) or lenient.string(inner.get("type"))
    return lenient.cut(words, 1000)
