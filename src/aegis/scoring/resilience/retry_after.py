"""Rule `retry-after`: who is told how long to wait, waits that long.

After a failing response that asks for a wait, the next request with the same host and credential comes no earlier than
that, less 50 ms (a date: less 1 s). Requests that were under way already don't count. Waiting more than twice that and
5 s is called sluggish, and is no failure.
"""

from __future__ import annotations

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.traffic import Traffic
from aegis.scoring.resilience.verdict import (
    Breach,
    Verdict,
    breach,
    count,
    decide,
    ended,
    listed,
    nothing,
    sent,
    span,
)
from aegis.scoring.resilience.waits import Wait, asked_wait

NAME = "retry-after"


def judge(traffic: Traffic) -> Verdict:
    asked = [(item, wait) for item in traffic.attempts if (wait := asked_wait(item)) is not None]
    if not asked:
        return nothing(NAME, "no response asked for a wait")
    breaches: list[Breach] = []
    sluggish: list[str] = []
    looked_at: list[Attempt] = []
    for attempt, wait in asked:
        looked_at.append(attempt)
        again = next((later for later in traffic.after(attempt) if later.who == attempt.who), None)
        if again is None:
            continue
        looked_at.append(again)
        waited_s = again.started_s - attempt.ended_s
        if waited_s < wait.seconds - wait.tolerance_s:
            breaches.append(breach(_too_early(attempt, wait, again), attempt, again))
        elif waited_s > 2 * wait.seconds + 5:
            sluggish.append(
                f"{span(waited_s)} after {attempt.told} asked for {wait.seconds:g} s {ended(attempt)}"
            )
    kept = f"{count(len(asked), 'wait')} kept"
    if sluggish:
        kept += f"; sluggish: {listed(sluggish)}"
    return decide(NAME, breaches, kept, looked_at)


def _too_early(attempt: Attempt, wait: Wait, again: Attempt) -> str:
    same = "was sent again" if again.key == attempt.key else f"was followed by {again.told}"
    early_s = attempt.ended_s + wait.seconds - again.started_s
    got = f"{attempt.told} got {attempt.status} with {wait.words} {ended(attempt)}"
    return f"{got} and {same} {sent(again)}, {span(early_s)} too early"
