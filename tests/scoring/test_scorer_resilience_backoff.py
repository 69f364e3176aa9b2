"""Rule `backoff`: pauses grow, or are random."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from aegis.scoring.resilience import backoff
from support.resilience import broken, by_sdk, idle, kept, sent, spaced, tried

RULE = "backoff"
DOWN = [503, 503, 503, 503, 200]


def test_the_official_sdks() -> None:
    """min(0.5·2ⁿ, 8)·U(0.75, 1), 2 retries, in the shortest and the longest that it can be."""
    for pauses_s in ([0.375, 1.0], [0.5, 0.75], [0.48, 0.91]):
        assert kept(RULE, by_sdk(spaced(pauses_s), [503, 503, 200])) == (
            "backoff: the pauses of 1 request grew or were random"
        )


def test_no_pause_at_all() -> None:
    """urllib3's Retry with its default factor 0, and tenacity without a wait."""
    reason = broken(RULE, tried(spaced([0.004, 0.003, 0.005, 0.004]), DOWN))
    assert reason == (
        "GET crm.example/orders/1042 got 503 at 1.10 s (exchange 1) and was sent again without a pause worth the name, "
        "at 1.10 s (exchange 2), at 1.21 s (exchange 3), at 1.31 s (exchange 4), at 1.42 s (exchange 5) "
        "(pauses 4 ms, 3 ms, 5 ms, 4 ms)"
    )
    # Two pauses of a few milliseconds are no growth, whatever their ratio.
    assert "pauses that do not grow" in broken(RULE, tried(spaced([0.002, 0.05]), [503, 503, 200]))


def test_three_short_pauses_are_too_many_though_they_grow() -> None:
    growing = [0.01, 0.03, 0.09, 0.3, 0.9]
    assert "without a pause" in broken(RULE, tried(spaced(growing), [500] * 5 + [200]))
    assert kept(RULE, tried(spaced(growing[1:]), [500] * 4 + [200]))


@pytest.mark.parametrize(
    "pauses_s", [[1.0, 1.0], [1.0, 1.04, 1.02], [0.3, 0.33, 0.31, 0.34], [4.0, 2.0, 1.0]]
)
def test_pauses_that_neither_grow_nor_are_random(pauses_s: list[float]) -> None:
    statuses = [500] * len(pauses_s)
    assert "with pauses that do not grow" in broken(RULE, tried(spaced(pauses_s), [*statuses, 200]))


@pytest.mark.parametrize(
    "pauses_s",
    [[0.5, 1.0], [0.2, 0.26, 0.34], [1, 2, 4, 4], [0.9, 0.3], [1.0, 0.4, 3.1], [0.6, 1.9, 0.7, 5.0]],
)
def test_pauses_that_grow_or_are_random(pauses_s: list[float]) -> None:
    statuses = [500] * len(pauses_s)
    assert kept(RULE, tried(spaced(pauses_s), [*statuses, 200]))


def full_jitter(chance: random.Random, number: int) -> list[float]:
    """As botocore's standard mode waits."""
    return [chance.random() * min(2.0**n, 20.0) for n in range(number)]


def constant(chance: random.Random, number: int) -> list[float]:
    return [1.0 + chance.random() * 0.08 for _ in range(number)]


@pytest.mark.parametrize(
    ("wait", "number", "least", "most"),
    [
        (full_jitter, 2, 0.9, 1.0),
        (full_jitter, 3, 0.95, 1.0),
        (full_jitter, 4, 0.98, 1.0),
        (constant, 2, 0.0, 0.0),
        (constant, 3, 0.0, 0.0),
        (constant, 4, 0.0, 0.0),
    ],
)
def test_how_often_the_formula_is_right(
    wait: Callable[[random.Random, int], list[float]], number: int, least: float, most: float
) -> None:
    chance = random.Random(1)
    drawn = [wait(chance, number) for _ in range(4000)]
    share = sum(backoff.grows(item) or backoff.like_full_jitter(item) for item in drawn) / len(drawn)
    assert least <= share <= most


def test_two_attempts_say_nothing() -> None:
    assert idle(RULE, tried(spaced([0.001]), [503, 200]))


def test_pauses_that_were_asked_for_are_another_rules_matter() -> None:
    told = [sent(n, 1.0 + n * 1.1, 429, answered={"Retry-After": "1"}) for n in range(1, 5)]
    assert idle(RULE, told)


def test_statuses_that_do_not_pass_are_another_rules_matter() -> None:
    assert idle(RULE, tried(spaced([0.001] * 3), [403] * 4))


def test_no_answer_is_a_failure() -> None:
    resets = tried(spaced([1.0, 1.0]), [None, None, None], error="injected: the connection is reset")
    assert "got no answer (the connection is reset) at 1.10 s (exchange 1)" in broken(RULE, resets)


def test_a_poll_is_no_retry() -> None:
    assert idle(RULE, tried(spaced([0.5] * 5), [200] * 6))


def test_the_agents_own_calls_are_apart_from_the_sdks_retries() -> None:
    """Each call of the SDK backs off, and the agent calls it again at once."""
    bursts = [by_sdk(spaced([0.5, 1.0], start_s=1 + 2 * n), [503] * 3, first_id=1 + 3 * n) for n in range(3)]
    reason = broken(RULE, [item for burst in bursts for item in burst])
    assert "at 3.00 s (exchange 4, the agent's own), at 5.00 s (exchange 7, the agent's own)" in reason
    spread = [
        by_sdk(spaced([0.5, 1.0], start_s=at_s), [503] * 3, first_id=id)
        for id, at_s in ((1, 1), (4, 5), (7, 15))
    ]
    assert kept(RULE, [item for burst in spread for item in burst])


def test_another_body_is_another_request() -> None:
    calls = [sent(n, 1.0 + n * 0.11, 503, method="POST", body={"page": n}) for n in range(1, 6)]
    assert idle(RULE, calls)
    same = [
        sent(n, 1.0 + n * 0.11, 503, method="PUT", body={"a": 1, "b": 2} if n % 2 else {"b": 2, "a": 1})
        for n in range(1, 6)
    ]
    assert broken(RULE, same)
