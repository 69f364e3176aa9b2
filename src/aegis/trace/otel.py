"""A trace as OpenTelemetry spans with the GenAI semantic conventions, as OTLP/HTTP's JSON (an own small encoder: the
format is a page long, the SDK is not).

One trace per trial: the span `invoke_agent` over all of it, below it the model calls (`chat MODEL`), the tool calls
(`execute_tool NAME`), and below a tool call the HTTP requests that it made. Ids are hashes of the trial's name, so
sending a trial twice gives the same spans. Sources: https://opentelemetry.io/docs/specs/semconv/gen-ai/ and
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aegis._version import __version__
from aegis.trace.calls import ModelCall
from aegis.trace.exchange import Exchange
from aegis.trace.model import ToolCall, Trace
from aegis.trace.timeline import as_text

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

MAX_TEXT_CHARS = 32_768
"""Longer attribute values are cut: collectors refuse large spans."""

_INTERNAL, _CLIENT = 1, 3
_ERROR = 2


@dataclass(frozen=True, slots=True)
class TrialName:
    """Which trial a trace is of."""

    run_id: str
    suite: str
    case: str
    variant: str
    number: int
    outcome: str = ""
    reason: str = ""


def to_otlp(trace: Trace, trial: TrialName, *, started_at: datetime, texts: bool = True) -> dict[str, Any]:
    """The body of an OTLP/HTTP export request. `started_at` is the trial's clock zero (with a time zone). Without
    `texts`, what was said, tools' arguments and their results are left out."""
    spans = list(_Spans(trace, trial, started_at, texts).all())
    resource = _attributes({"service.name": "aegis", "service.version": __version__})
    scope = {"name": "aegis", "version": __version__}
    scoped = {"scope": scope, "spans": spans, "schemaUrl": SCHEMA_URL}
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scoped]}]}


class _Spans:
    def __init__(self, trace: Trace, trial: TrialName, started_at: datetime, texts: bool) -> None:
        self._trace = trace
        self._trial = trial
        self._zero_ns = int(started_at.timestamp() * 1_000_000) * 1000
        self._texts = texts
        self._name = f"{trial.run_id}\0{trial.case}\0{trial.variant}\0{trial.number}"
        self._trace_id = self._hash("trace")[:32]
        self._root = self._hash("root")[:16]

    def all(self) -> Iterator[dict[str, Any]]:
        yield self._trial_span()
        for call in self._trace.model_calls:
            yield self._model_span(call)
        parents: dict[int, str] = {}
        for index, tool in enumerate(self._trace.tool_calls):
            yield self._tool_span(index, tool)
            parents.update(dict.fromkeys(tool.exchanges, self._id(f"tool {index}")))
        models = {call.exchange for call in self._trace.model_calls}
        for exchange in self._trace.exchanges:
            if exchange.id not in models:
                yield self._exchange_span(exchange, parents.get(exchange.id, self._root))

    def _trial_span(self) -> dict[str, Any]:
        trace, trial, usage = self._trace, self._trial, self._trace.usage
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": trial.suite,
            "gen_ai.conversation.id": f"{trial.run_id}/{trial.case}/{trial.number}",
            "gen_ai.usage.input_tokens": usage and usage.input_tokens,
            "gen_ai.usage.output_tokens": usage and usage.output_tokens,
            "aegis.run": trial.run_id,
            "aegis.suite": trial.suite,
            "aegis.case": trial.case,
            "aegis.variant": trial.variant,
            "aegis.trial": trial.number,
            "aegis.outcome": trial.outcome or None,
            "aegis.cost_usd": usage and usage.usd,
            "gen_ai.input.messages": self._text([_message("user", turn.user) for turn in trace.turns]),
            "gen_ai.output.messages": self._text(
                [_message("assistant", turn.answer) for turn in trace.turns]
            ),
        }
        bad = trial.reason if trial.outcome not in ("", "passed") else None
        name = f"invoke_agent {trial.suite}"
        return self._span(self._root, "", name, _INTERNAL, 0.0, trace.duration_s, attributes, bad)

    def _model_span(self, call: ModelCall) -> dict[str, Any]:
        operation = "generate_content" if call.format == "gemini" else "chat"
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": call.provider,
            "gen_ai.request.model": call.model_requested,
            "gen_ai.response.model": call.model_answered,
            "gen_ai.response.finish_reasons": [call.stop_reason] if call.stop_reason else None,
            "gen_ai.response.time_to_first_chunk": call.first_token_s,
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
            "gen_ai.usage.cache_creation.input_tokens": call.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
            "server.address": call.host,
            "error.type": _error_type(call.error, call.incomplete),
            "aegis.cost_usd": call.usd,
            "aegis.incomplete": call.incomplete or None,
            "gen_ai.output.messages": self._output(call),
        }
        span_id, name = self._id(f"exchange {call.exchange}"), f"{operation} {call.model}"
        bad = call.error or ("the answer broke off" if call.incomplete else None)
        return self._span(span_id, self._root, name, _CLIENT, call.started_s, call.ended_s, attributes, bad)

    def _output(self, call: ModelCall) -> str | None:
        parts: list[dict[str, Any]] = [{"type": "text", "content": call.text}] if call.text else []
        for item in call.tool_requests:
            parts.append({"type": "tool_call", "id": item.id, "name": item.name, "arguments": item.arguments})
        return self._text([{"role": "assistant", "parts": parts, "finish_reason": call.stop_reason}])

    def _tool_span(self, index: int, tool: ToolCall) -> dict[str, Any]:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.call.id": tool.id or None,
            "gen_ai.tool.type": "extension" if "provider" in tool.seen else "function",
            "gen_ai.tool.call.arguments": self._text(tool.arguments),
            "gen_ai.tool.call.result": self._text(tool.result),
            "error.type": "tool_error" if tool.is_error else None,
        }
        bad = "the tool failed" if tool.is_error else None
        span_id, started_s = self._id(f"tool {index}"), tool.started_s or 0.0
        return self._span(
            span_id,
            self._root,
            f"execute_tool {tool.name}",
            _INTERNAL,
            started_s,
            tool.ended_s,
            attributes,
            bad,
        )

    def _exchange_span(self, exchange: Exchange, parent: str) -> dict[str, Any]:
        http = exchange.kind in ("http", "websocket")
        usual = {"http": 80, "https": 443}.get(exchange.scheme)
        port = "" if exchange.port == usual else f":{exchange.port}"
        failed = exchange.error or (exchange.status is not None and exchange.status >= 400)
        attributes = {
            "http.request.method": exchange.method if http else None,
            "url.full": f"{exchange.scheme}://{exchange.host}{port}{exchange.path}" if http else None,
            "http.response.status_code": exchange.status if http else None,
            "server.address": exchange.host,
            "server.port": exchange.port or None,
            "network.peer.address": exchange.upstream or None,
            "error.type": (exchange.error or str(exchange.status)).partition(":")[0] if failed else None,
            "aegis.exchange": exchange.id,
            "aegis.kind": exchange.kind,
            "aegis.faults": list(exchange.faults) or None,
        }
        span_id = self._id(f"exchange {exchange.id}")
        name = exchange.method if http else f"{exchange.kind} {exchange.host}"
        bad = (exchange.error or f"HTTP status {exchange.status}") if failed else None
        times = exchange.started_s, exchange.ended_s
        return self._span(span_id, parent, name, _CLIENT, *times, attributes, bad)

    def _span(
        self,
        span_id: str,
        parent: str,
        name: str,
        kind: int,
        started_s: float,
        ended_s: float | None,
        attributes: Mapping[str, Any],
        bad: str | None,
    ) -> dict[str, Any]:
        end = max(started_s, started_s if ended_s is None else ended_s)
        status: dict[str, Any] = {"code": _ERROR, "message": _cut(bad)} if bad is not None else {}
        return {
            "traceId": self._trace_id,
            "spanId": span_id,
            "parentSpanId": parent,
            "name": _cut(name, 200),
            "kind": kind,
            # 64-bit integers are strings in JSON's encoding of protocol buffers.
            "startTimeUnixNano": str(self._at(started_s)),
            "endTimeUnixNano": str(self._at(end)),
            "attributes": _attributes(attributes),
            "status": status,
        }

    def _at(self, seconds: float) -> int:
        return self._zero_ns + round(seconds * 1e9)

    def _text(self, value: Any) -> str | None:
        return None if value is None or not self._texts else as_text(value)

    def _id(self, what: str) -> str:
        return self._hash(what)[:16]

    def _hash(self, what: str) -> str:
        return hashlib.sha256(f"{self._name}\0{what}".encode("utf-8", "replace")).hexdigest()


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _error_type(error: str | None, incomplete: bool) -> str | None:
    if error is None:
        return "incomplete" if incomplete else None
    return error.partition(":")[0][:60]


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Key-value pairs; what is None is left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": _cut(str(value))}


def _cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    # Lone surrogates (an agent can write them) have no place in UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"
