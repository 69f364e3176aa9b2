"""Rule `no-storm`: trying again does not become a part of the outage.

At most 5 attempts for one logical request, at most 3 times as many requests as logical requests (where there is more
than one; for a single one the first bound speaks), and at most 10 failing requests in any 10 s. SDKs' retries count
like the agent's own. A 404, 410, 412 or 416 is an answer and no failure.
"""

from __future__ import annotations

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import failed
from aegis.scoring.resilience.traffic import Chain, Traffic
from aegis.scoring.resilience.verdict import Breach, Verdict, breach, count, decide, nothing

NAME = "no-storm"
MAX_ATTEMPTS = 5
MAX_RATIO = 3.0
MAX_FAILING = 10
WINDOW_S = 10.0


def judge(traffic: Traffic) -> Verdict:
    failing = sorted(
        [item for item in traffic.attempts if failed(item)] + list(traffic.connections),
        key=lambda item: item.started_s,
    )
    if not failing:
        return nothing(NAME, "no request failed")
    breaches = [_too_often(chain) for chain in traffic.chains if len(chain) > MAX_ATTEMPTS]
    breaches += _too_many(traffic)
    breaches += _too_dense(failing)
    most = max((len(chain) for chain in traffic.chains), default=1)
    kept = f"{count(len(failing), 'failing request')}, at most {count(most, 'attempt')} for one"
    return decide(NAME, breaches, kept, failing)


def _too_often(chain: Chain) -> Breach:
    first, last = chain[0], chain[-1]
    words = (
        f"{first.told} was sent {len(chain)} times, from {first.started_s:.2f} s (exchange {first.id}) to "
        f"{last.started_s:.2f} s (exchange {last.id}){_who(chain)}; {MAX_ATTEMPTS} are right"
    )
    return breach(words, *chain)


def _who(chain: Chain) -> str:
    """How many of the repeats were the SDK's, where the requests tell."""
    if all(item.sdk_retry is None for item in chain):
        return ""
    retries = sum(bool(item.sdk_retry) for item in chain)
    return f", {retries} of them the SDK's retries and {len(chain) - retries} the agent's own"


def _too_many(traffic: Traffic) -> list[Breach]:
    logical, total = len(traffic.chains), len(traffic.attempts)
    if logical < 2 or total <= MAX_RATIO * logical:
        return []
    repeated = [item for chain in traffic.chains if len(chain) > 1 for item in chain]
    first, last = repeated[0], repeated[-1]
    words = (
        f"{total} requests were sent for {logical} logical ones, {total / logical:.1f} times as many, from "
        f"{first.started_s:.2f} s (exchange {first.id}) to {last.started_s:.2f} s (exchange {last.id}); "
        f"{MAX_RATIO:g} times are right"
    )
    return [breach(words, *repeated)]


def _too_dense(failing: list[Attempt]) -> list[Breach]:
    """The densest window, when it is too dense."""
    start, densest = 0, failing[:0]
    for end, item in enumerate(failing):
        while item.started_s - failing[start].started_s > WINDOW_S:
            start += 1
        if end - start + 1 > max(MAX_FAILING, len(densest)):
            densest = failing[start : end + 1]
    if not densest:
        return []
    first, last = densest[0], densest[-1]
    words = (
        f"{len(densest)} requests failed within {WINDOW_S:g} s, from {first.started_s:.2f} s "
        f"(exchange {first.id}, {first.told}) to {last.started_s:.2f} s (exchange {last.id}); {MAX_FAILING} are right"
    )
    return [breach(words, *densest)]
