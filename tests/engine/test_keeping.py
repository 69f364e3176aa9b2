"""Which machines of a trial are kept, and that a machine which cannot be kept changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.agents.users import ScriptedUser
from aegis.engine.keeping import Keeping, TrialKeeper, Which
from aegis.engine.spec import Outcome, PlannedTrial, TrialSpec
from aegis.errors import SandboxError, SandboxLostError
from aegis.sandbox.base import Process, Sandbox
from aegis.sandbox.kept import Copied

SAID = ("one", "two", "three", "four", "five")


class Shelf:
    def __init__(self) -> None:
        self.dropped: list[Path] = []

    def folder(self, run_id: str, trial: PlannedTrial, epoch: int) -> Path:
        return Path(f"/{run_id}/{trial}/{epoch}")

    def drop(self, folder: Path) -> None:
        self.dropped.append(folder)

    def make_room(self, newest: Path) -> str | None:
        return "removed an old one" if newest.name == "turn-3" else None


class Machine:
    """A sandbox as far as a keeper looks."""

    newest: Process | None = None

    def __init__(self, fails: dict[str, Exception]) -> None:
        self.kept: dict[str, Mapping[str, Any]] = {}
        self._fails = fails

    async def keep(self, folder: Path, notes: Mapping[str, Any], program: Process | None = None) -> Copied:
        if folder.name in self._fails:
            raise self._fails[folder.name]
        self.kept[folder.name] = notes
        return Copied(10, 0.1, 0.2)


class Trial:
    """A conversation of five turns, watched."""

    def __init__(
        self, which: Which, every: int, *, protocol: str = "jsonl", fails: dict[str, Exception] | None = None
    ) -> None:
        self.shelf, self.said = Shelf(), list[str]()
        self.machine = Machine(fails or {})
        keeping = Keeping(self.shelf, which, every, self.said.append, lambda: {"gateway": "g"})
        spec = SimpleNamespace(
            run_id="run",
            epoch=2,
            planned=PlannedTrial("case", "baseline", 1),
            agent=SimpleNamespace(protocol=protocol),
        )
        self.keeper = TrialKeeper(keeping, cast(TrialSpec, spec), cast(Sandbox, self.machine))

    def play(self, outcome: Outcome) -> dict[str, Any] | None:
        async def body() -> dict[str, Any] | None:
            turns = self.keeper.watch(ScriptedUser(*SAID), lambda: {"place": len(self.machine.kept)})
            heard, answer = [], None
            assert turns.total == len(SAID)
            while (message := await turns.next(answer)) is not None:
                heard.append(message)
                answer = "ok"
            assert tuple(heard) == SAID
            return await self.keeper.at_end(outcome)

        return asyncio.run(body())


@pytest.mark.parametrize(
    ("every", "turns"), [(0, []), (1, [1, 2, 3, 4, 5]), (2, [1, 3, 5]), (4, [1, 5]), (9, [1])]
)
def test_checkpoints_before_every_nth_turn(every: int, turns: list[int]) -> None:
    trial = Trial("failed", every)
    kept = trial.play("failed")
    assert list(trial.machine.kept) == [*(f"turn-{turn}" for turn in turns), "end"]
    assert kept == {
        "end": {"bytes": 10},
        "checkpoints": turns,
        "bytes": 10 * (len(turns) + 1),
        "problem": None,
    }


def test_a_checkpoint_knows_what_is_to_be_said() -> None:
    trial = Trial("none", 2)
    trial.play("failed")
    expected = {"turn": 3, "message": "three", "position": {"place": 1}, "gateway": "g"}
    assert trial.machine.kept["turn-3"] == expected
    assert trial.said == ["removed an old one"]


@pytest.mark.parametrize("outcome", ["failed", "timeout", "error"])
@pytest.mark.parametrize("which", ["failed", "all"])
def test_what_did_not_pass_is_kept(which: Which, outcome: Outcome) -> None:
    trial = Trial(which, 0)
    assert (trial.play(outcome) or {})["end"] == {"bytes": 10}
    assert trial.shelf.dropped == []


def test_what_passed_is_kept_only_if_all_are() -> None:
    assert (Trial("all", 1).play("passed") or {})["checkpoints"] == [1, 2, 3, 4, 5]
    for which in ("failed", "none"):
        trial = Trial(cast(Which, which), 1)
        assert trial.play("passed") is None
        assert trial.shelf.dropped == [Path("/run/case/1/2")]


def test_checkpoints_alone_keep_no_end() -> None:
    assert (Trial("none", 4).play("failed") or {})["end"] is None


def test_an_agent_that_is_told_all_at_once_has_one_checkpoint() -> None:
    assert (Trial("none", 1, protocol="text").play("failed") or {})["checkpoints"] == [1]


def test_a_machine_that_cannot_be_kept_is_told_once_and_changes_nothing() -> None:
    full = SandboxError("the disk is full")
    trial = Trial("failed", 1, fails={"turn-1": full, "turn-2": full, "end": SandboxLostError("it rebooted")})
    kept = trial.play("failed")
    assert kept == {
        "end": None,
        "checkpoints": [3, 4, 5],
        "bytes": 30,
        "problem": "there is no machine left to keep: it rebooted",
    }
    assert [line for line in trial.said if "disk" in line] == ["case/1: the disk is full"]


def test_the_time_that_keeping_takes_is_told_apart() -> None:
    trial = Trial("none", 1)
    trial.play("failed")
    assert trial.keeper.waited_s > 0
