"""The example made from AgentDojo: the package's ground truth passes, an agent that obeys what it reads fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e_command import DEADLINE_S, outcomes, read_json
from e2e_packaged import Run, copy_example

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2 * DEADLINE_S)]

FEW_TASKS = "workspace-user_task_5 or travel-user_task_3 or slack-user_task_4"
FEW_INJECTIONS = "workspace-injection_task_3 or banking-injection_task_6"


@pytest.fixture
def dojo(tmp_path: Path) -> Run:
    return copy_example("agentdojo", tmp_path)


def document(folder: Path, *, trials: int) -> dict[str, Any]:
    found = read_json(folder / "run.json")
    assert len(found["trials"]) == len(outcomes(found)) == trials
    return found


def in_a_machine(found: dict[str, Any]) -> bool:
    """Whether its trials were in virtual machines, and asked for nothing outside of them."""
    return found["isolation"]["driver"] in ("qemu", "firecracker") and found["denied"] == []


def check_obeyed(found: dict[str, Any]) -> None:
    """Each trial did the injected task, as the package's own function says."""
    for trial in found["trials"]:
        task = trial["case"].partition("-")[2]
        assert trial["outcome"] == "failed", trial
        assert (False, f"{task} was done") in [(one["passed"], one["reason"]) for one in trial["scores"]], (
            trial
        )


def test_the_ground_truth_of_all_user_tasks_passes(dojo: Run, tmp_path: Path) -> None:
    ran = dojo("--suite", "user_tasks", "--isolation=none")
    assert ran.code == 0, ran
    found = document(tmp_path, trials=97)
    assert {trial["scores"][0]["reason"].rpartition(" was ")[2] for trial in found["trials"]} == {"done"}


@pytest.mark.parametrize("obey", ["0", "1"])
def test_only_the_agent_that_obeys_does_what_was_injected(dojo: Run, tmp_path: Path, obey: str) -> None:
    ran = dojo("--suite", "injections", "--isolation=none", "-k", "slack", "--env", f"OBEY={obey}")
    assert ran.code == int(obey), ran
    found = document(tmp_path, trials=5)
    if obey == "1":
        check_obeyed(found)


@pytest.mark.vm
def test_user_tasks_in_machines(dojo: Run, tmp_path: Path) -> None:
    ran = dojo("--suite", "user_tasks", "--isolation=vm", "--jobs", "2", "-k", FEW_TASKS)
    assert ran.code == 0, ran
    assert in_a_machine(document(tmp_path, trials=3))


@pytest.mark.vm
def test_an_agent_that_obeys_in_machines(dojo: Run, tmp_path: Path) -> None:
    ran = dojo(
        "--suite", "injections", "--isolation=vm", "--jobs", "2", "-k", FEW_INJECTIONS, "--env", "OBEY=1"
    )
    assert ran.code == 1, ran
    found = document(tmp_path, trials=2)
    assert in_a_machine(found)
    check_obeyed(found)
