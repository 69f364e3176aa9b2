"""What depends on the number of turns: limits of the case's expectations, and the time that a trial has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aegis.stress.base import RejectedError
from aegis.stress.modelcalls import may_be_model_call
from aegis.suite.kinds import Choice, Duration, Key
from aegis.suite.model import Case, Expectation, Turn
from aegis.suite.units import MAX_DURATION_S, format_duration, parse_duration

REJECT, SCALE = "reject", "scale"

KEYS = (
    Key(
        "budget",
        Choice("budget", (REJECT, SCALE)),
        "What to do with limits of the scorer budget: reject (no variant), or scale them with the number of turns",
        default=REJECT,
    ),
    Key(
        "turn_time",
        Duration(0.1, 600.0),
        "What each further turn adds to the timeout",
        default="10s",
    ),
)

_LINEAR = ("seconds", "steps", "model_calls", "output_tokens")
_WITH_HISTORY = ("tokens", "input_tokens", "usd")


def turns_of(turns: tuple[Turn, ...]) -> int:
    """How many messages a conversation has, a simulated user's at most."""
    return sum(1 if turn.simulate is None else turn.simulate.turns for turn in turns)


def with_turns(case: Case, turns: tuple[Turn, ...], params: Mapping[str, Any]) -> Case:
    """The case with this longer conversation, whose expectations hold for it. `params` has the values of `KEYS`.

    Raises `RejectedError` for an expectation that the further turns alone could break."""
    before, after = turns_of(case.turns), turns_of(turns)
    expect = tuple(_judged(entry, before, after, params["budget"]) for entry in case.expect)
    added_s = case.added_time + max(0, after - before) * params["turn_time"]
    return case.model_copy(update={"turns": turns, "expect": expect, "added_time": added_s})


def _judged(entry: Expectation, before: int, after: int, budget: str) -> Expectation:
    if entry.scorer == "request" and _counts_model_calls(entry.config):
        raise RejectedError(
            "an expectation counts requests that may be calls of a model, and more turns take more of them: "
            "name another host or path in it"
        )
    if entry.scorer != "budget":
        return entry
    limits = [key for key in (*_LINEAR, *_WITH_HISTORY) if key in entry.config]
    if limits and budget == REJECT:
        raise RejectedError(
            f"the budget limits {', '.join(limits)}, and more turns take more of them "
            "(budget: scale raises the limits with the number of turns)"
        )
    return entry.model_copy(update={"config": scaled(entry.config, before, after)})


def scaled(config: Mapping[str, Any], before: int, after: int) -> dict[str, Any]:
    """The limits for `after` turns in the place of `before`. Time, steps, calls and written tokens grow like the turns;
    read tokens, and with them all tokens and their price, like the sum of 1 to n, since each call is sent the turns
    before it again."""
    linear = after / before
    with_history = (after * (after + 1)) / (before * (before + 1))
    found = dict(config)
    for key, factor in [(key, linear) for key in _LINEAR] + [(key, with_history) for key in _WITH_HISTORY]:
        if key in found:
            found[key] = _times(found[key], factor)
    return found


def _times(limit: Any, factor: float) -> Any:
    if isinstance(limit, str):
        seconds = min(MAX_DURATION_S, parse_duration(limit) * factor)
        return format_duration(round(seconds, 3))
    return math.ceil(limit * factor) if isinstance(limit, int) else limit * factor


def _counts_model_calls(config: Mapping[str, Any]) -> bool:
    """Whether the pattern has an upper bound above zero and may match what goes to a model."""
    count = config.get("count")
    most = count.get("max") if isinstance(count, Mapping) else count
    return bool(most) and not config.get("denied") and may_be_model_call(config)
