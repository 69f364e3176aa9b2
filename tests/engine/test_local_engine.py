"""The executor: how many at once, what is repeated, and how it stops."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from engine_values import (
    Converse,
    MemorySink,
    ScriptedNetwork,
    ScriptedScorer,
    answer_at_once,
    answered,
    case,
    spec,
    tools,
)

from aegis.agents.base import AgentResult
from aegis.engine.events import Event, Message, TrialFinished, TrialRetrying, TrialStarted
from aegis.engine.local import LocalEngine
from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.errors import HostNeedsError, InfrastructureError, LedgerError, SandboxStartError
from aegis.sandbox.base import Sandbox
from aegis.scoring.base import ScoreContext
from support.fake_driver import FakeDriver, until


def plan(count: int) -> list[PlannedTrial]:
    return [PlannedTrial(f"c{number}", "baseline", 1) for number in range(count)]


class Bench:
    """An engine with everything around it scripted."""

    def __init__(
        self,
        driver: FakeDriver,
        *,
        converse: Converse = answer_at_once,
        scorer: ScriptedScorer | None = None,
        jobs: int = 2,
        retries: int = 2,
        sink: MemorySink | None = None,
        network: ScriptedNetwork | None = None,
    ) -> None:
        self.driver = driver
        self.sink = sink or MemorySink()
        self.events: list[Event] = []
        self.engine = LocalEngine(
            tools(driver, converse=converse, scorer=scorer, network=network),
            lambda planned, epoch: spec(case(planned.case), number=planned.number, epoch=epoch),
            self.sink,
            jobs=jobs,
            retries=retries,
            listener=self.events.append,
        )

    def run(self, trials: list[PlannedTrial]) -> None:
        asyncio.run(self.engine.run(trials))
        assert self.driver.alive == 0

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def forever(sandbox: Sandbox, timeout_s: float) -> AgentResult:
    await asyncio.Event().wait()
    raise AssertionError


def test_every_trial_runs_once_each_in_its_own_sandbox() -> None:
    bench = Bench(FakeDriver())
    bench.run(plan(10))
    assert bench.sink.outcomes() == {f"c{n}/1": "passed" for n in range(10)}
    assert bench.driver.starts == 10
    assert len(bench.of(TrialStarted)) == len(bench.of(TrialFinished)) == 10


def test_no_more_sandboxes_at_once_than_jobs() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await asyncio.sleep(0)
        return answered()

    bench = Bench(FakeDriver(), converse=converse, jobs=3)
    bench.run(plan(12))
    assert bench.driver.most_alive == 3


def test_trials_start_in_the_order_of_the_plan() -> None:
    bench = Bench(FakeDriver(), jobs=1)
    bench.run(plan(5)[::-1])
    assert [event.trial.case for event in bench.of(TrialStarted)] == ["c4", "c3", "c2", "c1", "c0"]


def test_an_infrastructure_error_is_repeated_on_a_fresh_sandbox() -> None:
    bench = Bench(FakeDriver(start_errors=[SandboxStartError("no boot"), None]), jobs=1)
    bench.run(plan(1))
    assert bench.sink.outcomes() == {"c0/1": "passed"}
    assert [(result.outcome, final) for result, final in bench.sink.attempts] == [
        ("error", False),
        ("passed", True),
    ]
    assert [result.epoch for result, _ in bench.sink.attempts] == [1, 2]
    assert [event.retries_left for event in bench.of(TrialRetrying)] == [2]


def test_errors_become_final_when_the_retries_are_used_up() -> None:
    async def judge(config: Any, context: ScoreContext) -> bool:
        raise LedgerError("cannot tell")

    bench = Bench(FakeDriver(), scorer=ScriptedScorer(judge), retries=2)
    bench.run(plan(2))
    assert bench.sink.outcomes() == {"c0/1": "error", "c1/1": "error"}
    assert bench.driver.starts == 6


@pytest.mark.parametrize("retries", [0, 5])
def test_failures_of_the_agent_are_never_repeated(retries: int) -> None:
    async def judge(config: Any, context: ScoreContext) -> bool:
        return False

    bench = Bench(FakeDriver(), scorer=ScriptedScorer(judge), retries=retries)
    bench.run(plan(3))
    assert set(bench.sink.outcomes().values()) == {"failed"}
    assert bench.driver.starts == 3


def test_the_driver_is_told_what_to_expect() -> None:
    bench = Bench(FakeDriver(), jobs=1)
    bench.run(plan(3))
    assert bench.driver.expected[0] == 3
    assert bench.driver.expected[-1] == 0
    assert bench.driver.expected == sorted(bench.driver.expected, reverse=True)


def test_a_host_that_lacks_something_ends_the_run_at_once() -> None:
    bench = Bench(FakeDriver(every_start_error=HostNeedsError("no QEMU", fix="apt install qemu")), jobs=1)
    with pytest.raises(HostNeedsError, match="no QEMU"):
        bench.run(plan(50))
    assert bench.driver.starts == 1
    assert bench.sink.final == {}


def test_a_host_on_which_nothing_starts_ends_the_run_soon() -> None:
    bench = Bench(FakeDriver(every_start_error=SandboxStartError("no boot")), jobs=2)
    with pytest.raises(SandboxStartError, match="no sandbox starts on this host: no boot") as caught:
        bench.run(plan(50))
    assert bench.driver.starts <= 4
    assert bench.sink.final == {}
    assert caught.value.fix


def test_what_no_trial_can_be_connected_to_ends_the_run_soon() -> None:
    error = InfrastructureError("the upstream crm was not ready in time", fix="try it by itself")
    network = ScriptedNetwork(open_error=error)
    bench = Bench(FakeDriver(), jobs=2, network=network)
    with pytest.raises(InfrastructureError, match="the upstream crm was not ready in time") as caught:
        bench.run(plan(50))
    assert caught.value is error
    assert bench.driver.starts == 0
    assert len(network.calls) <= 4
    assert bench.sink.final == {}


def test_each_attempt_has_a_way_out_of_its_own() -> None:
    network = ScriptedNetwork()
    bench = Bench(FakeDriver(start_errors=[SandboxStartError("no boot"), None]), jobs=1, network=network)
    bench.run(plan(1))
    opened = ["open c0/1", "close", "open c0/1", "start_clock", "end", "close"]
    assert network.calls == opened
    assert bench.sink.outcomes() == {"c0/1": "passed"}


def test_after_one_good_start_the_run_goes_on() -> None:
    errors: list[Exception | None] = [None, *[SandboxStartError("no boot")] * 9]
    bench = Bench(FakeDriver(start_errors=errors), jobs=1, retries=2)
    bench.run(plan(5))
    assert sorted(bench.sink.outcomes().values()) == ["error", "error", "error", "passed", "passed"]


def test_a_sink_that_breaks_ends_the_run_and_its_machines() -> None:
    class Full(MemorySink):
        def finish_attempt(self, result: Any, *, final: bool) -> bool:
            raise LedgerError("the disk is full")

    bench = Bench(FakeDriver(), sink=Full())
    with pytest.raises(LedgerError, match="the disk is full"):
        asyncio.run(bench.engine.run(plan(10)))
    assert bench.driver.alive == 0
    assert bench.driver.starts <= 2


def test_a_superseded_result_is_dropped_with_a_word() -> None:
    sink = MemorySink()

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        sink.begin_attempt(plan(1)[0])  # another process took the trial over
        return answered()

    bench = Bench(FakeDriver(), converse=converse, sink=sink)
    bench.run(plan(1))
    assert sink.final == {}
    assert len(bench.of(Message)) == 1
    assert bench.of(TrialFinished) == []


def test_results_are_not_kept() -> None:
    """Memory must not grow with the number of trials: each result goes to the sink and is forgotten."""
    alive: list[int] = []
    gc.collect()
    before = sum(isinstance(item, TrialResult) for item in gc.get_objects())  # other tests' leftovers

    class Forgetful(MemorySink):
        def finish_attempt(self, result: Any, *, final: bool) -> bool:
            if result.number % 100 == 0:
                alive.append(sum(isinstance(item, TrialResult) for item in gc.get_objects()))
            return True

    driver = FakeDriver()
    engine = LocalEngine(
        tools(driver),
        lambda planned, epoch: spec(number=planned.number, epoch=epoch),
        Forgetful(),
        jobs=2,
    )
    asyncio.run(engine.run([PlannedTrial("refund", "baseline", number) for number in range(1, 501)]))
    assert len(alive) == 5
    assert max(alive) - before <= 4


def stop_in_the_middle(bench: Bench, act: Callable[[asyncio.Event], None], release: asyncio.Event) -> None:
    async def scenario() -> None:
        running = asyncio.create_task(bench.engine.run(plan(10)))
        await until(lambda: bench.driver.alive == 2)
        act(release)
        await running

    asyncio.run(scenario())
    assert bench.driver.alive == 0
    assert bench.engine.stopping
    assert bench.driver.expected[-1] == 0


def test_the_first_stop_lets_running_trials_finish() -> None:
    release = asyncio.Event()

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await release.wait()
        return answered()

    bench = Bench(FakeDriver(), converse=converse)

    def act(release: asyncio.Event) -> None:
        bench.engine.request_stop()
        release.set()

    stop_in_the_middle(bench, act, release)
    assert list(bench.sink.outcomes().values()) == ["passed", "passed"]
    assert bench.driver.starts == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_the_second_stop_ends_running_trials(at_once: bool) -> None:
    bench = Bench(FakeDriver(), converse=forever)

    def act(release: asyncio.Event) -> None:
        if not at_once:
            bench.engine.request_stop()
        bench.engine.request_stop(at_once=at_once)

    stop_in_the_middle(bench, act, asyncio.Event())
    assert bench.sink.final == {}
    assert [(result.outcome, final) for result, final in bench.sink.attempts] == [("cancelled", False)] * 2


def test_a_stopped_run_does_not_repeat_errors() -> None:
    release = asyncio.Event()

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await release.wait()
        raise SandboxStartError("the monitor died")

    bench = Bench(FakeDriver(), converse=converse)

    def act(release: asyncio.Event) -> None:
        bench.engine.request_stop()
        release.set()

    stop_in_the_middle(bench, act, release)
    assert bench.driver.starts == 2
    assert bench.sink.final == {}


def test_cancelling_the_run_destroys_its_machines() -> None:
    bench = Bench(FakeDriver(), converse=forever)

    async def scenario() -> None:
        running = asyncio.create_task(bench.engine.run(plan(4)))
        await until(lambda: bench.driver.alive == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert bench.driver.alive == 0
    assert bench.sink.final == {}
