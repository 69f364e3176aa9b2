"""The provider limits that trials share."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from aegis.gateway import Limiter, Origin, ProviderLimit
from aegis.gateway.limiter import parse_duration, parse_reset, read_headers
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.raw_client import ask

NOW = datetime.datetime(2026, 11, 23, 8, 0, 0, tzinfo=datetime.UTC)
HOST = "api.example"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def limiter(time: Time, longest_s: float = 300, **limit: float) -> Limiter:
    limits = {HOST: ProviderLimit(**limit)} if limit else {}
    return Limiter(limits, clock=time, sleep=time.sleep, longest_s=longest_s)


def headers(**values: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.replace("_", "-").encode(), value.encode()) for name, value in values.items())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("1s", 1),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("20", 20),
        ("", None),
        ("soon", None),
        ("1s!", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23T08:00:30Z", 30),
        ("2026-11-23T09:00:00+01:00", 0),
        ("2026-11-23T07:00:00Z", 0),
        (str(int(NOW.timestamp()) + 60), 60),
        ("250ms", 0.25),
        ("never", None),
    ],
)
def test_resets(text: str, seconds: float | None) -> None:
    assert parse_reset(text, NOW) == seconds


def test_headers_of_both_families_are_read() -> None:
    openai = headers(
        x_ratelimit_limit_requests="500",
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="6m0s",
        x_ratelimit_remaining_tokens="1000",
        x_ratelimit_reset_tokens="1s",
    )
    found = {item.kind: item for item in read_headers(openai, NOW)}
    assert (found["requests"].remaining, found["requests"].reset_s, found["requests"].limit) == (0, 360, 500)
    assert (found["tokens"].remaining, found["tokens"].limit) == (1000, None)
    anthropic = headers(
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="7",
        anthropic_ratelimit_requests_reset="2026-11-23T08:00:10Z",
    )
    (only,) = read_headers(anthropic, NOW)
    assert (only.kind, only.remaining, only.reset_s, only.limit) == ("requests", 7, 10, 50)
    assert read_headers(headers(content_type="text/plain", x_ratelimit_remaining="x"), NOW) == []


def test_a_host_without_a_limit_never_waits() -> None:
    time = Time()
    found = limiter(time)
    asyncio.run(found.acquire(HOST, 10**9))
    assert time.slept == []
    assert not found.applies(HOST)


def test_a_configured_rate_spreads_requests_after_the_burst() -> None:
    time = Time()
    found = limiter(time, requests_per_minute=60)

    async def take() -> list[float]:
        at = []
        for _ in range(12):
            await found.acquire(HOST, 0)
            at.append(time.now - 1000)
        return at

    assert asyncio.run(take()) == [0] * 7 + [1, 2, 3, 4, 5]


def test_a_configured_token_rate_counts_tokens() -> None:
    time = Time()
    found = limiter(time, tokens_per_minute=600)

    async def take() -> None:
        for _ in range(3):
            await found.acquire(HOST, 100)

    asyncio.run(take())
    assert time.now - 1000 == pytest.approx(14)


def test_an_exhausted_window_is_waited_for_and_then_open() -> None:
    time = Time()
    found = limiter(time)
    found.learn(
        HOST,
        200,
        headers(
            x_ratelimit_remaining_requests="1",
            x_ratelimit_reset_requests="20s",
            x_ratelimit_limit_requests="2",
        ),
    )

    async def take() -> list[float]:
        at = []
        for _ in range(4):
            await found.acquire(HOST, 0)
            at.append(time.now - 1000)
        return at

    # What is left may go, then the window opens with its whole limit.
    assert asyncio.run(asyncio.wait_for(take(), 5))[:3] == [0, 20, 20]


def test_a_429_with_retry_after_holds_the_others_back() -> None:
    time = Time()
    found = limiter(time)
    found.learn(HOST, 429, headers(retry_after="7"))
    asyncio.run(found.acquire(HOST, 0))
    assert time.now - 1000 == 7
    found.learn(HOST, 503, headers(retry_after="7"))
    asyncio.run(found.acquire(HOST, 0))
    assert time.now - 1000 == 7


@pytest.mark.parametrize(
    "said",
    [
        {"retry_after": "7"},
        {"retry_after": "7", "x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "7s"},
    ],
)
def test_a_429_holds_everybody_back_but_the_trial_that_has_seen_it(said: dict[str, str]) -> None:
    time = Time()
    found = limiter(time)
    found.learn(HOST, 429, headers(**said), "hasty")
    asyncio.run(found.acquire(HOST, 0, "hasty"))
    assert time.now - 1000 == 0
    asyncio.run(found.acquire(HOST, 0, "another"))
    assert time.now - 1000 == 7
    # Once that is over, the trial shares what is learnt with all.
    quiet = headers(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="5s")
    found.learn(HOST, 200, quiet, "another")
    asyncio.run(found.acquire(HOST, 0, "hasty"))
    assert time.now - 1000 == 12


def test_an_agent_without_backoff_meets_every_429_at_once(net: World) -> None:
    upstream = HttpUpstream(says(response(b"slow down", "429 Too Many Requests", Retry_After="60")))
    server = net.gateway(routes={HOST: f"http://127.0.0.1:{net.upstream(upstream)}"})
    direct = server.listen(Origin.direct(HOST, None, 80))
    request = b"GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        assert ask(direct, request).startswith(b"HTTP/1.1 429 ")
    assert [item.status for item in server.wait_for(3)] == [429] * 3
    assert len(upstream.received) == 3
    assert server.session.waited_s < 30


def test_nobody_waits_longer_than_the_bound() -> None:
    time = Time()
    found = limiter(time, longest_s=30)
    found.learn(HOST, 429, headers(retry_after="100000"))
    asyncio.run(found.acquire(HOST, 0))
    assert time.now - 1000 == 30


def test_a_request_larger_than_the_window_goes_when_the_window_is_full() -> None:
    time = Time()
    found = limiter(time)
    found.learn(
        HOST,
        200,
        headers(
            x_ratelimit_remaining_tokens="10", x_ratelimit_reset_tokens="5s", x_ratelimit_limit_tokens="100"
        ),
    )
    asyncio.run(found.acquire(HOST, 5000))
    assert time.now - 1000 == 5


def test_trials_share_the_limit_and_are_told_how_long_they_waited(net: World) -> None:
    reply = response(b"ok", x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="500ms")
    port = net.upstream(HttpUpstream(says(reply)))
    server = net.gateway(routes={HOST: f"http://127.0.0.1:{port}"})
    other = server.gateway.session("other/baseline/1", lambda exchange: None, lambda data: "")
    direct = server.listen(Origin.direct(HOST, None, 80))
    request = b"GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
    assert ask(direct, request).endswith(b"ok")
    assert server.session.waited_s < 30
    assert ask(direct, request).endswith(b"ok")
    assert 0.3 < server.session.waited_s < 20
    assert other.waited_s == 0
