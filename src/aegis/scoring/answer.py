"""Scorer `answer`: the agent's last answer, as text or as JSON."""

from __future__ import annotations

from typing import Any

from aegis.scoring import matcher
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import refuse


class AnswerScorer:
    name = "answer"

    def check(self, config: Any) -> None:
        refuse(matcher.problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        judgement = await matcher.judge(config, context.trace.answer, "the answer")
        return Score(self.name, judgement.ok, float(judgement.ok), judgement.reason)


scorer = AnswerScorer()
