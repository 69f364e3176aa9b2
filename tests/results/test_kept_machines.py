"""Names, sizes and ages of kept machines, and which of them go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis.results.machines import ABANDONED_S, KeptMachine, Machines


def put(
    machines: Machines, name: str, *, size: int = 100, at: float, case: str = "refund", epoch: int = 1
) -> Path:
    folder = machines.attempt("run-1", case, "baseline", 1, epoch) / name
    folder.mkdir(parents=True)
    (folder / "memory.zst").write_bytes(b"x" * size)
    os.utime(folder, (at, at))
    return folder


def names(found: list[KeptMachine] | tuple[KeptMachine, ...]) -> list[str]:
    return [machine.name for machine in found]


def test_a_trial_has_its_checkpoints_in_order_and_its_end(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    for number, name in enumerate(("turn-10", "end", "turn-2")):
        put(machines, name, at=1000 + number)
    found = machines.of_trial("run-1", "refund", "baseline", 1)
    assert [(machine.turn, machine.size_bytes) for machine in found] == [(2, 100), (10, 100), (None, 100)]
    assert machines.of_trial("run-1", "refund", "baseline", 2) == []


@pytest.mark.parametrize("case", ["a/b", "../../up", "tab\tnew\nline", "ü,%2C", ".", "x" * 60])
def test_any_case_name_stays_below_the_folder(tmp_path: Path, case: str) -> None:
    machines = Machines(tmp_path)
    folder = put(machines, "end", at=1000, case=case)
    assert folder.resolve().is_relative_to(machines.folder.resolve())
    assert [machine.case for machine in machines.all()] == [case]


def test_a_very_long_case_name_is_found_again(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    for case in ("ü" * 300 + "a", "ü" * 300 + "b"):
        put(machines, "end", at=1000, case=case)
        assert len(machines.of_trial("run-1", case, "baseline", 1)) == 1
    assert len(machines.all()) == 2


def test_the_oldest_go_and_the_newest_never(tmp_path: Path) -> None:
    machines = Machines(tmp_path, max_bytes=250)
    for number in range(1, 5):
        newest = put(machines, f"turn-{number}", at=1000 + number)
    removed = machines.make_room(newest)
    assert names(removed.machines) == ["run-1/refund/1 (turn 1)", "run-1/refund/1 (turn 2)"]
    assert removed.freed_bytes == 200
    assert names(machines.all()) == ["run-1/refund/1 (turn 3)", "run-1/refund/1 (turn 4)"]
    assert names(Machines(tmp_path, max_bytes=1).make_room(newest).machines) == ["run-1/refund/1 (turn 3)"]
    assert names(machines.all()) == ["run-1/refund/1 (turn 4)"]


def test_what_an_older_attempt_left_is_removed(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    put(machines, "turn-1", at=1000, epoch=1)
    put(machines, "turn-1", at=1001, epoch=2)
    assert [machine.folder.parent.name for machine in machines.all()] == ["2"]


def test_pruning_a_run_leaves_the_others_and_no_empty_folder(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    put(machines, "end", at=1000)
    other = machines.attempt("run-2", "refund", "mild", 3, 1) / "end"
    other.mkdir(parents=True)
    assert names(machines.prune("run-1").machines) == ["run-1/refund/1 (end)"]
    assert not (machines.folder / "run-1").exists()
    assert names(machines.all()) == ["run-2/refund[mild]/3 (end)"]
    assert names(machines.prune().machines) == ["run-2/refund[mild]/3 (end)"]
    assert machines.prune().machines == ()


def test_half_made_machines_are_no_machines_and_go_when_they_are_old(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    folder = machines.attempt("run-1", "refund", "baseline", 1, 1)
    for name in (".young", ".old"):
        (folder / name).mkdir(parents=True)
    long_ago = (folder / ".old").stat().st_mtime - 2 * ABANDONED_S
    os.utime(folder / ".old", (long_ago, long_ago))
    assert machines.all() == []
    machines.make_room()
    assert [path.name for path in folder.iterdir()] == [".young"]


def test_where_nothing_is_kept_there_is_nothing(tmp_path: Path) -> None:
    machines = Machines(tmp_path / "none")
    assert machines.all() == []
    assert machines.prune().machines == ()
    machines.drop(tmp_path / "none/x/y")
    assert not (tmp_path / "none").exists()
