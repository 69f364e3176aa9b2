"""Which exchanges are calls of a model, and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aegis.trace import lenient, prices
from aegis.trace.calls import ModelCall, ToolResult
from aegis.trace.exchange import Exchange
from aegis.trace.formats import Reading, format_of
from aegis.trace.message import FetchBlob, Message
from aegis.trace.providers import provider_of


@dataclass(frozen=True, slots=True)
class ObservedCall:
    """A model call, with the tool results that its request brought along."""

    call: ModelCall
    results: tuple[ToolResult, ...] = ()


def observe(
    exchanges: Iterable[Exchange], fetch_blob: FetchBlob, at: datetime | None = None
) -> list[ObservedCall]:
    """The model calls among the exchanges, in their order. `at`: the time that prices are looked up for."""
    return [seen for exchange in exchanges if (seen := observe_one(exchange, fetch_blob, at))]


def observe_one(exchange: Exchange, fetch_blob: FetchBlob, at: datetime | None = None) -> ObservedCall | None:
    """The model call that this exchange is, or None."""
    message = Message(exchange, fetch_blob)
    found = format_of(message)
    if found is None:
        return None
    reading = found.read(message)
    call = _call(message, found.NAME, reading, at)
    return ObservedCall(call, tuple(reading.results))


def _call(message: Message, format: str, reading: Reading, at: datetime | None) -> ModelCall:
    exchange = message.exchange
    duration_s = None if exchange.ended_s is None else exchange.ended_s - exchange.started_s
    return ModelCall(
        exchange=exchange.id,
        format=format,
        provider=provider_of(exchange.host, format),
        host=exchange.host,
        model_requested=reading.model_requested,
        model_answered=reading.model_answered,
        input_tokens=reading.input_tokens,
        output_tokens=reading.output_tokens,
        cached_tokens=reading.cached_tokens,
        cache_write_tokens=reading.cache_write_tokens,
        reasoning_tokens=reading.reasoning_tokens,
        usd=_usd(message, reading, at),
        stop_reason=reading.stop_reason,
        tool_requests=tuple(reading.tools),
        text=lenient.cut("".join(reading.text)),
        error=reading.error,
        started_s=exchange.started_s,
        duration_s=duration_s,
        first_token_s=_first_token(message, reading),
        streamed=reading.streamed,
        incomplete=reading.incomplete,
    )


def _usd(message: Message, reading: Reading, at: datetime | None) -> float | None:
    if reading.input_tokens == 0 and reading.output_tokens == 0:
        return 0.0  # refused or never sent: true of every model, also of unknown ones
    exchange = message.exchange
    for model in (reading.model_answered, reading.model_requested):
        usd = prices.price(
            model,
            input_tokens=reading.input_tokens,
            output_tokens=reading.output_tokens,
            cached_tokens=reading.cached_tokens,
            cache_write_tokens=reading.cache_write_tokens,
            url=f"https://{exchange.host}{message.path}",
            at=at,
        )
        if usd is not None:
            return usd
    return None


def _first_token(message: Message, reading: Reading) -> float | None:
    if reading.first_content is None:
        return None
    sent = message.sent_at(reading.first_content)
    return None if sent is None else max(0.0, sent - message.exchange.started_s)
