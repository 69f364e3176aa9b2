from __future__ import annotations

import dataclasses

from aegis.results.document import build
from aegis.results.show import CaseRow, case_rows, run_row
from support.run_records import run_record, trial_record


def sandbox(start_ms: float) -> dict[str, object]:
    return {"driver": "qemu", "start_ms": start_ms, "restored": True, "memory_mib": 256}


def test_rows_by_case_and_variant() -> None:
    trials = [
        trial_record("refund", 1, sandbox=sandbox(100)),
        trial_record("cancel", 1, "failed", "no amount", sandbox=sandbox(300)),
        trial_record("refund", 2, sandbox=sandbox(200)),
        trial_record("refund", 1, "timeout", "no answer within 5 s", "deep", sandbox=sandbox(50)),
        trial_record("cancel", 2, "failed", "no amount", sandbox=sandbox(100)),
        trial_record("cancel", 3, "error", "no machine", sandbox=None),
        trial_record("cancel", 4, None),
    ]
    rows = case_rows(build(run_record(), trials))
    assert rows == [
        CaseRow("refund", "baseline", 2, 2, "", 150.0),
        CaseRow("cancel", "baseline", 0, 4, "no amount (+2 more)", 200.0),
        CaseRow("refund", "deep", 0, 1, "timeout: no answer within 5 s", 50.0),
    ]
    assert [row.label for row in rows] == ["refund", "cancel", "refund (deep)"]


def test_case_without_a_sandbox_has_no_start_time() -> None:
    (row,) = case_rows(build(run_record(), [trial_record(outcome="error", reason="", sandbox=None)]))
    assert (row.start_ms, row.why) == (None, "error")


def test_run_rows_with_and_without_a_document() -> None:
    running = run_row(run_record(), {"planned": 3, "passed": 1})
    assert (running.state, running.passed, running.planned, running.pass_rate) == ("running", 1, 3, None)
    assert run_row(run_record()).planned is None
    document = build(run_record(), [trial_record()], duration_s=2.0)
    summary = {key: value for key, value in document.items() if key != "trials"}
    complete = run_row(run_record(status="complete", document=summary))
    assert (complete.state, complete.passed, complete.planned, complete.duration_s) == ("PASS", 1, 1, 2.0)
    interrupted = run_row(run_record(status="interrupted", document=summary))
    assert dataclasses.replace(interrupted, state="PASS") == complete
    assert interrupted.state == "interrupted"
