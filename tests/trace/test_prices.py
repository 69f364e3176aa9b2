"""What tokens cost: known, or unknown; never made up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.trace import prices
from aegis.trace.calls import ModelCall
from aegis.trace.usage import add_up

TOKENS: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 100}
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "url", "usd"),
    [
        ("gpt-4o", None, 0.0035),
        ("gpt-4o", "https://api.openai.com/v1/chat/completions", 0.0035),
        ("gpt-4o", "https://llm.internal/v1", 0.0035),
        ("openai/gpt-4o", "https://litellm.internal/v1", 0.0035),
        ("openai/gpt-4o", "https://openrouter.ai/api/v1", 0.0035),
        ("gpt-4o", "https://team.openai.azure.com/openai/deployments/x/chat/completions", 0.0035),
        ("meta-llama/llama-3.3-70b-instruct:free", "https://openrouter.ai/api/v1", 0.0),
        ("ours-7b", None, None),
        ("gpt-unheard-of-9", "https://api.openai.com/v1", None),
        # A host whose prices are known, and do not include this model.
        ("gpt-4o", "https://api.anthropic.com/v1", None),
        ("omni-moderation-latest", "https://api.openai.com/v1", None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_prices(model: str | None, url: str | None, usd: float | None) -> None:
    assert prices.price(model, url=url, at=AT, **TOKENS) == (None if usd is None else pytest.approx(usd))


def test_cached_tokens_are_cheaper() -> None:
    assert prices.price("gpt-4o", cached_tokens=800, at=AT, **TOKENS) == pytest.approx(0.0025)


@pytest.mark.parametrize(
    "tokens",
    [
        {"input_tokens": None, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": None},
        {"input_tokens": 1, "output_tokens": 1, "cached_tokens": 2},
    ],
)
def test_tokens_that_are_unknown_or_impossible_have_no_price(tokens: dict[str, Any]) -> None:
    assert prices.price("gpt-4o", **tokens) is None


def test_the_source_names_its_version() -> None:
    name, _, version = prices.source().partition(" ")
    assert name == "genai-prices"
    assert version[0].isdigit()


def call(**more: Any) -> ModelCall:
    return ModelCall(1, "openai-chat", "openai", "h", **more)


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    known = call(model_answered="a", input_tokens=10, output_tokens=5, usd=0.25, cached_tokens=4)
    unpriced = call(model_answered="b", input_tokens=1, output_tokens=1)
    silent = call(model_requested="c", incomplete=True)
    both = add_up([known, known], 3, "source")
    assert (both.input_tokens, both.output_tokens, both.usd, both.cached_tokens) == (20, 10, 0.5, 8)
    assert (both.tool_calls, both.unknown_cost, both.prices) == (3, (), "source")
    assert both.document() == {
        "input_tokens": 20,
        "output_tokens": 10,
        "usd": 0.5,
        "model_calls": 2,
        "tool_calls": 3,
    }
    mixed = add_up([known, unpriced, unpriced], 0, None)
    assert (mixed.usd, mixed.known_usd, mixed.unknown_cost, mixed.input_tokens) == (None, 0.25, ("b",), 12)
    broken = add_up([known, silent], 0, None)
    assert (broken.input_tokens, broken.known_input_tokens, broken.unread) == (None, 10, 1)
    nothing = add_up([], 0, "source")
    assert (nothing.usd, nothing.input_tokens, nothing.prices) == (0.0, 0, None)
