"""Trials on another date, and the files that are kept with a trial."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_values import (
    Converse,
    MemoryBlobs,
    ScriptedAgent,
    ScriptedNetwork,
    ScriptedScorer,
    answer_at_once,
    answered,
    case,
    spec,
    suite,
    tools,
)

from aegis.agents.base import AgentResult
from aegis.engine.clocks import refuse_without_machines
from aegis.engine.fingerprint import fingerprint
from aegis.engine.kept import Collected, KeptFile
from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.engine.template import CaseFiles
from aegis.engine.trial import run_trial
from aegis.errors import GuestOperationError, HostileArchiveError, LedgerError, UsageError
from aegis.sandbox.base import Sandbox
from aegis.suite.model import Clock, World
from support.fake_driver import FakeDriver, FakeSandbox

CLOCK = Clock(at=1835481000.0, zone="Europe/Berlin")


def attempt(driver: FakeDriver, *, fields: dict[str, Any], **kit: Any) -> TrialResult:
    result = asyncio.run(run_trial(spec(case(**fields)), tools(driver, **kit))).result
    assert driver.alive == 0
    assert TrialResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    return result


def test_the_clock_is_set_before_the_world_and_again_before_the_agent() -> None:
    driver, network, agent = FakeDriver(), ScriptedNetwork(), ScriptedAgent()
    result = attempt(
        driver,
        fields={"world": World(run=("one", "two"), clock=CLOCK)},
        network=network,
        agent=agent,
    )
    (sandbox,) = driver.sandboxes
    assert sandbox.clocks == [(0, CLOCK.at, "Europe/Berlin"), (2, CLOCK.at, None)]
    assert [environment["TZ"] for environment in sandbox.environments] == ["Europe/Berlin"] * 2
    assert agent.seen is not None
    assert agent.seen.env["TZ"] == "Europe/Berlin"
    assert network.shown_s == CLOCK.at
    assert (result.outcome, result.clock) == ("passed", CLOCK)


def test_a_zone_alone_leaves_the_time() -> None:
    driver, network = FakeDriver(), ScriptedNetwork()
    attempt(driver, fields={"world": World(clock=Clock(zone="Asia/Tokyo"))}, network=network)
    assert driver.sandboxes[0].clocks == [(0, None, "Asia/Tokyo")]
    assert network.shown_s is None


def test_without_a_clock_nothing_is_set() -> None:
    driver, agent = FakeDriver(), ScriptedAgent()
    result = attempt(driver, fields={}, agent=agent)
    assert driver.sandboxes[0].clocks == []
    assert agent.seen is not None
    assert "TZ" not in agent.seen.env
    assert result.clock is None


def test_a_clock_that_cannot_be_set_is_an_error() -> None:
    driver = FakeDriver(clock_error=GuestOperationError("this clock is the host's own", code="bad-request"))
    result = attempt(driver, fields={"world": World(clock=CLOCK)})
    assert (result.outcome, result.trace) == ("error", None)
    assert result.reason.startswith("world set-up failed: this clock is the host's own")


def test_runs_without_machines_refuse_it_for_the_chosen_cases_only() -> None:
    the_suite = suite(case("a"), *(case(f"b{n}", world=World(clock=CLOCK)) for n in range(5)))
    plain = PlannedTrial("a", "baseline", 1)
    clocked = [PlannedTrial(f"b{n}", "baseline", 1) for n in range(5)]
    refuse_without_machines(the_suite, [plain], "none")
    refuse_without_machines(the_suite, [plain, *clocked], "vm")
    with pytest.raises(UsageError, match="needs machines") as refused:
        refuse_without_machines(the_suite, [plain, *clocked], "none")
    assert "b0, b1, b2 and 2 more" in str(refused.value)


def test_another_date_is_another_case() -> None:
    def of(world: World) -> str:
        cases = suite(case("a", world=world))
        return fingerprint(cases, {"a": CaseFiles()}, image="i", isolation="vm", network={})

    assert of(World()) == of(World(reset=("x",)))
    assert len({of(World()), of(World(clock=CLOCK)), of(World(clock=Clock(at=CLOCK.at)))}) == 3


# -- collect -----------------------------------------------------------------------------------------------------


def leaving(**files: bytes) -> Converse:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        assert isinstance(sandbox, FakeSandbox)
        sandbox.files |= {f"/workspace/{name.replace('_', '/')}": data for name, data in files.items()}
        return answered()

    return converse


COLLECT = {"collect": ("/workspace/out", "/workspace/no.txt")}
KEPT = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_files_are_kept_before_anything_is_scored() -> None:
    blobs = MemoryBlobs()

    class Clearing(ScriptedScorer):
        async def score(self, *args: Any, **kwargs: Any) -> Any:
            args[-1].sandbox.files.clear()
            return await super().score(*args, **kwargs)

    result = attempt(
        FakeDriver(),
        fields=COLLECT,
        converse=leaving(out_1=b"a", other=b"b"),
        blobs=blobs,
        scorer=Clearing(),
    )
    assert result.outcome == "passed"
    assert result.collected == Collected(
        (KeptFile("/workspace/out/1", 1, KEPT),), (("/workspace/no.txt", "nothing is there"),)
    )
    assert blobs.get(KEPT) == b"a"


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [({"failure": "exit code 1"}, "failed"), ({"failure": None, "timed_out": True}, "timeout")],
)
def test_files_of_a_failed_trial_are_kept(failure: dict[str, Any], outcome: str) -> None:
    import dataclasses

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        return dataclasses.replace(await leaving(out_1=b"a")(sandbox, timeout_s), **failure)

    result = attempt(FakeDriver(), fields=COLLECT, converse=converse)
    assert (result.outcome, result.scores) == (outcome, ())
    assert result.collected is not None
    assert [file.path for file in result.collected.files] == ["/workspace/out/1"]


def test_a_lost_machine_gives_no_files() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        assert isinstance(sandbox, FakeSandbox)
        sandbox.lose(by_guest=True)
        await sandbox.get_file("/x")
        raise AssertionError

    result = attempt(FakeDriver(), fields=COLLECT, converse=converse)
    assert (result.outcome, result.collected) == ("failed", None)


def test_what_a_machine_does_not_give_is_told_and_decides_nothing() -> None:
    driver = FakeDriver(gather_error=HostileArchiveError("broken archive: it ends in the middle"))
    result = attempt(driver, fields=COLLECT)
    assert result.outcome == "passed"
    assert result.collected == Collected(
        left_out=tuple((path, "broken archive: it ends in the middle") for path in COLLECT["collect"])
    )


def test_a_host_that_cannot_keep_files_makes_an_error() -> None:
    class Full(MemoryBlobs):
        def put(self, data: bytes) -> str:
            raise LedgerError("the disk is full")

    result = attempt(FakeDriver(), fields=COLLECT, converse=leaving(out_1=b"a"), blobs=Full())
    assert (result.outcome, result.reason) == ("error", "the disk is full")


def test_a_case_that_keeps_nothing_asks_for_nothing() -> None:
    driver = FakeDriver(gather_error=HostileArchiveError("asked"))
    result = attempt(driver, fields={}, converse=answer_at_once)
    assert (result.outcome, result.collected) == ("passed", None)


def test_the_row_tells_how_many_more_were_left_out() -> None:
    assert Collected(more=3).row() == {
        "collected": [],
        "not_collected": [{"path": None, "why": "3 more"}],
    }
