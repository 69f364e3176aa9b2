"""What the number of turns changes, by way of both transforms that add some."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aegis._eval.prepare import Prepared
from aegis.engine.spec import PlannedTrial
from aegis.stress.base import RejectedError
from aegis.stress.turncount import scaled
from aegis.suite.model import Agent, StressRule, Suite
from support.stress import case_of, variant

DEEP = "deep-conversation"


def test_each_further_turn_adds_to_the_timeout() -> None:
    assert variant(DEEP, case_of(), "40").case.added_time == 390
    assert variant(DEEP, case_of(), "40", turn_time="500ms").case.added_time == 19.5
    shards = [
        "I want a refund, I'm Ada.",
        'It\'s order 1042, the "blue mug", about $12.50, it arrived broken',
    ]
    shards.append("Please write to ada@mail.example, see https://shop.example/o?id=1042&x=y.")
    assert variant("shard-turns", case_of(), shards=shards).case.added_time == 20


@pytest.mark.parametrize(
    "limits",
    [{"seconds": 30}, {"steps": 4}, {"tokens": 900}, {"model_calls": 2}, {"usd": 0.1}, {"output_tokens": 9}],
)
def test_a_budget_that_turns_use_up_is_rejected_unless_it_is_scaled(limits: dict[str, Any]) -> None:
    case = case_of(expect=[{"answer": "refund"}, {"budget": limits}])
    with pytest.raises(RejectedError, match=f"limits {next(iter(limits))}.*budget: scale"):
        variant(DEEP, case, "40")
    (answer, budget) = variant(DEEP, case, "40", budget="scale").case.expect
    assert answer == case.expect[0]
    assert all(budget.config[key] > limits[key] for key in limits)


def test_a_budget_of_tool_calls_stays() -> None:
    case = case_of(expect=[{"budget": {"tool_calls": 3}}])
    assert variant(DEEP, case, "40").case.expect == case.expect
    assert variant(DEEP, case, "40", budget="scale").case.expect == case.expect


def test_how_limits_grow() -> None:
    limits = {"seconds": "30s", "steps": 3, "tokens": 1000, "usd": 0.5, "tool_calls": 2, "prices": {"m": {}}}
    assert scaled(limits, 1, 4) == {
        "seconds": "2m",
        "steps": 12,
        "tokens": 10_000,
        "usd": 5.0,
        "tool_calls": 2,
        "prices": {"m": {}},
    }
    assert scaled({"seconds": 2.25, "model_calls": 5}, 3, 4) == {
        "seconds": pytest.approx(3),
        "model_calls": 7,
    }
    assert scaled({"seconds": "200h"}, 1, 400)["seconds"] == "8784h"


@pytest.mark.parametrize(
    "config",
    [
        {"host": "api.openai.com", "count": 2},
        {"method": "POST", "count": {"max": 3}},
        {"method": ["POST", "PUT"], "host": "*.anthropic.com:443", "count": 1},
        {"path": "/v1/chat/*", "count": 1},
        {"host": "models.internal", "path": "/v1/messages", "count": 1},
    ],
)
def test_a_count_of_model_calls_is_rejected(config: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match="may be calls of a model"):
        variant(DEEP, case_of(expect=[{"request": config}]), "40")


@pytest.mark.parametrize(
    "config",
    [
        {"method": "POST", "host": "crm.example", "path": "/refunds", "count": 1},
        {"host": "crm.example", "count": {"max": 4}},
        {"method": "GET", "count": 2},
        {"host": "api.openai.com"},
        {"host": "api.openai.com", "count": {"min": 1}},
        {"host": "*.tracker.example", "denied": True, "count": 0},
        {"method": "POST", "count": 0},
        {"sequence": [{"method": "POST"}, {"method": "GET"}]},
    ],
)
def test_other_counts_are_right_for_any_number_of_turns(config: dict[str, Any]) -> None:
    case = case_of(expect=[{"request": config}])
    assert variant(DEEP, case, "40").case.expect == case.expect


@pytest.mark.parametrize(("case_timeout", "base_s"), [(None, 120), (30.0, 30)])
def test_the_trial_of_a_variant_has_the_added_time(case_timeout: float | None, base_s: float) -> None:
    case = case_of(timeout=case_timeout, stress=(StressRule(transform=DEEP, levels=("40",)),))
    suite = Suite(suite="s", agent=Agent(command="cat"), cases=(case,))
    files: Any = {case.id: SimpleNamespace(world=None, checks={})}
    recipe: Any = None

    def timeout_s(variant: str, override_s: float | None = None) -> float:
        prepared = Prepared(suite, recipe, files, override_s)
        return prepared.spec("run", PlannedTrial(case.id, variant, 1), 1, {case.id: case}).timeout_s

    assert timeout_s("baseline") == base_s
    assert timeout_s(f"{DEEP}.40") == base_s + 390
    assert timeout_s(f"{DEEP}.40", 7.0) == 7
