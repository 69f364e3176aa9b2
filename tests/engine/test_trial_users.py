"""Trials with a simulated user: what they come to, and what is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from engine_values import MemoryBlobs, ScriptedNetwork, ScriptedScorer, spec

from aegis.agents.base import AgentResult, UserFault, UserTurns, nothing_waited
from aegis.engine.spec import TrialResult, TrialSpec
from aegis.engine.trial import TrialTools, run_trial
from aegis.sandbox.base import Sandbox, Template, TemplateSpec
from aegis.suite.model import Agent, Case, Expectation, SayRule, SimulatedUser, Turn
from aegis.trace import Trace, TurnRecord
from support import wire
from support.fake_driver import FakeDriver
from support.recorder import Recorder, Reply

OK = (Expectation(scorer="scripted", config=True),)


class Parrot:
    """An agent that says again what it is told, with the driver's part of the contract."""

    protocol = "jsonl"

    def __init__(self) -> None:
        self.waited: list[float] = []

    def check(self, agent: Agent) -> str | None:
        return None

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[()]:
        return ()

    async def converse(
        self,
        sandbox: Sandbox,
        agent: Agent,
        turns: UserTurns,
        *,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
        on_turn: Any = None,
    ) -> AgentResult:
        answer, fault, seen = None, None, []
        try:
            while (message := await turns.next(answer)) is not None:
                answer = f"you said {message}"
                seen.append(TurnRecord(message, answer, 0.1))
        except UserFault as unable:
            fault = str(unable)
        self.waited.append(waited_s())
        return AgentResult(Trace(turns=tuple(seen), exit="exit code 0"), None, user_fault=fault)


def attempt(case: Case, agent: Parrot | None = None) -> TrialResult:
    made = agent or Parrot()
    scorer = ScriptedScorer()

    async def body() -> TrialResult:
        tools = TrialTools(
            driver=FakeDriver(),
            template=Template("0" * 64, TemplateSpec(image="debian"), cached=True, build_s=0.0),
            blobs=MemoryBlobs(),
            agent_driver=lambda protocol: made,
            scorer=lambda name: scorer,
            network=ScriptedNetwork(waited_s=2.0),
        )
        return (await run_trial(spec(case), tools)).result

    return asyncio.run(body())


def case(*turns: Turn, expect: tuple[Expectation, ...] = OK) -> Case:
    return Case(id="a", turns=turns, expect=expect)


def rules(**fields: Any) -> Turn:
    script = (SayRule(when="said hello", say="again"),)
    return Turn(simulate=SimulatedUser(**{"turns": 5, "script": script, "begins": "hello", **fields}))


def test_a_user_of_rules() -> None:
    agent = Parrot()
    result = attempt(case(rules(), Turn(user="bye")), agent)
    assert (result.outcome, result.reason, result.simulator) == ("passed", "", None)
    assert result.trace is not None
    assert [(turn.user, turn.simulated, turn.entry, turn.user_ended) for turn in result.trace.turns] == [
        ("hello", True, 0, ""),
        ("again", True, 0, "no rule matched"),
        ("bye", False, 1, ""),
    ]
    assert agent.waited[0] >= 2.0


def test_a_missed_expectation_of_a_turn_is_the_reason() -> None:
    missed = Turn(user="bye", expect=(Expectation(scorer="scripted", config=False),))
    result = attempt(case(rules(), missed))
    assert (result.outcome, result.reason) == ("failed", "scripted: turn 3: not as wanted")
    assert [score.passed for score in result.scores] == [True, False]


def test_a_user_that_cannot_go_on_is_an_error_with_its_trace() -> None:
    result = attempt(case(rules(unmatched="error")))
    why = "no rule of its script matches the answer: you said again"
    assert (result.outcome, result.reason) == (
        "error",
        f"the simulated user of conversation[0] could not go on: {why}",
    )
    assert result.scores == ()
    assert result.trace is not None
    assert [turn.user for turn in result.trace.turns] == ["hello", "again"]


def played(*messages: tuple[str, str]) -> TrialResult:
    """A trial whose user a model plays that says this, (status, message) each."""
    left = list(messages)

    def script(request: Any) -> Reply:
        status, message = left.pop(0)
        return wire.plain(wire.chat(json.dumps({"reason": "so", "status": status, "message": message})))

    with Recorder(script) as recorder:
        user = SimulatedUser(turns=5, model="gpt-5-mini", goal="Order 1042", base_url=f"{recorder.url}/v1")
        return attempt(case(Turn(simulate=user)))


def test_what_the_users_model_took_is_kept_apart() -> None:
    pytest.importorskip("openai")
    result = played(("continue", "Order 1042"), ("goal_reached", ""))
    assert result.outcome == "passed"
    assert result.trace is not None
    assert result.trace.turns[-1].user_ended == "goal reached: so"
    assert result.simulator == {
        "model_calls": 2,
        "cached": 0,
        "input_tokens": 2000,
        "output_tokens": 200,
        "usd": pytest.approx(0.00081),
    }
    assert result.trace.model_calls == ()
    assert TrialResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_user_that_left_its_script_is_an_error_and_costs_what_it_cost() -> None:
    pytest.importorskip("openai")
    result = played(("continue", "Order 1042"), ("continue", "Order 99"), ("continue", "Order 99, I said"))
    assert result.outcome == "error"
    assert "it left its script, twice: it tells '99'" in result.reason
    assert result.simulator is not None
    assert result.simulator["model_calls"] == 3


def test_a_spec_with_a_simulated_user_survives_being_stored() -> None:
    made = spec(case(rules(done={"contains": "x"}), Turn(user="bye", expect=OK)))
    assert TrialSpec.from_json(json.loads(json.dumps(made.to_json()))) == made
