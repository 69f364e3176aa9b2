"""A trace as rows in the order of time, for whoever shows it. Texts come as they are: they are the agent's, and
whoever prints them makes them safe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aegis.trace.calls import ModelCall
from aegis.trace.exchange import Exchange
from aegis.trace.faults import not_fired
from aegis.trace.model import ServiceLog, ToolCall, Trace


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened."""

    kind: str
    """`user`, `answer`, `model`, `tool`, `request`, `denied`, `unopened`, `service`, `end`."""
    title: str
    """One line: what happened."""
    at_s: float | None = None
    """Seconds since the agent's start; None when nothing told the time."""
    duration_s: float | None = None
    facts: tuple[str, ...] = ()
    """Short facts beside the title (`1,200 + 80 tokens`, `$0.0004`, `cut off`)."""
    body: tuple[tuple[str, str], ...] = ()
    """(label, text of any length) below it."""


def rows(trace: Trace) -> list[Row]:
    """Everything that a reader may want to see, in order."""
    times_s = trace.turn_times_s
    models = {call.exchange for call in trace.model_calls}
    found: list[tuple[float, int, Row]] = []
    for index, (turn, (started_s, ended_s)) in enumerate(zip(trace.turns, times_s, strict=True)):
        label = f"turn {index + 1}"
        by = ("simulated",) if turn.simulated else ()
        found.append((started_s, 0, Row("user", label, started_s, facts=by, body=(("", turn.user),))))
        ended = (f"the user then ended: {turn.user_ended}",) if turn.user_ended else ()
        answer = Row("answer", label, ended_s, turn.duration_s, facts=ended, body=(("", turn.answer),))
        found.append((ended_s, 9, answer))
    hit_by = {exchange.id: exchange.faults for exchange in trace.exchanges}
    found += [(call.started_s, 1, _model(call, hit_by.get(call.exchange, ()))) for call in trace.model_calls]
    for tool in trace.tool_calls:
        at = tool.started_s
        # Those that only the agent reported have no time: they stand at the end of their turn.
        place = at if at is not None else _end_of(tool.turn, times_s)
        found.append((place, 2 if at is not None else 8, _tool(tool)))
    tools = _made_by(trace)
    for exchange in trace.exchanges:
        if exchange.id not in models:
            found.append((exchange.started_s, 3, _exchange(exchange, tools.get(exchange.id, ()))))
    ordered = [row for _, _, row in sorted(found, key=lambda item: item[:2])]
    return [*ordered, *map(_service, trace.services), *_end(trace)]


def _service(service: ServiceLog) -> Row:
    facts = [f"ended with {service.ended}"] if service.ended else []
    if service.dropped:
        facts.append(f"{service.dropped:,} earlier lines were not kept")
    body = (("", "\n".join(service.lines)),) if service.lines else ()
    return Row("service", service.name, facts=tuple(facts), body=body)


def _end_of(turn: int, times_s: tuple[tuple[float, float], ...]) -> float:
    return times_s[min(turn, len(times_s) - 1)][1] if times_s else 0.0


def _made_by(trace: Trace) -> dict[int, tuple[str, ...]]:
    made: dict[int, tuple[str, ...]] = {}
    for tool in trace.tool_calls:
        for exchange in tool.exchanges:
            made[exchange] = (*made.get(exchange, ()), tool.name)
    return made


def _model(call: ModelCall, faults: tuple[str, ...]) -> Row:
    asked = "" if call.model_requested in (None, call.model) else f" (asked for {call.model_requested})"
    facts = [_tokens(call), money(call.usd), *_timing(call)]
    if call.stop_reason:
        facts.append(f"stop: {call.stop_reason}")
    if call.incomplete:
        facts.append("cut off")
    if call.error:
        facts.append(f"error: {call.error}")
    facts += [f"fault: {fault}" for fault in faults]
    body = [("says", call.text)] if call.text else []
    body += [("asks for", f"{item.name} {as_text(item.arguments)}") for item in call.tool_requests]
    title = f"{call.model}{asked} at {call.host}"
    return Row("model", title, call.started_s, call.duration_s, tuple(facts), tuple(body))


def _tokens(call: ModelCall) -> str:
    def number(count: int | None) -> str:
        return "?" if count is None else f"{count:,}"

    cached = f" ({call.cached_tokens:,} cached)" if call.cached_tokens else ""
    thought = f" ({call.reasoning_tokens:,} thinking)" if call.reasoning_tokens else ""
    return f"{number(call.input_tokens)}{cached} + {number(call.output_tokens)}{thought} tokens"


def _timing(call: ModelCall) -> Iterator[str]:
    if call.first_token_s is not None:
        yield f"first token after {call.first_token_s:.2f} s"


def _tool(tool: ToolCall) -> Row:
    facts = [f"seen by: {', '.join(tool.seen)}"]
    if tool.permission:
        facts.append(f"permission: {tool.permission}")
    if tool.is_error:
        facts.append("failed")
    if tool.asked_in is not None and tool.answered_in is None and tool.result is None:
        facts.append("no result seen")
    body = [("result", as_text(tool.result))] if tool.result is not None else []
    lasted = None if tool.started_s is None or tool.ended_s is None else tool.ended_s - tool.started_s
    title = f"{tool.name} {as_text(tool.arguments)}"
    return Row("tool", title, tool.started_s, lasted, tuple(facts), tuple(body))


def _exchange(exchange: Exchange, tools: tuple[str, ...]) -> Row:
    lasted = None if exchange.ended_s is None else exchange.ended_s - exchange.started_s
    place = f"{exchange.host}:{exchange.port}"
    facts = [f"by {' or '.join(dict.fromkeys(tools))}"] if tools else []
    facts += [f"fault: {fault}" for fault in exchange.faults]
    if exchange.error:
        facts.append(exchange.error)
    if exchange.kind == "denied":
        return Row("denied", place, exchange.started_s, lasted, tuple(facts))
    if exchange.kind == "tls-passthrough":
        return Row("unopened", place, exchange.started_s, lasted, ("passed through unopened", *facts))
    if exchange.kind in ("http", "websocket"):
        title = f"{exchange.method} {exchange.scheme}://{_authority(exchange)}{exchange.path}"
        status = "no response" if exchange.status is None else f"{exchange.status} {exchange.reason}".strip()
        facts = [status, *_size(exchange), *facts]
    elif exchange.kind == "mcp-stdio":
        facts = [*_size(exchange), *facts]
        return Row("mcp", f"{exchange.host}{exchange.path}", exchange.started_s, lasted, tuple(facts))
    else:
        title = f"{exchange.kind} {place}"
    return Row("request", title, exchange.started_s, lasted, tuple(facts))


def _authority(exchange: Exchange) -> str:
    usual = {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(exchange.scheme)
    return exchange.host if exchange.port == usual else f"{exchange.host}:{exchange.port}"


def _size(exchange: Exchange) -> Iterator[str]:
    if exchange.response_body is not None and exchange.response_body.size_bytes:
        yield f"{exchange.response_body.size_bytes:,} bytes"
    if exchange.replayed:
        yield "replayed"


def _end(trace: Trace) -> Iterator[Row]:
    usage = trace.usage
    if usage is not None:
        facts = (
            f"{usage.model_calls} model calls",
            f"{usage.tool_calls} tool calls",
            f"{_total(usage.input_tokens, usage.known_input_tokens)} input tokens",
            f"{_total(usage.output_tokens, usage.known_output_tokens)} output tokens",
            total_cost(trace),
        )
        yield Row("end", "totals", trace.duration_s, body=(), facts=facts)
    if trace.denied_hosts:
        yield Row("end", "refused (not in network.allow)", facts=trace.denied_hosts)
    if trace.unopened_hosts:
        yield Row("end", "passed through unopened", facts=trace.unopened_hosts)
    for fault in trace.faults:
        told = (
            f"hit {fault.fired} of {fault.matched} matches"
            if fault.fired
            else f"never fired: {not_fired(fault)}"
        )
        yield Row("end", f"fault {fault.id}", facts=(told, *fault.notes))
    if trace.exit is not None:
        tails = (("standard error", trace.stderr_tail), ("other output", trace.stdout_tail))
        body = tuple((label, text) for label, text in tails if text.strip())
        yield Row("end", f"the agent ended: {trace.exit}", trace.duration_s, body=body)


def _total(count: int | None, known: int) -> str:
    return f"{count:,}" if count is not None else f"unknown (at least {known:,})"


def total_cost(trace: Trace) -> str:
    """`$0.0123 (genai-prices 0.2.3)`, or `cost unknown (model x; at least $0.01)`."""
    usage = trace.usage
    if usage is None:
        return "cost unknown"
    if usage.usd is None:
        known = f"; at least {money(usage.known_usd)}" if usage.known_usd else ""
        return f"cost unknown ({', '.join(usage.unknown_cost)}{known})"
    return f"{money(usage.usd)} ({usage.prices})" if usage.prices else money(usage.usd)


def money(usd: float | None) -> str:
    """US dollars with as many digits as small amounts need."""
    if usd is None:
        return "cost unknown"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.6f}".rstrip("0")


def as_text(value: Any) -> str:
    """A value as compact JSON; a text as it is."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(type(value).__name__)
