"""What a trial has spent of each thing that `budget` limits, and what is not known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis.scoring.words import plain
from aegis.trace import ModelCall, Trace


@dataclass(frozen=True, slots=True)
class Spent:
    amount: float
    """What was certainly spent."""
    unknown: str | None = None
    """Why more may have been spent, in words; None when the amount is all of it."""
    note: str = ""
    """What the reader should know of the amount."""


_NO_GATEWAY = "no gateway recorded this trial"
_NO_TOKENS = "the token counts of {} are unknown"
_NO_PRICE = "the cost of {} is unknown"


def of(key: str, trace: Trace, prices: Mapping[str, Any]) -> Spent:
    """What was spent of `key`, one of the limits of `budget`."""
    match key:
        case "seconds":
            waited = f" ({trace.waited_s:.1f} of waiting not counted)" if trace.waited_s >= 0.05 else ""
            return Spent(trace.own_s, note=waited)
        case "steps":
            return Spent(len(trace.turns) + len(trace.tool_calls))
        case "tool_calls":
            return Spent(len(trace.tool_calls), _unless_seen(trace, bool(trace.tool_calls)))
        case "model_calls":
            return Spent(len(trace.model_calls), _unless_seen(trace), _unopened(trace))
        case "usd":
            return _dollars(trace, prices)
        case _:
            return _tokens(key, trace)


def told(key: str, spent: Spent, limit: float) -> str:
    """`1200 of 1000 tokens`."""
    if key == "seconds":
        return f"{spent.amount:.1f} of {limit:g} seconds{spent.note}"
    if key == "usd":
        return f"${spent.amount:.6g} of ${limit:g}{spent.note}"
    return f"{spent.amount:.0f} of {limit} {key.replace('_', ' ')}{spent.note}"


def fixes(unknown: Iterable[str]) -> str | None:
    """What to do about it."""
    text = " ".join(unknown)
    if "cost of" in text:
        return "Give the model's price in the budget: prices: {MODEL: {input: USD, output: USD}} per million tokens."
    if "token counts" in text:
        return "Let the agent ask for them (OpenAI: stream_options: {include_usage: true})."
    return None


def _tokens(key: str, trace: Trace) -> Spent:
    kinds = ("input_tokens", "output_tokens") if key == "tokens" else (key,)
    amount, silent, cut = 0, [], 0
    for call in trace.model_calls:
        counts = [getattr(call, kind) for kind in kinds]
        amount += sum(count or 0 for count in counts)
        if None in counts:
            # A connection that broke (or was broken on purpose) says nothing against the agent.
            cut += call.incomplete
            silent += [] if call.incomplete else [call]
    unknown = _NO_TOKENS.format(_models(silent)) if silent else _unless_seen(trace)
    return Spent(amount, unknown, _notes(trace, cut))


def _dollars(trace: Trace, prices: Mapping[str, Any]) -> Spent:
    amount, silent, unpriced, cut = 0.0, [], [], 0
    for call in trace.model_calls:
        usd = _own_price(call, prices)
        usd = call.usd if usd is None else usd
        amount += usd or 0.0
        if usd is not None:
            continue
        if call.input_tokens is not None and call.output_tokens is not None:
            unpriced.append(call)
        elif call.incomplete:
            cut += 1
        else:
            silent.append(call)
    unknown = _NO_PRICE.format(_models(unpriced)) if unpriced else None
    unknown = unknown or (_NO_TOKENS.format(_models(silent)) if silent else _unless_seen(trace))
    return Spent(amount, unknown, _notes(trace, cut))


def _own_price(call: ModelCall, prices: Mapping[str, Any]) -> float | None:
    for model in (call.model_answered, call.model_requested):
        price = prices.get(model) if model is not None else None
        if price is not None and call.input_tokens is not None and call.output_tokens is not None:
            dollars = call.input_tokens * price["input"] + call.output_tokens * price["output"]
            return float(dollars) / 1_000_000
    return None


def _models(calls: Iterable[ModelCall]) -> str:
    names = list(dict.fromkeys(plain(call.model, 60) for call in calls))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"model {', '.join(names[:3])}{more}"


def _unless_seen(trace: Trace, seen: bool = False) -> str | None:
    return None if trace.recorded or seen else _NO_GATEWAY


def _notes(trace: Trace, cut: int) -> str:
    broken = f" (not counting {cut} call{'' if cut == 1 else 's'} that broke off)" if cut else ""
    return broken + _unopened(trace)


def _unopened(trace: Trace) -> str:
    hosts = trace.unopened_hosts
    return f" (not counting what went unopened to {', '.join(hosts[:3])})" if hosts else ""
