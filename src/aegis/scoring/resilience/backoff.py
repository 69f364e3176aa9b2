"""Rule `backoff`: pauses between attempts grow when nobody says how long they should be.

Looked at are logical requests with at least three attempts of which each but the last failed for a reason that may
pass and asked for no wait. Pauses lie between the end of a response and the start of the next attempt. An SDK's
retries of one call, and the agent's own calls of it, are looked at apart.

Broken by three pauses under 100 ms, and by pauses that neither grow nor are drawn at random:

- They grow when the median ratio of successive pauses is at least 1.3, pauses under 100 ms counting as 100 ms.
- They are consistent with full jitter (a random part of a limit that doubles, as botocore waits) when the longest is
  at least 200 ms; the shortest is at most 90 % of the longest (85 % for three pauses and more); and, for three pauses
  and more, those of the last half add up to at least 0.3 times those of the first half. Equal pauses never are. Of
  clients with full jitter and a base of 1 s, 93 % pass with two pauses, 97 % with three, 99 % with four.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import transient
from aegis.scoring.resilience.traffic import Chain, Traffic
from aegis.scoring.resilience.verdict import (
    Breach,
    Verdict,
    breach,
    count,
    decide,
    ended,
    nothing,
    sent,
    span,
)
from aegis.scoring.resilience.waits import asked_wait

NAME = "backoff"
MIN_RATIO = 1.3
SHORT_S = 0.1
MAX_SHORT = 2
_LONGEST_AT_LEAST_S = 0.2
_SHRINKS_BELOW = 0.3

Ladder = Sequence[tuple[Attempt, Attempt]]
"""Pauses: (the attempt that failed, the one after it)."""


def judge(traffic: Traffic) -> Verdict:
    ladders = [ladder for chain in traffic.chains for ladder in _ladders(chain) if len(ladder) >= 2]
    if not ladders:
        return nothing(NAME, "nothing was tried three times without being told when")
    breaches = [found for ladder in ladders if (found := _breach(ladder)) is not None]
    tried = [attempt for ladder in ladders for attempt in _attempts(ladder)]
    return decide(
        NAME, breaches, f"the pauses of {count(len(ladders), 'request')} grew or were random", tried
    )


def _ladders(chain: Chain) -> Iterator[Ladder]:
    """Runs of pauses that the same hand made: an SDK's within one call, the agent's between its calls."""
    bursts: list[list[Attempt]] = []
    for attempt in chain:
        if attempt.sdk_retry and bursts:
            bursts[-1].append(attempt)
        else:
            bursts.append([attempt])
    for burst in bursts:
        yield from _untold(list(itertools.pairwise(burst)))
    yield from _untold([(burst[-1], after[0]) for burst, after in itertools.pairwise(bursts)])


def _untold(pauses: Ladder) -> Iterator[Ladder]:
    """The runs of pauses that nobody asked for."""
    run: list[tuple[Attempt, Attempt]] = []
    for pause in pauses:
        if transient(pause[0]) and asked_wait(pause[0]) is None:
            run.append(pause)
        else:
            yield run
            run = []
    yield run


def _breach(ladder: Ladder) -> Breach | None:
    pauses_s = [max(0.0, after.started_s - before.ended_s) for before, after in ladder]
    if sum(pause < SHORT_S for pause in pauses_s) > MAX_SHORT:
        return _told(ladder, pauses_s, "without a pause worth the name")
    if grows(pauses_s) or like_full_jitter(pauses_s):
        return None
    return _told(ladder, pauses_s, "with pauses that do not grow")


def grows(pauses_s: Sequence[float]) -> bool:
    counted = [max(pause, SHORT_S) for pause in pauses_s]
    return _median_ratio(counted) >= MIN_RATIO


def like_full_jitter(pauses_s: Sequence[float]) -> bool:
    """See the module's text; for at least two pauses."""
    counted = [max(pause, SHORT_S) for pause in pauses_s]
    longest, half = max(counted), len(counted) // 2
    if longest < _LONGEST_AT_LEAST_S:
        return False
    if min(counted) > longest * (0.9 if len(counted) == 2 else 0.85):
        return False
    return len(counted) == 2 or sum(counted[-half:]) >= _SHRINKS_BELOW * sum(counted[:half])


def _median_ratio(counted: Sequence[float]) -> float:
    return statistics.median(b / a for a, b in itertools.pairwise(counted))


def _told(ladder: Ladder, pauses_s: Sequence[float], how: str) -> Breach:
    attempts = _attempts(ladder)
    first, times = attempts[0], ", ".join(sent(attempt) for attempt in attempts[1:6])
    more = f" and {len(attempts) - 6} more times" if len(attempts) > 6 else ""
    waited = ", ".join(map(span, pauses_s[:5])) + (", …" if len(pauses_s) > 5 else "")
    words = f"{first.told} {first.outcome} {ended(first)} and was sent again {how}, {times}{more} (pauses {waited})"
    return breach(words, *attempts)


def _attempts(ladder: Ladder) -> list[Attempt]:
    return [ladder[0][0], *(after for _, after in ladder)]
