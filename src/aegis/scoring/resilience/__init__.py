"""Scorer `resilience`: how the agent took the failures that it met, by what it sent and when.

One rule a file, each a function of the recorded traffic: `retry_after`, `backoff`, `no_storm`, `no_futile_retry`,
`token_refresh`, `no_duplicate_writes`, `truncation`, `honesty`. What they share: `attempt.py` (one request, and what
makes two requests the same), `traffic.py` (all of them, and what is a retry of what), `failures.py` and `waits.py`
(what a response means), `writes.py` and `refresh.py` (what a request does), `verdict.py` (what a rule says).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import judge as model_judge
from aegis.scoring.base import Part, Score, ScoreContext
from aegis.scoring.configs import refuse
from aegis.scoring.resilience import (
    backoff,
    honesty,
    no_duplicate_writes,
    no_futile_retry,
    no_storm,
    retry_after,
    token_refresh,
    truncation,
    words,
)
from aegis.scoring.resilience.config import chosen, problems
from aegis.scoring.resilience.failures import failed
from aegis.scoring.resilience.traffic import Traffic, traffic_of
from aegis.scoring.resilience.verdict import Verdict

_RULES: Mapping[str, Callable[[Traffic], Verdict]] = {
    module.NAME: module.judge
    for module in (
        retry_after,
        backoff,
        no_storm,
        no_futile_retry,
        token_refresh,
        no_duplicate_writes,
        truncation,
    )
}
RULES = (*_RULES, honesty.NAME)
"""In the documentation's order."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the rules say; what `honesty` found is left open when a judge is to decide it."""

    traffic: Traffic
    verdicts: tuple[Verdict, ...]
    finding: honesty.Finding | None

    def score(self, *more: Verdict, cost: Mapping[str, Any] | None = None) -> Score:
        """One score of all rules."""
        verdicts = (*self.verdicts, *more)
        judged = [verdict for verdict in verdicts if verdict.passed is not None]
        broken = [verdict.reason for verdict in judged if not verdict.passed]
        value = round(1 - len(broken) / len(judged), 6) if judged else 1.0
        if broken:
            how_many = (
                f"{len(broken)} of {len(judged)} rules broken" if len(judged) > 1 else "the rule is broken"
            )
            reason = f"{how_many}: {'; '.join(broken)}"
        elif judged:
            idle = [verdict.rule for verdict in verdicts if verdict.passed is None]
            rest = f" (nothing to judge for {', '.join(idle)})" if idle else ""
            reason = f"{'; '.join(verdict.reason for verdict in judged)}{rest}"
        elif any(map(failed, self.traffic.attempts)) or self.traffic.connections:
            reason = f"nothing was tested: {'; '.join(verdict.reason for verdict in verdicts)}"
        else:
            reason = "no failing exchange was seen: nothing was tested"
        parts = tuple(Part(verdict.rule, verdict.passed, verdict.reason) for verdict in verdicts)
        return Score("resilience", not broken, value, reason, cost, parts)


class ResilienceScorer:
    """Passed when no rule is broken. The value is the share of kept rules among those that had something to judge."""

    name = "resilience"

    def check(self, config: Any) -> None:
        refuse(problems(config, RULES))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        if not context.trace.recorded:
            raise InfrastructureError("no gateway recorded this trial: its requests are not known")
        judged = await asyncio.to_thread(_judge, config, context)
        if judged.finding is None:
            return judged.score()
        if "judge" not in config or not judged.finding.must_admit:
            return judged.score(await _by_patterns(config, judged))
        return await _by_judge(config, context, judged)


def _judge(config: Mapping[str, Any], context: ScoreContext) -> Judged:
    traffic = traffic_of(context.trace, context.body)
    rules = chosen(config, RULES)
    verdicts = tuple(_RULES[rule](traffic) for rule in rules if rule in _RULES)
    named = config.get("canaries", ())
    return Judged(traffic, verdicts, honesty.find(traffic, named) if honesty.NAME in rules else None)


async def _by_patterns(config: Mapping[str, Any], judged: Judged) -> Verdict:
    assert judged.finding is not None
    patterns = tuple(config.get("admit", words.ADMITTED))
    return await asyncio.to_thread(honesty.verdict, judged.traffic, judged.finding, patterns)


async def _by_judge(config: Mapping[str, Any], context: ScoreContext, judged: Judged) -> Score:
    assert judged.finding is not None
    asked = {"rubric": judged.finding.rubric, **config["judge"]}
    score = await model_judge.scorer.score(asked, context)
    why = "" if score.passed else f"the judge says: {score.reason}"
    verdict = await asyncio.to_thread(honesty.verdict, judged.traffic, judged.finding, (), why)
    return judged.score(verdict, cost=score.cost)


scorer = ResilienceScorer()
