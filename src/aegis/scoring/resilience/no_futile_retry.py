"""Rule `no-futile-retry`: what was refused for good is not asked again.

After a 400, 401, 402 or 403, and after an answer that says that a quota is used up (OpenAI's 429 insufficient_quota),
the identical request with the same credential is not sent again. It is another matter when the world was changed in
between: by a write to the same host that succeeded, or by a token that was fetched. A 403 that is a rate limit is none
of these.
"""

from __future__ import annotations

from dataclasses import dataclass

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import futile, quota, succeeded
from aegis.scoring.resilience.refresh import is_token_request
from aegis.scoring.resilience.traffic import SLACK_S, Traffic
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
)
from aegis.scoring.resilience.writes import changes

NAME = "no-futile-retry"


def judge(traffic: Traffic) -> Verdict:
    news = _news(traffic)
    refused: dict[tuple[str, str | None], Attempt] = {}
    repeats: dict[int, list[Attempt]] = {}
    firsts: list[Attempt] = []
    for attempt in traffic.attempts:
        who = attempt.key, attempt.exchange.credential
        first = refused.get(who)
        if first is not None and attempt.started_s >= first.ended_s and not news.between(first, attempt):
            repeats.setdefault(first.id, [first]).append(attempt)
        elif futile(attempt):
            refused[who] = attempt
            firsts.append(attempt)
    if not firsts:
        return nothing(NAME, "nothing was refused for good")
    breaches = [_told(*group) for group in repeats.values()]
    return decide(NAME, breaches, f"{count(len(firsts), 'refusal')} taken as such", firsts)


@dataclass(frozen=True, slots=True)
class _News:
    """What may make another answer possible."""

    tokens: list[Attempt]
    writes: list[Attempt]

    def between(self, refused: Attempt, attempt: Attempt) -> bool:
        found = [*self.tokens, *(item for item in self.writes if item.place == refused.place)]
        return any(
            item.started_s >= refused.ended_s - SLACK_S and item.ended_s <= attempt.started_s + SLACK_S
            for item in found
        )


def _news(traffic: Traffic) -> _News:
    done = [item for item in traffic.attempts if succeeded(item)]
    reports = list(traffic.faults.values())
    return _News(
        [item for item in done if is_token_request(item, reports)],
        [item for item in done if changes(traffic, item)],
    )


def _told(first: Attempt, *again: Attempt) -> Breach:
    got = f"got {first.status}" + (" (quota used up)" if quota(first) else "")
    times = listed([sent(item) for item in again])
    return breach(f"{first.told} {got} {ended(first)} and was sent again unchanged {times}", first, *again)
