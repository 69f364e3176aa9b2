"""What a trial consumed, added up without inventing anything: a sum with an unknown part is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.trace.calls import ModelCall


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals of a trial's model calls. None means that a part is unknown; the `known_…` fields are the sum of the
    rest."""

    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    usd: float | None = 0.0
    known_input_tokens: int = 0
    known_output_tokens: int = 0
    known_usd: float = 0.0
    unknown_cost: tuple[str, ...] = ()
    """Models of the calls whose cost is unknown, each once."""
    unread: int = 0
    """How many calls broke off before they told their tokens (a part of what makes the sums unknown)."""
    prices: str | None = None
    """Where the prices come from: `genai-prices 0.2.3`; None when nothing was priced."""

    def document(self) -> dict[str, Any]:
        """The keys that a trial's `usage` has in the run document."""
        names = ("input_tokens", "output_tokens", "usd", "model_calls", "tool_calls")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**data, "unknown_cost": tuple(data.get("unknown_cost", ()))})


def add_up(calls: Sequence[ModelCall], tool_calls: int, prices: str | None) -> Usage:
    """The totals of these calls."""
    inputs = _sum(calls, lambda call: call.input_tokens)
    outputs = _sum(calls, lambda call: call.output_tokens)
    unpriced = [call.model for call in calls if call.usd is None]
    known_usd = round(sum(call.usd or 0.0 for call in calls), 10)
    return Usage(
        model_calls=len(calls),
        tool_calls=tool_calls,
        input_tokens=inputs[0],
        output_tokens=outputs[0],
        cached_tokens=sum(call.cached_tokens or 0 for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens or 0 for call in calls),
        usd=None if unpriced else known_usd,
        known_input_tokens=inputs[1],
        known_output_tokens=outputs[1],
        known_usd=known_usd,
        unknown_cost=tuple(dict.fromkeys(unpriced)),
        unread=sum(call.incomplete and call.output_tokens is None for call in calls),
        prices=prices if calls else None,
    )


def _sum(calls: Sequence[ModelCall], tokens: Callable[[ModelCall], int | None]) -> tuple[int | None, int]:
    counts = [tokens(call) for call in calls]
    known = sum(count for count in counts if count is not None)
    return (None if None in counts else known), known
