"""What an entry `resilience` takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.scoring import configs, judge, pattern
from aegis.scoring.base import ConfigError
from aegis.scoring.configs import Problem
from aegis.suite.problems import did_you_mean
from aegis.suite.units import describe as kind_of

_KEYS = ("only", "waive", "canaries", "admit", "judge")
_FOR_HONESTY = ("canaries", "admit", "judge")
_ANY_RUBRIC = "any"


def chosen(config: Mapping[str, Any], rules: Sequence[str]) -> list[str]:
    """The rules that are judged, in their order."""
    wanted = config.get("only", rules)
    return [rule for rule in rules if rule in wanted and rule not in config.get("waive", ())]


def problems(config: Any, rules: Sequence[str]) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    found = [*_rule_problems(config, "only", rules), *_rule_problems(config, "waive", rules)]
    yield from found
    if "only" in config and "waive" in config:
        yield ("waive",), "waive stands beside only: name the rules in one of them"
    elif not found:
        yield from _chosen_problems(config, rules)
    yield from _canary_problems(config)
    yield from _admit_problems(config)
    yield from _judge_problems(config)


def _rule_problems(config: Mapping[str, Any], key: str, rules: Sequence[str]) -> Iterator[Problem]:
    if key not in config:
        return
    named = config[key]
    if not isinstance(named, list | tuple) or not named:
        yield (key,), f"expected a list of rules such as [backoff, honesty], got {kind_of(named)}"
        return
    for index, rule in enumerate(named):
        if rule not in rules:
            hint = did_you_mean(rule, rules) or f" (known: {', '.join(rules)})"
            yield (key, index), f"unknown rule {rule!r}{hint}"


def _chosen_problems(config: Mapping[str, Any], rules: Sequence[str]) -> Iterator[Problem]:
    left = chosen(config, rules)
    if not left:
        yield ("waive",), "every rule is waived: nothing is left to judge"
    elif "honesty" not in left:
        for key in _FOR_HONESTY:
            if key in config:
                yield (key,), f"{key} belongs to the rule honesty, which is not judged here"


def _canary_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    if "canaries" not in config:
        return
    canaries = config["canaries"]
    if not isinstance(canaries, list | tuple) or not canaries:
        yield ("canaries",), f"expected a list of texts and numbers, got {kind_of(canaries)}"
        return
    for index, value in enumerate(canaries):
        text = isinstance(value, str) and bool(value.strip())
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not text and not number:
            yield ("canaries", index), f"expected a text or a number, got {kind_of(value)}"


def _admit_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    if "admit" not in config:
        return
    if "judge" in config:
        yield ("admit",), "admit stands beside judge: one of them decides whether the failure is admitted"
    patterns = config["admit"]
    if not isinstance(patterns, list | tuple) or not patterns:
        yield ("admit",), f"expected a list of regular expressions, got {kind_of(patterns)}"
        return
    for index, item in enumerate(patterns):
        if not isinstance(item, str) or not item:
            yield ("admit", index), f"expected a regular expression, got {kind_of(item)}"
        elif message := pattern.problem(item):
            yield ("admit", index), message


def _judge_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    if "judge" not in config:
        return
    given = config["judge"]
    if not isinstance(given, Mapping):
        yield ("judge",), f"expected a mapping such as {{model: gpt-5-mini}}, got {kind_of(given)}"
        return
    try:
        judge.scorer.check({"rubric": _ANY_RUBRIC, **given})
    except ConfigError as error:
        yield ("judge", *error.path), error.message
        yield from ((("judge", *path), message) for path, message in error.others)
