"""The time limit: what the gateway makes an agent wait is not the agent's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from aegis.agents import deadline
from aegis.agents.base import AgentResult
from aegis.agents.deadline import OwnTimeLimit
from aegis.suite.model import Agent
from support.process_sandbox import PATIENCE_S, converse


def limited(limit_s: float, takes_s: float, waited_s: Callable[[], float]) -> tuple[bool, str]:
    """Whether work of `takes_s` seconds was ended by the limit, and how the limit then describes itself."""

    async def body() -> tuple[bool, str]:
        limit = OwnTimeLimit(limit_s, waited_s)
        try:
            async with limit:
                await asyncio.sleep(takes_s)
        except TimeoutError:
            assert limit.expired()
            return True, limit.describe()
        assert not limit.expired()
        return False, limit.describe()

    return asyncio.run(body())


def jump(amounts: list[float]) -> Callable[[], float]:
    """A clock that shows these amounts one after the other, and then the last one."""
    return lambda: amounts.pop(0) if len(amounts) > 1 else amounts[0]


def test_without_waiting_it_is_a_timeout() -> None:
    assert limited(0.05, PATIENCE_S, lambda: 0.0) == (True, "50ms")
    assert limited(PATIENCE_S, 0.01, lambda: 0.0) == (False, "2m")


def test_waiting_moves_it_whenever_it_would_have_been_reached() -> None:
    # Read at the beginning, when it is armed, and each time that it would be reached.
    reads = [5.0, 5.0, 5.5, 5.9, 65.0]
    assert limited(0.05, 2.0, jump(reads)) == (False, "50ms (1m of waiting not counted)")
    assert len(reads) == 1


def test_waiting_from_before_does_not_count() -> None:
    assert limited(0.05, PATIENCE_S, lambda: 1000.0) == (True, "50ms")


def test_a_clock_that_goes_back_takes_no_time_away() -> None:
    assert limited(0.3, 0.1, jump([100.0, 100.0, 0.0])) == (False, "300ms")


def test_waiting_without_end_does_not_move_it_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "MAX_WAIT_S", 1.0)
    begun = time.monotonic()
    assert limited(0.05, PATIENCE_S, lambda: 1000 * (time.monotonic() - begun)) == (
        True,
        "50ms (1s of waiting not counted)",
    )


def test_a_limit_that_moves_all_the_time_is_not_looked_at_all_the_time() -> None:
    begun, reads = time.monotonic(), 0

    def waited_s() -> float:
        nonlocal reads
        reads += 1
        return time.monotonic() - begun

    assert limited(0.001, 1.0, waited_s)[0] is False
    assert reads < 30


def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    async def body() -> None:
        async with OwnTimeLimit(PATIENCE_S, lambda: 0.0):
            raise TimeoutError("another one")

    with pytest.raises(TimeoutError, match="another one"):
        asyncio.run(body())


SLOW = {
    "text": Agent(command="sleep 2; echo done", protocol="text"),
    "jsonl": Agent(
        command='read x; sleep 2; echo \'{"role": "assistant", "content": "done"}\'', protocol="jsonl"
    ),
    "python": Agent(command="slow:answer", protocol="python"),
}
FILES = {"slow.py": "import time\ndef answer(text):\n    time.sleep(2)\n    return 'done'"}


def slowly(protocol: str, waited_s: Callable[[], float]) -> AgentResult:
    return converse(SLOW[protocol], "x", files=FILES, timeout_s=0.7, waited_s=waited_s)


class Queue:
    """A gateway that makes the agent wait from now on for so many seconds."""

    def __init__(self, waits_s: float) -> None:
        self.waits_s = waits_s
        self.begun: float | None = None

    def waited_s(self) -> float:
        if self.begun is None:
            self.begun = time.monotonic()
        return min(self.waits_s, time.monotonic() - self.begun)


@pytest.mark.parametrize("protocol", SLOW)
def test_an_agent_that_was_made_to_wait_has_its_own_time_left(protocol: str) -> None:
    result = slowly(protocol, Queue(PATIENCE_S).waited_s)
    assert (result.failure, result.trace.answer) == (None, "done")
    assert result.trace.waited_s > 1
    assert result.trace.own_s < result.trace.duration_s
    assert result.trace.turns[0].duration_s > 1


@pytest.mark.parametrize("protocol", SLOW)
def test_an_agent_that_takes_too_long_by_itself_times_out(protocol: str) -> None:
    result = slowly(protocol, Queue(0.6).waited_s)
    assert result.timed_out
    assert result.failure == "timed out: no complete answer within 700ms (1s of waiting not counted)"
    assert 0 < result.trace.waited_s <= 0.6
