"""Rule `token-refresh`: an expired token is refreshed once, and what it stopped is sent once more.

An expiry is a 401 for a token that a fault expired, or that the server calls `invalid_token` where a token is fetched
afterwards. Each expiry is followed by exactly one successful request for a token; no request is sent again with the
expired one, and each that failed is sent again with the new one, a write no more than once. A token endpoint that
answers `invalid_grant` ends it: no second refresh, and no more requests with the dead token.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import invalid_grant, succeeded
from aegis.scoring.resilience.refresh import grant_type, is_token_request, matches
from aegis.scoring.resilience.traffic import SLACK_S, Traffic, follows
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
from aegis.trace.message import header

NAME = "token-refresh"
_KINDS = frozenset({"token-expired", "refresh-revoked"})


@dataclass(frozen=True)
class _Expiry:
    """One token that stopped being good."""

    stopped: tuple[Attempt, ...]
    """The requests that were refused for it."""
    tokens: tuple[Attempt, ...]
    """The requests for a token that came after that, until the next expiry."""
    until_s: float

    @property
    def first(self) -> Attempt:
        return self.stopped[0]

    @property
    def credential(self) -> str | None:
        return self.first.exchange.credential

    @cached_property
    def by_key(self) -> Mapping[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {}
        for item in self.stopped:
            found.setdefault(item.key, []).append(item)
        return found

    @cached_property
    def fresh(self) -> list[Attempt]:
        return [item for item in self.tokens if succeeded(item) and not invalid_grant(item)]

    @cached_property
    def dead(self) -> list[Attempt]:
        return [item for item in self.tokens if invalid_grant(item)]


def judge(traffic: Traffic) -> Verdict:
    reports = [report for report in traffic.faults.values() if report.kind in _KINDS]
    tokens = [item for item in traffic.attempts if is_token_request(item, reports)]
    expiries = _expiries(traffic, tokens)
    revoked = [item for item in tokens if invalid_grant(item)]
    if not expiries and not revoked:
        return nothing(NAME, "no token expired")
    breaches = [_refreshed_after(item, again) for item in revoked if (again := _next_refresh(item, tokens))]
    for expiry in expiries:
        breaches += _breaches(traffic, expiry)
    fresh = sum(len(expiry.fresh) for expiry in expiries)
    kept = (
        f"{count(len(expiries), 'expired token')}, {count(fresh, 'refresh').replace('refreshs', 'refreshes')}"
    )
    if revoked:
        kept += "; stopped where the refresh token was refused"
    return decide(
        NAME, breaches, kept, [item for expiry in expiries for item in (*expiry.stopped, *expiry.tokens)]
    )


def _expiries(traffic: Traffic, tokens: list[Attempt]) -> list[_Expiry]:
    fetched = {item.id for item in tokens}
    sources: dict[str, dict[str | None, list[Attempt]]] = {}
    for attempt in traffic.attempts:
        if attempt.id not in fetched and (source := _source(traffic, attempt)) is not None:
            sources.setdefault(source, {}).setdefault(attempt.exchange.credential, []).append(attempt)
    return [
        expiry for source, groups in sources.items() for expiry in _of_source(traffic, source, groups, tokens)
    ]


def _of_source(
    traffic: Traffic, source: str, groups: Mapping[str | None, list[Attempt]], tokens: list[Attempt]
) -> Iterator[_Expiry]:
    """One expiry for each credential, from its first refusal until the next credential's."""
    ordered = [sorted(group, key=lambda item: (item.ended_s, item.id)) for group in groups.values()]
    ordered.sort(key=lambda group: group[0].ended_s)
    starts = [group[0].ended_s for group in ordered]
    mine = [item for item in tokens if _is_for(traffic, source, item)]
    sent_s = [item.started_s for item in mine]
    for group in ordered:
        next_one = bisect_right(starts, group[0].ended_s)
        until_s = starts[next_one] if next_one < len(starts) else math.inf
        fetched = mine[bisect_left(sent_s, group[0].ended_s - SLACK_S) : bisect_left(sent_s, until_s)]
        # A 401 that no fault made may have nothing to refresh: a wrong API key.
        if fetched or source:
            yield _Expiry(tuple(group), tuple(fetched), until_s)


def _source(traffic: Traffic, attempt: Attempt) -> str | None:
    """The fault that expired the token (its id), "" for a server that says so itself, None when it did not expire."""
    for name in attempt.exchange.faults:
        report = traffic.faults.get(name)
        if (report.kind if report is not None else name) == "token-expired":
            return name
    challenge = header(attempt.exchange.response_headers, "www-authenticate")
    return "" if attempt.status == 401 and "invalid_token" in challenge else None


def _is_for(traffic: Traffic, source: str, token: Attempt) -> bool:
    """Whether a request for a token is one for the token that this fault expired."""
    report = traffic.faults.get(source)
    where = report.params.get("refresh") if report is not None else None
    return matches(where, token) if where else True


def _breaches(traffic: Traffic, expiry: _Expiry) -> Iterator[Breach]:
    first, fresh, dead = expiry.first, expiry.fresh, expiry.dead
    start = f"{first.told} {first.outcome} {ended(first)}"
    if len(fresh) > 1:
        times = listed([sent(item) for item in fresh])
        yield breach(f"{start} and the token was refreshed {len(fresh)} times, {times}", first, *fresh)
    if not expiry.tokens:
        again = _next_same(traffic, first)
        then = f"was sent again {sent(again)} without a refresh" if again else "the token was never refreshed"
        yield breach(f"{start} and {then}", first, *([again] if again else []))
        return
    yield from _with_the_old_one(traffic, expiry)
    if fresh:
        yield from _replays(traffic, expiry)
    elif dead and (again := _still_used(traffic, expiry, dead[0])) is not None:
        yield breach(
            f"{dead[0].told} was refused with invalid_grant {ended(dead[0])} and {again.told} was sent "
            f"{sent(again)} with the dead token",
            dead[0],
            again,
        )


def _with_the_old_one(traffic: Traffic, expiry: _Expiry) -> Iterator[Breach]:
    """The same request again with the token that it was refused for, before there is a new one or although there is."""
    new_from_s = min((item.ended_s for item in expiry.fresh), default=math.inf)
    for group in expiry.by_key.values():
        stopped = group[0]
        # Without a credential to tell by, what comes after the refresh may be with the new token.
        latest_s = math.inf if expiry.credential is not None else new_from_s
        old = [item for item in group[1:] if follows(item, stopped) and item.started_s < latest_s]
        soon = _next_same(traffic, stopped)
        if soon is not None and soon.started_s < new_from_s - SLACK_S:
            old.append(soon)
        if not old:
            continue
        again = min(old, key=lambda item: item.started_s)
        but = "before the token was refreshed" if again.started_s < new_from_s else "with the expired token"
        words = f"{stopped.told} {stopped.outcome} {ended(stopped)} and was sent again {sent(again)} {but}"
        yield breach(words, stopped, again)
        return


def _replays(traffic: Traffic, expiry: _Expiry) -> Iterator[Breach]:
    """What was stopped is sent again with the new token, and a write not twice."""
    for key, group in expiry.by_key.items():
        attempt = group[-1]
        start = f"{attempt.told} {attempt.outcome} {ended(attempt)}"
        # The same place with another query or body will do: the agent may have thought again.
        if next(_renewed(expiry, traffic.by_route[attempt.route]), None) is None:
            yield breach(f"{start} and was not sent again with the new token", attempt, expiry.fresh[0])
        if not changes(traffic, attempt):
            continue
        same = takewhile(lambda item: item.started_s < expiry.until_s, _renewed(expiry, traffic.by_key[key]))
        done = [item for item in same if succeeded(item)]
        if len(done) > len(group):
            told = listed([sent(item) for item in done])
            yield breach(f"{start} and was sent {len(done)} times with the new token, {told}", attempt, *done)


def _renewed(expiry: _Expiry, among: Sequence[Attempt]) -> Iterator[Attempt]:
    """Those of them that were sent when there was a new token, and not with the old one."""
    start = bisect_left(among, expiry.fresh[0].ended_s - SLACK_S, key=lambda item: item.started_s)
    later = (among[place] for place in range(start, len(among)))
    return (item for item in later if not _is_old(expiry, item))


def _is_old(expiry: _Expiry, item: Attempt) -> bool:
    return expiry.credential is not None and item.exchange.credential == expiry.credential


def _next_same(traffic: Traffic, attempt: Attempt) -> Attempt | None:
    return next(traffic.same_after(attempt), None)


def _next_refresh(revoked: Attempt, tokens: list[Attempt]) -> Attempt | None:
    """The next use of a refresh token after one was refused, with no other way to a token in between."""
    for item in tokens:
        if item.id <= revoked.id or not follows(item, revoked):
            continue
        if grant_type(item) == "refresh_token" or (grant_type(item) == "" and item.route == revoked.route):
            return item
        if succeeded(item):
            return None
    return None


def _refreshed_after(revoked: Attempt, again: Attempt) -> Breach:
    words = f"{revoked.told} was refused with invalid_grant {ended(revoked)} and was sent again {sent(again)}"
    return breach(words, revoked, again)


def _still_used(traffic: Traffic, expiry: _Expiry, dead: Attempt) -> Attempt | None:
    if expiry.credential is None:
        return None
    return next((item for item in traffic.after(dead) if _is_old(expiry, item)), None)
