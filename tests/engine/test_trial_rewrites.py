"""A variant that the gateway had to make, and a trial of which it changed nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from engine_values import ScriptedNetwork, case, spec, tools

from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.engine.trial import run_trial
from aegis.suite.model import FaultMatch, FaultRule
from aegis.trace import Exchange
from support import wire
from support.fake_driver import FakeDriver

CALL = wire.exchange(
    "/v1/chat/completions", {"model": "gpt-5-mini", "messages": []}, wire.chat("Looking.", [])
)
PROMPT = FaultRule(
    id="conflict", inject="rewrite/system-prompt", match=FaultMatch(call="model"), require_fired=True
)
FAULT = FaultRule(id="late", inject="latency")


@dataclass
class Noting(ScriptedNetwork):
    rules: list[str] = field(default_factory=list)

    async def open(
        self,
        trial: PlannedTrial,
        *,
        suite: str = "",
        faults: Sequence[FaultRule] = (),
        shown_s: float | None = None,
        weather_of: PlannedTrial | None = None,
    ) -> ScriptedNetwork:
        self.rules += [rule.id for rule in faults]
        return await super().open(trial, suite=suite, faults=faults)


def attempt(exchanges: list[Exchange], rewrite: FaultRule = PROMPT, *, expect: bool = True) -> TrialResult:
    network = Noting(exchanges=exchanges)
    the_case = case(expect=expect, faults=(FAULT,), rewrites=(rewrite,))
    result = asyncio.run(run_trial(spec(the_case), tools(FakeDriver(), network=network))).result
    assert network.rules == ["late", "conflict"]
    return result


@pytest.mark.parametrize(
    "exchanges", [[], [CALL], [replace(CALL, rewrites=("another",), faults=("conflict",))]]
)
@pytest.mark.parametrize("expect", [True, False])
def test_a_variant_that_changed_nothing_has_proved_nothing(exchanges: list[Exchange], expect: bool) -> None:
    result = attempt(exchanges, expect=expect)
    assert result.outcome == "error"
    assert result.reason.startswith(
        "the gateway saw nothing that the variant could change: conflict (model calls); it proves nothing"
    )
    assert result.scores == ()


def test_one_exchange_is_enough() -> None:
    assert attempt([CALL, replace(CALL, id=2, rewrites=("conflict",))]).outcome == "passed"


def test_a_rewrite_that_need_not_happen() -> None:
    assert attempt([CALL], PROMPT.model_copy(update={"require_fired": False})).outcome == "passed"


def test_the_result_tells_how_many_exchanges_were_rewritten() -> None:
    optional = PROMPT.model_copy(update={"require_fired": False})
    made = replace(CALL, id=2, rewrites=("conflict",))
    assert attempt([CALL, made, replace(made, id=3)], optional).rewritten == 2
    assert attempt([CALL], optional).rewritten == 0
    plain = run_trial(spec(case()), tools(FakeDriver(), network=Noting(exchanges=[CALL])))
    assert asyncio.run(plain).result.rewritten is None
