"""Scorer `budget`: what the trial may cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import configs, spending
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse, seconds_of
from aegis.scoring.words import failed, passed
from aegis.suite.units import describe as kind_of

_COUNTS = ("tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls", "steps")
_KEYS = ("seconds", *_COUNTS, "usd", "prices")
_ORDER = ("seconds", "steps", "tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls", "usd")


class BudgetScorer:
    """Each key is a limit; all must be kept. What the trial has certainly spent is judged first: when that is too
    much, the score is failed. When it is not, but a part is unknown (a model without a price, an answer without token
    counts), nobody can tell: `InfrastructureError`, never a pass."""

    name = "budget"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        kept: list[str] = []
        over: list[str] = []
        unknown: list[str] = []
        for key in _ORDER:
            if key not in config:
                continue
            spent = spending.of(key, context.trace, config.get("prices", {}))
            limit = seconds_of(config[key]) if key == "seconds" else config[key]
            text = spending.told(key, spent, limit)
            if spent.amount > limit:
                over.append(text)
            elif spent.unknown is not None:
                unknown.append(spent.unknown)
            else:
                kept.append(text)
        if over:
            return failed(self.name, f"over budget: {', '.join(over)}")
        if unknown:
            words = "; ".join(dict.fromkeys(unknown))
            raise InfrastructureError(f"the budget cannot be judged: {words}", fix=spending.fixes(unknown))
        return passed(self.name, f"within budget: {', '.join(kept)}")


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    if not any(key in config for key in _ORDER):
        yield (), f"expected a limit: {', '.join(_ORDER)}"
    for key in _COUNTS:
        yield from configs.whole(config, key, least=1 if key == "steps" else 0)
    if "seconds" in config:
        try:
            seconds_of(config["seconds"])
        except ValueError as error:
            yield ("seconds",), str(error)
    if "usd" in config and not _is_amount(config["usd"]):
        yield ("usd",), f"expected US dollars such as 0.05, got {kind_of(config['usd'])}"
    if "prices" in config:
        if "usd" not in config:
            yield ("prices",), "prices without usd: there is no limit that they would count for"
        yield from _price_problems(config["prices"])


def _price_problems(prices: Any) -> Iterator[Problem]:
    if not isinstance(prices, Mapping) or not prices:
        yield (
            ("prices",),
            f"expected a mapping such as {{my-model: {{input: 1.0, output: 4.0}}}}, got {kind_of(prices)}",
        )
        return
    for model, price in prices.items():
        path = ("prices", model if isinstance(model, str | int) else str(model))
        for where, message in configs.keys(price, ("input", "output"), required=("input", "output")):
            yield (*path, *where), message
        if isinstance(price, Mapping):
            for key in ("input", "output"):
                if key in price and not _is_amount(price[key]):
                    yield (*path, key), f"expected US dollars per million tokens, got {kind_of(price[key])}"


def _is_amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


scorer = BudgetScorer()
