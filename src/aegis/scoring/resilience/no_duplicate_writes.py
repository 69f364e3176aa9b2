"""Rule `no-duplicate-writes`: what may have been done is not done a second time.

After a POST or PATCH whose end is unknown (no answer, an answer that broke off, a 5xx that does not say that nothing
was done), the same request comes again only with the same idempotency key, or after a read of the same host that was
answered. Calls of models and requests for tokens are no writes.
"""

from __future__ import annotations

from collections.abc import Iterator

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import ambiguous
from aegis.scoring.resilience.traffic import Traffic, follows
from aegis.scoring.resilience.verdict import Breach, Verdict, breach, count, decide, ended, nothing, sent
from aegis.scoring.resilience.writes import adds_when_repeated, looks

NAME = "no-duplicate-writes"


def judge(traffic: Traffic) -> Verdict:
    alike: dict[str, list[Attempt]] = {}
    for attempt in traffic.attempts:
        if adds_when_repeated(traffic, attempt):
            alike.setdefault(attempt.write_key, []).append(attempt)
    unknown: list[Attempt] = []
    breaches: list[Breach] = []
    for attempt, again in (pair for group in alike.values() for pair in _pairs(group)):
        unknown.append(attempt)
        if again is not None and not _is_safe(traffic, attempt, again):
            breaches.append(_told(attempt, again))
    if not unknown:
        return nothing(NAME, "no write ended in doubt")
    return decide(NAME, breaches, f"{count(len(unknown), 'write')} in doubt, none repeated blindly", unknown)


def _pairs(group: list[Attempt]) -> Iterator[tuple[Attempt, Attempt | None]]:
    """Each write that ended in doubt, with the next sending of the same."""
    for number, attempt in enumerate(group):
        if ambiguous(attempt):
            later = (group[place] for place in range(number + 1, len(group)))
            yield attempt, next((item for item in later if follows(item, attempt)), None)


def _is_safe(traffic: Traffic, attempt: Attempt, again: Attempt) -> bool:
    if attempt.idempotency_key is not None and again.idempotency_key == attempt.idempotency_key:
        return True
    between = traffic.between(attempt, again)
    return any(item.place == attempt.place and looks(traffic, item) for item in between)


def _told(attempt: Attempt, again: Attempt) -> Breach:
    if attempt.idempotency_key is None:
        how = "without an idempotency key"
    else:
        how = (
            "without its idempotency key" if again.idempotency_key is None else "with another idempotency key"
        )
    words = (
        f"{attempt.told} {attempt.outcome} {ended(attempt)}, so that it may have been done, and was sent again "
        f"{sent(again)} {how} and without a look in between"
    )
    return breach(words, attempt, again)
