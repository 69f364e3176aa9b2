"""Scorer `budget` where the gateway's measures count: tokens, calls, dollars."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring import registry
from aegis.scoring.base import Score
from aegis.trace import Exchange
from support import wire
from support.scoring import context

CHAT = "/v1/chat/completions"
PRICED = wire.exchange(CHAT, {"model": "gpt-5-mini"}, wire.chat("Hi."))
"""1,000 tokens read and 100 written, $0.000405."""
UNPRICED = wire.exchange(CHAT, {"model": "ours"}, wire.chat(model="ours-7b"), host="llm.internal", id=2)
SILENT = wire.exchange(
    CHAT, {"model": "gpt-5-mini"}, wire.events(wire.chat_chunk({"content": "x"}, "stop"), "[DONE]"), id=3
)
CUT = replace(PRICED, id=4, response_body=wire.body('{"choi'), error="upstream-cut: closed")
REFUSED = wire.exchange(CHAT, {"model": "ours"}, {"error": {"message": "slow down"}}, status=429, id=5)
DENIED = replace(PRICED, id=6, kind="denied", host="evil.example")
UNOPENED = replace(PRICED, id=7, kind="tls-passthrough", host="bank.example")


def score(config: Any, exchanges: Sequence[Exchange] | None) -> Score:
    assert registry.check("budget", config) == []
    work = registry.get("budget").score(config, context(exchanges=exchanges))
    return asyncio.run(work)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "exchanges", "passed", "reason"),
    [
        ({"tokens": 1100}, [PRICED], True, "within budget: 1100 of 1100 tokens"),
        ({"tokens": 1099}, [PRICED], False, "over budget: 1100 of 1099 tokens"),
        (
            {"input_tokens": 1000, "output_tokens": 99},
            [PRICED],
            False,
            "over budget: 100 of 99 output tokens",
        ),
        ({"model_calls": 2}, [PRICED, UNPRICED], True, "within budget: 2 of 2 model calls"),
        ({"model_calls": 0}, [DENIED], True, "within budget: 0 of 0 model calls"),
        ({"tool_calls": 0}, [PRICED], True, "within budget: 0 of 0 tool calls"),
        ({"usd": 0.001}, [PRICED], True, "within budget: $0.000405 of $0.001"),
        ({"usd": 0.0004}, [PRICED], False, "over budget: $0.000405 of $0.0004"),
        # Too much is too much, whatever else is unknown.
        ({"usd": 0.0004}, [PRICED, UNPRICED], False, "over budget: $0.000405 of $0.0004"),
        ({"tokens": 5}, [PRICED, SILENT], False, "over budget: 1100 of 5 tokens"),
        # What was refused cost nothing, at any model.
        ({"usd": 0, "tokens": 0}, [REFUSED], True, "within budget: 0 of 0 tokens, $0 of $0"),
        # What broke off is no reason to doubt the rest.
        ({"tokens": 1100}, [PRICED, CUT], True, "1100 of 1100 tokens (not counting 1 call that broke off)"),
        ({"usd": 1}, [PRICED, CUT], True, "$0.000405 of $1 (not counting 1 call that broke off)"),
        (
            {"model_calls": 1},
            [PRICED, UNOPENED],
            True,
            "(not counting what went unopened to bank.example:443)",
        ),
    ],
)
def test_what_was_spent(config: Any, exchanges: list[Exchange], passed: bool, reason: str) -> None:
    found = score(config, exchanges)
    assert (found.passed, reason in found.reason) == (passed, True), found.reason


def test_a_price_of_ones_own() -> None:
    prices = {"ours-7b": {"input": 2, "output": 10.0}}
    assert score({"usd": 0.003, "prices": prices}, [UNPRICED]).reason == "within budget: $0.003 of $0.003"
    assert not score({"usd": 0.0029, "prices": prices}, [UNPRICED]).passed
    assert score({"usd": 0.003, "prices": {"ours": prices["ours-7b"]}}, [UNPRICED]).passed


@pytest.mark.parametrize(
    ("config", "exchanges", "message", "fix"),
    [
        ({"usd": 1}, [PRICED, UNPRICED], "the cost of model ours-7b is unknown", "prices: {MODEL"),
        (
            {"usd": 1},
            [SILENT],
            "the token counts of model gpt-5-mini-2025-08-07 are unknown",
            "include_usage",
        ),
        ({"tokens": 9999}, [SILENT], "the token counts of model", "include_usage"),
        ({"tokens": 9999, "seconds": 5}, None, "no gateway recorded this trial", None),
        ({"model_calls": 1}, None, "no gateway recorded this trial", None),
        ({"tool_calls": 1}, None, "no gateway recorded this trial", None),
        ({"usd": 1}, None, "no gateway recorded this trial", None),
    ],
)
def test_what_nobody_can_tell_is_neither_kept_nor_broken(
    config: Any, exchanges: Any, message: str, fix: str | None
) -> None:
    with pytest.raises(InfrastructureError, match="the budget cannot be judged") as caught:
        score(config, exchanges)
    assert message in str(caught.value)
    assert caught.value.fix is None if fix is None else fix in str(caught.value.fix)
