"""One bucket for each provider, shared by all trials of a run: what the provider counts together, waits together.

Sizes of the buckets are set by the user or learnt from the provider's own headers: `x-ratelimit-*` (OpenAI and most
others; resets are durations such as `6m0s` or seconds) and `anthropic-ratelimit-*` (resets are RFC 3339 times).
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aegis.gateway.base import RawHeaders
from aegis.gateway.config import ProviderLimit

BYTES_PER_TOKEN = 4
"""The common rule of thumb for English text, for requests whose tokens nobody has counted yet."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|h|m|s))")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float | None:
    """Seconds of `6m0s`, `120ms`, `1.5s` or a bare number of seconds; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_reset(text: str, now: datetime.datetime) -> float | None:
    """Seconds from now to a reset given as a duration, as seconds, as a Unix time or as RFC 3339."""
    seconds = parse_duration(text)
    if seconds is not None:
        # No window is thirty years long: such a number is a point in time (GitHub).
        return max(0.0, seconds - now.timestamp()) if seconds > 1e9 else seconds
    try:
        at = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    return max(0.0, (at - now).total_seconds())


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one response said about one kind of limit."""

    kind: str
    remaining: float
    reset_s: float
    limit: float | None


def read_headers(headers: RawHeaders, now: datetime.datetime) -> list[Learnt]:
    """Limits for requests and tokens in a response's headers. Pure."""
    values = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in headers}
    found = []
    for kind in ("requests", "tokens"):
        for remaining_name, reset_name, limit_name in _names(kind):
            remaining, reset = values.get(remaining_name), values.get(reset_name)
            if remaining is None or reset is None or not re.fullmatch(r"\d+(\.\d+)?", remaining.strip()):
                continue
            reset_s = parse_reset(reset, now)
            limit = values.get(limit_name, "").strip()
            if reset_s is not None:
                total = float(limit) if re.fullmatch(r"\d+(\.\d+)?", limit) else None
                found.append(Learnt(kind, float(remaining), reset_s, total))
                break
    return found


def _names(kind: str) -> list[tuple[str, str, str]]:
    names = [
        (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}", f"x-ratelimit-limit-{kind}"),
        (
            f"anthropic-ratelimit-{kind}-remaining",
            f"anthropic-ratelimit-{kind}-reset",
            f"anthropic-ratelimit-{kind}-limit",
        ),
    ]
    if kind == "requests":
        names.append(("x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit"))
    return names


@dataclass(slots=True)
class _Bucket:
    """A configured rate (`per_s`, its next slot in `next_s`) or a learnt window, or both."""

    per_s: float | None = None
    burst_s: float = 0.0
    next_s: float = 0.0
    remaining: float | None = None
    reset_at_s: float = 0.0
    limit: float | None = None

    def reserve(self, cost: float, now: float) -> float:
        """Take `cost` from the configured rate; seconds until it is due."""
        if self.per_s is None:
            return 0.0
        start = max(self.next_s, now - self.burst_s)
        self.next_s = start + cost / self.per_s
        return max(0.0, start - now)

    def window(self, cost: float, now: float) -> float:
        """Seconds until the learnt window has room for `cost`; 0 takes it."""
        if self.remaining is None:
            return 0.0
        if now >= self.reset_at_s:
            self.remaining = self.limit
        if self.remaining is None:
            return 0.0
        # A request larger than a whole window would wait for ever.
        if self.remaining >= min(cost, self.limit or cost):
            self.remaining = max(0.0, self.remaining - cost)
            return 0.0
        return self.reset_at_s - now

    def learn(self, item: Learnt, in_flight: float, now: float) -> None:
        self.remaining = max(0.0, item.remaining - in_flight)
        self.reset_at_s = now + item.reset_s
        self.limit = item.limit


@dataclass(slots=True)
class _Provider:
    told: dict[object, float] = field(default_factory=dict)
    """Trial → when what a 429 has told it is over."""
    requests: _Bucket = field(default_factory=_Bucket)
    tokens: _Bucket = field(default_factory=_Bucket)
    in_flight: int = 0
    tokens_in_flight: float = 0.0


class Limiter:
    """The buckets of one run. `clock` counts seconds monotonically; `sleep` waits for some."""

    def __init__(
        self,
        limits: Mapping[str, ProviderLimit],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        longest_s: float = 300.0,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._longest_s = longest_s
        self._providers: dict[str, _Provider] = {}
        for host, limit in limits.items():
            provider = self._providers.setdefault(host, _Provider())
            _configure(provider.requests, limit.requests_per_minute)
            _configure(provider.tokens, limit.tokens_per_minute)

    def applies(self, host: str) -> bool:
        """Whether anything is known about this host: most have no limit and cost nothing here."""
        return host in self._providers

    async def acquire(self, host: str, tokens: float, trial: object = None) -> None:
        """Wait for one request and this many tokens; never longer than `longest_s`. In order of arrival for a
        configured rate; all at once when a learnt window opens. A trial that was answered 429 is not made to wait
        for what that answer has taught: whether it backs off by itself is what a run wants to know."""
        provider = self._providers.get(host)
        if provider is None:
            return
        started = now = self._clock()
        wait = max(provider.requests.reserve(1, now), provider.tokens.reserve(tokens, now))
        while True:
            left = self._longest_s - (now - started)
            if wait > 0 and left > 0:
                await self._sleep(min(wait, left))
                now = self._clock()
            if provider.told.get(trial, 0.0) > now:
                break
            wait = provider.requests.window(1, now)
            if wait <= 0:
                wait = provider.tokens.window(tokens, now)
            if wait <= 0 or left <= 0:
                break
        provider.in_flight += 1
        provider.tokens_in_flight += tokens

    def finished(self, host: str, tokens: float) -> None:
        """The request that `acquire` let through was answered or given up."""
        if provider := self._providers.get(host):
            provider.in_flight = max(0, provider.in_flight - 1)
            provider.tokens_in_flight = max(0.0, provider.tokens_in_flight - tokens)

    def learn(self, host: str, status: int, headers: RawHeaders, trial: object = None) -> None:
        """Take a response's word for what is left. The response's own request is not in flight any more."""
        if status != 429 and not any(b"ratelimit" in key.lower() for key, _ in headers):
            return
        now = self._clock()
        found = read_headers(headers, datetime.datetime.now(datetime.UTC))
        retry = next((value for key, value in headers if key.lower() == b"retry-after"), None)
        pause = parse_duration(retry.decode("latin-1")) if retry is not None and status == 429 else None
        if not found and pause is None:
            return
        provider = self._providers.setdefault(host, _Provider())
        if status == 429 and trial is not None:
            told_s = max([pause or 0.0, *(item.reset_s for item in found if item.remaining == 0)])
            provider.told = {who: at for who, at in provider.told.items() if at > now}
            provider.told[trial] = now + told_s
        for item in found:
            if item.kind == "requests":
                provider.requests.learn(item, provider.in_flight, now)
            else:
                provider.tokens.learn(item, provider.tokens_in_flight, now)
        if pause is not None and not any(item.remaining == 0 for item in found):
            provider.requests.learn(Learnt("requests", 0, pause, None), 0, now)


def _configure(bucket: _Bucket, per_minute: float | None) -> None:
    if per_minute:
        bucket.per_s = per_minute / 60
        # A tenth of a minute's worth may go at once, as providers themselves allow.
        bucket.burst_s = 6.0
