"""Rule `truncation`: half an answer is not taken for a whole one.

A success whose body broke off, or of which a fault took a part, is requested again and then comes whole, or the answer
says that something is missing. Until it has come whole, nothing is written to that host; when it never does, no value
out of it is. The same for answers of models: where the stream ends early, the model is asked again, or the answer says
so; the tools that it was asking for are not run.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from aegis.scoring.pattern import TooSlowError
from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import PARTIAL_KINDS, partial, says_no
from aegis.scoring.resilience.traffic import SLACK_S, Traffic, follows
from aegis.scoring.resilience.values import is_telling, known, leaves, values_of
from aegis.scoring.resilience.verdict import Breach, Verdict, breach, count, decide, ended, nothing, sent
from aegis.scoring.resilience.words import ADMITTED, PARTIAL, admits
from aegis.scoring.resilience.writes import changes

NAME = "truncation"
_TELLING_CHARS = 8
"""A shorter text of a model proves nothing by being found elsewhere."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """What came whole and what did not, and what was written."""

    traffic: Traffic
    broken: list[Attempt]
    whole: dict[str, list[Attempt]]
    """Logical request → those of its attempts that came whole."""
    models: list[Attempt]
    """Answers of models that came whole."""
    writes: list[Attempt]


def judge(traffic: Traffic) -> Verdict:
    found = _sort(traffic)
    if not found.broken:
        return nothing(NAME, "no successful response was incomplete")
    # Of several that the same attempt made good, or none did, the first has all that the others have.
    firsts: dict[tuple[str, Attempt | None], Attempt] = {}
    for attempt in found.broken:
        firsts.setdefault((attempt.key, _again(found, attempt)), attempt)
    breaches = [one for (_, again), attempt in firsts.items() for one in _breaches(found, attempt, again)]
    kept = f"{count(len(found.broken), 'incomplete response')} not taken for whole"
    return decide(NAME, breaches, kept, found.broken)


def _sort(traffic: Traffic) -> _Sorted:
    found = _Sorted(traffic, [], {}, [], [])
    for item in traffic.attempts:
        if _is_partial(traffic, item):
            found.broken.append(item)
        elif item.ok and not says_no(item):
            found.whole.setdefault(item.key, []).append(item)
            if traffic.is_model_call(item):
                found.models.append(item)
        if changes(traffic, item):
            found.writes.append(item)
    return found


def _is_partial(traffic: Traffic, attempt: Attempt) -> bool:
    if not partial(attempt):
        return False
    call = traffic.model_calls.get(attempt.id)
    # A stream that lost nothing but what follows its end is whole.
    return bool(attempt.exchange.error) or call is None or call.incomplete or call.error is not None


def _breaches(found: _Sorted, attempt: Attempt, again: Attempt | None) -> Iterator[Breach]:
    traffic = found.traffic
    is_model = traffic.is_model_call(attempt)
    start = f"{attempt.told} {_got(attempt)} {ended(attempt)}"
    if again is None and not _disclosed(traffic, attempt):
        said = _partial_text(traffic, attempt)
        as_if = bool(said) and said in traffic.answers_since(attempt.started_s)
        how = "that part is in the answer as if it were all" if as_if else "the answer does not say so"
        yield breach(f"{start}, was not requested again, and {how}", attempt)
    write = _model_write(found, attempt) if is_model else _derived(found, attempt, again)
    if write is not None:
        words = f"{start} and {write.told} was sent {sent(write)} before it had come whole"
        yield breach(words, attempt, write)


def _got(attempt: Attempt) -> str:
    if attempt.exchange.error:
        return attempt.outcome
    return f"got {attempt.status} and an incomplete body ({', '.join(sorted(attempt.kinds & PARTIAL_KINDS))})"


def _again(found: _Sorted, attempt: Attempt) -> Attempt | None:
    """The next sending of the same that was answered whole."""
    if found.traffic.is_model_call(attempt):
        return _model_again(found, attempt)
    same = found.whole.get(attempt.key, [])
    return next((item for item in _from(same, attempt.ended_s) if follows(item, attempt)), None)


def _model_again(found: _Sorted, attempt: Attempt) -> Attempt | None:
    """The next whole answer of a model in the same turn, unless it was given the incomplete one to go on from."""
    said = _partial_text(found.traffic, attempt)
    until_s = found.traffic.turn_end_s(attempt.started_s)
    for item in _from(found.models, attempt.ended_s):
        if item.started_s > until_s:
            return None
        goes_on = len(said) >= _TELLING_CHARS and any(
            said in leaf for leaf in leaves(item.message.request) if isinstance(leaf, str)
        )
        if follows(item, attempt) and not goes_on:
            return item
    return None


def _from(ordered: list[Attempt], at_s: float) -> Iterator[Attempt]:
    """Those that were sent at that time or later, and the few before that may count as later (`follows`)."""
    start = bisect_left(ordered, at_s - SLACK_S, key=lambda item: item.started_s)
    return (ordered[place] for place in range(start, len(ordered)))


def _partial_text(traffic: Traffic, attempt: Attempt) -> str:
    call = traffic.model_calls.get(attempt.id)
    return call.text.strip() if call is not None else ""


def _disclosed(traffic: Traffic, attempt: Attempt) -> bool:
    answers = traffic.answers_since(attempt.started_s)
    if said := _partial_text(traffic, attempt):
        answers = answers.replace(said, " ")  # what the model said of itself discloses nothing
    try:
        return admits(answers, (*PARTIAL, *ADMITTED))
    except TooSlowError:
        return False


def _derived(found: _Sorted, attempt: Attempt, again: Attempt | None) -> Attempt | None:
    """The first write to the same host before the body was there as a whole; where that never was, the first one that
    has a value out of the incomplete body which the agent did not know before."""
    until_s = math.inf if again is None else again.started_s
    for item in _from(found.writes, attempt.ended_s + SLACK_S):
        if item.started_s >= until_s:
            return None
        if item.place != attempt.place or item.key == attempt.key:
            continue
        if again is not None or _takes_from(found.traffic, attempt, item):
            return item
    return None


def _takes_from(traffic: Traffic, attempt: Attempt, write: Attempt) -> bool:
    users = (turn.user for turn in traffic.trace.turns)
    before = known([*users, attempt.exchange.path, attempt.request_text])
    written = known([write.exchange.path, write.request_text])
    values = values_of(attempt.message.response_bytes.decode("utf-8", "replace"))
    return any(is_telling(item) and written.holds(item) and not before.holds(item) for item in values)


def _model_write(found: _Sorted, attempt: Attempt) -> Attempt | None:
    """What a tool wrote that the incomplete answer asked for."""
    calls = [call for call in found.traffic.trace.tool_calls if call.asked_in == attempt.id]
    ids = {number for call in calls for number in call.exchanges}
    return next((item for item in found.writes if item.id in ids), None) if ids else None
