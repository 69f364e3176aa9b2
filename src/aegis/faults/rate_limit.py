"""Too many requests."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.bucket import Bucket
from aegis.faults.providers.base import FORMS, LIMITS, At, Limit
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Duration, Flag, Integer, Key

_PAUSE_S = 1.0
_WINDOW_S = 60.0
_REMEMBERED = 1000


class RateLimit(Fault):
    """Answers 429 with the provider's own headers and body, and goes on refusing until the wait that it told is over,
    as providers do whose limit on requests is reached: a request that comes too early is refused again, with the time
    that is left. Each host counts each credential by itself, and requests without one together.

    There are two ways to use it. Without `requests`, the requests that the rule picks (`on: 1`) find the bucket empty:
    they and whatever follows with the same credential within `retry_after` are refused. With `requests` and `window`
    the bucket itself decides: it holds so many requests, refills evenly within the window, and every match of the rule
    takes one; only those that find it empty are refused, for as long as it takes until there is one again (or for
    `retry_after`, when that is longer).

    Official model clients wait as `Retry-After` says and try again, 2 times by default, so that an agent sees nothing
    of a short limit; `requests` and `httpx` hand the 429 to the agent. With `form: none` a client has to find a pause
    of its own, and with `http-date` it has to read a date. `extend: true` starts the wait anew with every request that
    comes too early, as GitHub and others do to clients that don't listen.
    """

    name = "rate-limit"
    group = "status"
    stage = "answer"
    needs_body = True
    keys = (
        providers.KEY,
        Key(
            "retry_after",
            Duration(0.001, 86_400),
            "How long requests are refused; 1s without requests, with it until the bucket has one again",
        ),
        Key("requests", Integer(1, 1_000_000), "Size of the bucket: so many requests may come at once"),
        Key("window", Duration(0.001, 86_400), "Time in which an empty bucket fills again; 1m with requests"),
        Key(
            "form",
            Choice("form", FORMS),
            "How the wait is told: seconds or http-date in Retry-After, ms in Retry-After-Ms and Retry-After, none, or "
            "as the provider does",
            default="provider",
        ),
        Key(
            "limit",
            Choice("limit", LIMITS),
            "Which limit is reached: requests, tokens, or the secondary one (GitHub's on bursts, Stripe's locks)",
            default="requests",
        ),
        Key("status", Integer(400, 599), "Status of the answer; the provider's by default"),
        Key("extend", Flag(), "Whether a request that comes too early starts the wait anew", default=False),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._size: int | None = params.get("requests")
        self._window_s: float = params.get("window", _WINDOW_S)
        self._buckets: dict[tuple[str, str | None], Bucket] = {}
        self._early = 0
        # A bucket fills again for whoever waits; without one the rule says which requests are refused for ever.
        self.recurs = self._size is None

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if "window" in params and "requests" not in params:
            return "window says how fast a bucket fills again: it needs requests, the bucket's size"
        return None

    def takes(self, seen: Seen, picked: bool) -> bool:
        now = self.now()
        bucket = self._bucket(seen)
        if bucket.is_shut(now):
            return True
        if not picked or (self._size is not None and bucket.take(now)):
            return False
        bucket.shut(now + self._pause_s(bucket, now))
        return True

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        now = self.now()
        bucket = self._bucket(seen)
        if bucket.told_s is not None and hit.at_s >= bucket.told_s:
            self._early += 1
            if self.params["extend"]:
                bucket.shut(now + self._pause_s(bucket, now))
        wait_s = bucket.wait_s(now)
        if bucket.told_s is None:
            bucket.told_s = now
        until = datetime.datetime.fromtimestamp(self.date_s() + wait_s, datetime.UTC)
        limit = Limit(wait_s, until, self.params["limit"], self._size, self.params["form"])
        reply = providers.find(self.params["provider"], seen).rate_limited(At(seen, hit), limit)
        return reply.plan(seen.request.method, status=self.params.get("status"))

    def notes(self) -> tuple[str, ...]:
        if not self._early:
            return ()
        again = "1 early retry was" if self._early == 1 else f"{self._early} early retries were"
        return (f"{again} refused again",)

    def _pause_s(self, bucket: Bucket, now: float) -> float:
        given: float | None = self.params.get("retry_after")
        if self._size is None:
            return _PAUSE_S if given is None else given
        return max(bucket.next_s(now), given or 0.0)

    def _bucket(self, seen: Seen) -> Bucket:
        key = (seen.request.host, seen.credential)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _REMEMBERED:
                now = self.now()
                self._buckets = {key: item for key, item in self._buckets.items() if not item.is_full(now)}
            size = self._size or 1
            bucket = self._buckets[key] = Bucket(size, self._window_s / size)
        return bucket


fault = RateLimit
