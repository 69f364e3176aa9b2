"""Several real processes on one ledger, and processes that are killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from aegis.errors import UsageError
from aegis.results import Ledger
from support.run_records import RUN_ID, run_record

PLAN = [(f"case-{number}", "baseline", 1) for number in range(30)]
DEADLINE_S = 120.0

PREAMBLE = """
import os, sys, time
from pathlib import Path
from aegis.results import Ledger, RunRecord
folder, run_id = Path(sys.argv[1]), sys.argv[2]
plan = [(f"case-{number}", "baseline", 1) for number in range(30)]
def result(epoch):
    return {"outcome": "passed", "reason": "", "answer": f"{os.getpid()} {epoch} " + "x" * 3000}
"""

RACE = """
# Every process begins and reports every trial: only one report of each may count.
ledger = Ledger(folder)
accepted = 0
for case, variant, number in plan:
    epoch = ledger.begin_attempt(run_id, case, variant, number)
    accepted += ledger.finish_attempt(
        run_id, case, variant, number, epoch, outcome="passed", result=result(epoch), final=True
    )
print(accepted)
"""

WORK_UNTIL_KILLED = """
ledger = Ledger(folder)
ledger.create_run(RunRecord(run_id, "suite", "running", "2026-11-23T00:00:00Z", {}), plan)
print("ready", flush=True)
while True:
    for case, variant, number in plan:
        epoch = ledger.begin_attempt(run_id, case, variant, number)
        final = number + epoch > 40
        ledger.finish_attempt(
            run_id, case, variant, number, epoch, outcome="error", result=result(epoch), final=final
        )
"""

OPEN = """
while not (folder / "go").exists():
    time.sleep(0.001)
ledger = Ledger(folder / "ledger")
ledger.create_run(RunRecord(f"run-{os.getpid()}", "suite", "complete", "2026-11-23T00:00:00Z", {}), plan)
print("ok")
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, str(folder), RUN_ID], stdout=subprocess.PIPE, text=True
    )


def outputs(processes: list[subprocess.Popen[str]]) -> list[str]:
    found = [process.communicate(timeout=DEADLINE_S)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return found


def test_reports_of_many_processes_count_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.create_run(run_record(), PLAN)
        accepted = outputs([start(RACE, tmp_path) for _ in range(4)])
        assert sum(map(int, accepted)) == len(PLAN)
        assert ledger.counts(RUN_ID)["passed"] == len(PLAN)
        for trial in ledger.trials(RUN_ID):
            assert trial.attempts == trial.epoch == 4
            attempts = ledger.attempts(RUN_ID, trial.case, trial.variant, trial.number)
            assert Counter(attempt.final for attempt in attempts) == {True: 1, False: 3}
            assert [attempt.epoch for attempt in attempts] == [1, 2, 3, 4]


def test_many_processes_make_the_ledger_at_the_same_moment(tmp_path: Path) -> None:
    processes = [start(OPEN, tmp_path) for _ in range(5)]
    (tmp_path / "go").touch()
    assert outputs(processes) == ["ok"] * 5
    with Ledger(tmp_path / "ledger") as ledger:
        assert len(ledger.runs()) == 5


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.5])
def test_killed_process_leaves_whole_reports_and_a_run_that_can_be_resumed(
    tmp_path: Path, after_s: float
) -> None:
    process = start(WORK_UNTIL_KILLED, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with Ledger(tmp_path) as ledger:
        assert ledger.run(RUN_ID).status == "running"
        with pytest.raises(UsageError, match=f"process {process.pid}"):
            ledger.claim_run(RUN_ID)
        time.sleep(after_s)  # another moment of its work in each case; any of them is right
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
        process.stdout.close()

        assert ledger.run(RUN_ID).status == ledger.summaries()[0].status == "interrupted"
        for trial in ledger.trials(RUN_ID):
            attempts = ledger.attempts(RUN_ID, trial.case, trial.variant, trial.number)
            assert [attempt.epoch for attempt in attempts] == list(range(1, trial.epoch + 1))
            assert all((a.outcome is None) == (a.result is None) == (a.finished_at is None) for a in attempts)
            # Only the newest attempt can lack its report, and those that were begun after the trial was
            # final.
            counting = [attempt.epoch for attempt in attempts if attempt.final] or [len(attempts) - 1]
            assert len(counting) == 1
            assert [a.epoch for a in attempts if a.outcome][: counting[0]] == list(range(1, counting[0] + 1))
            assert (trial.outcome is None) == (not any(attempt.final for attempt in attempts))

        ledger.claim_run(RUN_ID)
        for case, variant, number in ledger.missing(RUN_ID):
            epoch = ledger.begin_attempt(RUN_ID, case, variant, number)
            assert ledger.finish_attempt(
                RUN_ID, case, variant, number, epoch, outcome="passed", result={}, final=True
            )
        assert ledger.missing(RUN_ID) == []
        counts = ledger.counts(RUN_ID)
        assert counts["passed"] + counts["error"] == counts["planned"] == len(PLAN)
        ledger.finish_run(RUN_ID, "complete", None)
    assert list((tmp_path / "runs").iterdir()) == []


def test_lock_is_not_inherited_by_programs_that_outlive_their_starter(tmp_path: Path) -> None:
    script = """
import subprocess
ledger = Ledger(folder)
ledger.create_run(RunRecord(run_id, "suite", "running", "2026-11-23T00:00:00Z", {}), plan)
child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, close_fds=False)
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    process = start(script, tmp_path)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait(DEADLINE_S)
    process.stdout.close()
    try:
        with Ledger(tmp_path) as ledger:
            assert ledger.run(RUN_ID).status == "interrupted"
            ledger.claim_run(RUN_ID)
    finally:
        os.kill(child, signal.SIGKILL)
