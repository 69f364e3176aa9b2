from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from aegis.faults.plan import profiles
from aegis.faults.plan.reading import read_faults
from aegis.faults.plan.weather import Weather
from aegis.faults.plan.when import hits
from aegis.suite.faultkeys import Reach
from aegis.suite.model import FaultRule
from aegis.suite.problems import Problems
from support.storm import KEY

NAMES = ("openai", "anthropic", "github", "stripe", "slack", "oauth2")
SHORT_TRIAL = 10
"""Matching requests of a trial that is not long."""


def rules_of(name: str, folder: Path) -> tuple[FaultRule, ...]:
    problems = Problems({}, lambda path: (name, 1))
    rules = read_faults(name, ("faults",), problems, reach=Reach(complete=False), folder=folder)
    assert [str(problem) for problem in problems.found] == []
    assert rules
    return rules


@pytest.mark.parametrize("name", NAMES)
def test_it_is_dated_and_sourced_and_says_what_it_is(name: str) -> None:
    profile = profiles.load(name)
    assert datetime.date.fromisoformat(profile.checked) >= datetime.date(2026, 1, 1)
    assert profile.description.endswith(".")
    assert all(source.startswith("https://") for source in profile.sources)
    assert profile.sources


@pytest.mark.parametrize("name", NAMES)
def test_its_rules_are_read_and_make_a_weather(name: str, tmp_path: Path) -> None:
    rules = rules_of(name, tmp_path)
    assert len({rule.id for rule in rules}) == len(rules)
    assert len(Weather(rules, KEY).reports()) == len(rules)


@pytest.mark.parametrize("name", NAMES)
def test_a_short_trial_meets_it(name: str, tmp_path: Path) -> None:
    def met(rule: FaultRule) -> bool:
        return any(
            hits(rule, KEY, route="POST a.b/c", number=number, nth=number, at_s=1.0, fired=0)
            for number in range(1, SHORT_TRIAL + 1)
        )

    rules = rules_of(name, tmp_path)
    assert met(rules[0])
    assert sum(map(met, rules)) >= min(2, len(rules))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_it_lasts_for_ever(name: str, tmp_path: Path) -> None:
    assert [
        report.id for report in Weather(rules_of(name, tmp_path), KEY).reports() if report.permanent
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_providers_are_named_and_not_guessed(name: str, tmp_path: Path) -> None:
    wanted = {"oauth2": "generic"}.get(name, name)
    found = {rule.params.get("provider", wanted) for rule in rules_of(name, tmp_path)}
    assert found == {wanted}
