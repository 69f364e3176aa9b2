"""`aegis` is killed in the middle of a run: no machine stays behind, and the run can be finished later."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_command import AEGIS, DEADLINE_S, Aegis, environment, outcomes, read_json
from e2e_processes import alive, command_line, descendants, wait_until

from aegis.results import Ledger

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(DEADLINE_S)]

TRIALS = 6
# Slow enough for the run to be caught in the middle.
SLOW = f"""\
suite: slow
trials: {TRIALS}
agent: {{command: "sleep 3; cat", protocol: text}}
sandbox: {{memory: 256MiB}}
cases:
  - {{id: patient, input: hello, expect: [{{answer: {{contains: hello}}}}]}}
"""


def finished_trials(project: Path) -> int:
    """How many trials of the only run have an outcome; 0 before there is a run."""
    if not (project / ".aegis" / "ledger.db").exists():
        return 0
    with Ledger(project / ".aegis") as ledger:
        return sum(trial.outcome is not None for run in ledger.runs() for trial in ledger.trials(run.run_id))


@pytest.fixture
def running(write_suite: Callable[..., Path]) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    project = write_suite("slow", SLOW)
    log = (project / "log").open("wb")
    argv = [AEGIS, "eval", "run", "--suite", "slow", "--isolation=vm", "--jobs", "2"]
    with log, subprocess.Popen(argv, cwd=project, env=environment(), stdout=log, stderr=log) as process:
        yield project, process
        process.kill()


def machines(pid: int) -> bool:
    return any("qemu-system" in command_line(process) for process in descendants(pid))


def test_nothing_stays_and_resume_finishes(
    aegis: Aegis, running: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    project, process = running
    wait_until(
        lambda: process.poll() is not None or (finished_trials(project) >= 1 and machines(process.pid)),
        "a first trial to finish while a machine runs",
        deadline_s=DEADLINE_S / 2,
    )
    assert process.poll() is None, (project / "log").read_text()
    started = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(started), "its processes to end", deadline_s=60)
    before = finished_trials(project)
    assert 1 <= before < TRIALS

    with Ledger(project / ".aegis") as ledger:
        (run,) = ledger.runs()
    resumed = aegis("eval", "resume", run.run_id, "--json", "out.json")
    assert resumed.code == 0, resumed
    document = read_json(project / "out.json")
    assert document["run_id"] == run.run_id
    assert outcomes(document) == {"patient": ["passed"] * TRIALS}
    assert sorted(trial["number"] for trial in document["trials"]) == list(range(1, TRIALS + 1))
    with Ledger(project / ".aegis") as ledger:
        assert len(ledger.runs()) == 1
        # What was done before the kill was kept, not done again.
        assert sum(trial.attempts for trial in ledger.trials(run.run_id)) < 2 * TRIALS
