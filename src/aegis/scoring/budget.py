"""Scorer `budget`: what the trial may cost. Later work adds what only the gateway can measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.scoring import configs
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse, seconds_of
from aegis.scoring.words import failed, passed
from aegis.trace import Trace

_KEYS = ("seconds", "steps")
_LATER = ("tokens", "usd", "model_calls")


class BudgetScorer:
    """`seconds`: the agent's own time. `steps`: its answered turns and the tool calls that it reported."""

    name = "budget"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        trace = context.trace
        spent: list[str] = []
        over: list[str] = []
        if "seconds" in config:
            limit = seconds_of(config["seconds"])
            text = f"{trace.duration_s:.1f} of {limit:g} seconds"
            (over if trace.duration_s > limit else spent).append(text)
        if "steps" in config:
            text = f"{steps(trace)} of {config['steps']} steps"
            (over if steps(trace) > config["steps"] else spent).append(text)
        if over:
            return failed(self.name, f"over budget: {', '.join(over)}")
        return passed(self.name, f"within budget: {', '.join(spent)}")


def steps(trace: Trace) -> int:
    return len(trace.turns) + len(trace.tool_calls)


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, (*_KEYS, *_LATER))
    if not isinstance(config, Mapping):
        return
    for key in _LATER:
        if key in config:
            yield (key,), f"{key!r} is not yet supported: it needs the gateway"
    if not any(key in config for key in (*_KEYS, *_LATER)):
        yield (), "expected seconds, steps, or both"
    yield from configs.whole(config, "steps", least=1)
    if "seconds" in config:
        try:
            seconds_of(config["seconds"])
        except ValueError as error:
            yield ("seconds",), str(error)


scorer = BudgetScorer()
