from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import LedgerError, UsageError
from aegis.results import Ledger
from aegis.results.document import build
from support.run_records import RUN_ID, result, run_record

PLAN = [("refund", "baseline", 1), ("refund", "baseline", 2), ("cancel", "baseline", 1)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / ".aegis") as opened:
        yield opened


def finish(ledger: Ledger, case: str, number: int, outcome: str = "passed", **changes: Any) -> bool:
    epoch = ledger.begin_attempt(RUN_ID, case, "baseline", number)
    final = changes.pop("final", True)
    return ledger.finish_attempt(
        RUN_ID,
        case,
        "baseline",
        number,
        epoch,
        outcome=outcome,
        result=result(outcome, **changes),
        final=final,
    )


def test_a_run_from_plan_to_document(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    assert ledger.missing(RUN_ID) == PLAN
    assert ledger.counts(RUN_ID)["planned"] == 3
    for case, _, number in PLAN:
        assert finish(ledger, case, number)
    assert ledger.missing(RUN_ID) == []
    document = build(ledger.run(RUN_ID), ledger.trials(RUN_ID))
    ledger.finish_run(RUN_ID, "complete", document)
    run = ledger.run(RUN_ID)
    assert (run.status, run.document, run.config) == ("complete", document, run_record().config)
    assert ledger.counts(RUN_ID)["passed"] == 3


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.create_run(run_record(), PLAN)
        finish(ledger, "refund", 1)
    with Ledger(tmp_path) as ledger:
        trials = ledger.trials(RUN_ID)
        assert [(trial.case, trial.variant, trial.number) for trial in trials] == PLAN
        assert trials[0].result == result()
        assert ledger.run(RUN_ID).status == "interrupted"  # closed without finish_run


def test_retry_keeps_every_attempt_and_counts_one(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    assert finish(ledger, "refund", 1, "error", reason="no machine", final=False)
    assert ledger.missing(RUN_ID) == PLAN
    assert finish(ledger, "refund", 1, "failed", reason="wrong amount")
    trial = ledger.trials(RUN_ID)[0]
    assert (trial.epoch, trial.outcome, trial.attempts) == (2, "failed", 2)
    assert trial.result == result("failed", "wrong amount")
    attempts = ledger.attempts(RUN_ID, "refund", "baseline", 1)
    assert [(a.epoch, a.outcome, a.final) for a in attempts] == [(1, "error", False), (2, "failed", True)]
    assert attempts[0].result == result("error", "no machine")
    assert all(a.started_at <= (a.finished_at or "") for a in attempts)


def test_report_of_a_superseded_attempt_is_refused(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    first = ledger.begin_attempt(RUN_ID, "refund", "baseline", 1)
    second = ledger.begin_attempt(RUN_ID, "refund", "baseline", 1)
    assert (first, second) == (1, 2)

    def report(epoch: int, outcome: str) -> bool:
        return ledger.finish_attempt(
            RUN_ID, "refund", "baseline", 1, epoch, outcome=outcome, result=result(outcome), final=True
        )

    assert not report(first, "failed")
    assert ledger.trials(RUN_ID)[0].outcome is None
    assert report(second, "passed")
    assert not report(second, "failed")
    assert not report(99, "failed")
    assert ledger.trials(RUN_ID)[0].outcome == "passed"


def test_attempt_begun_after_the_end_cannot_change_the_result(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    finish(ledger, "refund", 1, "passed")
    assert not finish(ledger, "refund", 1, "failed")
    trial = ledger.trials(RUN_ID)[0]
    assert (trial.outcome, trial.result, trial.attempts) == ("passed", result(), 2)


def test_an_attempt_is_reported_once(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    epoch = ledger.begin_attempt(RUN_ID, "refund", "baseline", 1)
    arguments = (RUN_ID, "refund", "baseline", 1, epoch)
    assert ledger.finish_attempt(*arguments, outcome="error", result=result("error"), final=False)
    assert not ledger.finish_attempt(*arguments, outcome="passed", result=result(), final=True)
    assert len(ledger.missing(RUN_ID)) == 3


def test_cancelled_trial_is_run_again_by_resume(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    assert finish(ledger, "refund", 1, "cancelled", final=True)
    assert ledger.missing(RUN_ID) == PLAN
    assert finish(ledger, "refund", 1, "passed")


def test_long_results_and_documents_go_to_blobs(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    answer = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(200_000))
    finish(ledger, "refund", 1, answer=answer)
    trial = ledger.trials(RUN_ID)[0]
    assert trial.result is not None
    assert trial.result["answer"] == answer
    assert (ledger.folder / "ledger.db").stat().st_size < 200_000
    document = {"trials": [], "verdict": "PASS", "padding": answer}
    ledger.finish_run(RUN_ID, "complete", document)
    assert ledger.run(RUN_ID).document == document


def test_what_agents_write_survives(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    answer = "nul \x00 escape \x1b[2J surrogate \ud800 emoji 🙂 bidi \u202e"
    finish(ledger, "refund", 1, answer=answer)
    assert (ledger.trials(RUN_ID)[0].result or {})["answer"] == answer


def test_unknown_run_trial_outcome_and_status(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    with pytest.raises(UsageError, match="no run nothing"):
        ledger.trials("nothing")
    with pytest.raises(UsageError, match="no trial 7 of refund"):
        ledger.begin_attempt(RUN_ID, "refund", "baseline", 7)
    with pytest.raises(ValueError, match="not an outcome"):
        finish(ledger, "refund", 1, "great")
    with pytest.raises(ValueError, match="not a status"):
        ledger.finish_run(RUN_ID, "done", None)


def test_run_ids_are_unique_and_safe(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    with pytest.raises(UsageError, match="already"):
        ledger.create_run(run_record(status="complete"), PLAN)
    for bad in ("", "../x", "latest", "a/b", "-x", "a\n"):
        with pytest.raises(UsageError, match="cannot be the id"):
            ledger.create_run(run_record(bad), PLAN)
    with pytest.raises(UsageError, match="twice"):
        ledger.create_run(run_record("other"), [*PLAN, PLAN[0]])
    assert [run.run_id for run in ledger.runs()] == [RUN_ID]


def test_a_run_may_have_an_empty_plan(ledger: Ledger) -> None:
    ledger.create_run(run_record(), [])
    assert ledger.missing(RUN_ID) == ledger.trials(RUN_ID) == []


def test_prefixes(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match=r"no runs .* yet"):
        ledger.run("latest")
    for run_id in ("20261101-aa", "20261101-ab", "20261102-aa"):
        ledger.create_run(run_record(run_id), PLAN)
    assert ledger.run("20261102").run_id == "20261102-aa"
    assert ledger.run("latest").run_id == "20261102-aa"
    assert ledger.run("20261101-aa").run_id == "20261101-aa"
    with pytest.raises(UsageError, match="several runs: 20261101-ab, 20261101-aa"):
        ledger.run("20261101")
    with pytest.raises(UsageError, match="there are: 20261102-aa, 20261101-ab, 20261101-aa"):
        ledger.run("2025")
    for odd in ("", "%", "_", "2026%"):
        with pytest.raises(UsageError, match="there is no run"):
            ledger.run(odd)


def test_an_id_that_begins_another_one_is_itself(ledger: Ledger) -> None:
    ledger.create_run(run_record("run-1"), PLAN)
    ledger.create_run(run_record("run-10"), PLAN)
    assert ledger.run("run-1").run_id == "run-1"


def test_many_candidates_are_cut(ledger: Ledger) -> None:
    for number in range(15):
        ledger.create_run(run_record(f"run-{number:02}", status="complete"), [])
    with pytest.raises(UsageError, match=r"run-14, .*run-05, …") as caught:
        ledger.run("run")
    assert "run-04" not in str(caught.value)


def test_lists_are_newest_first(ledger: Ledger) -> None:
    for number, suite in enumerate(["a", "b", "a"]):
        # The clock went backwards in between: order is that of creation.
        ledger.create_run(
            run_record(f"run-{number}", suite, created_at=f"2026-11-2{9 - number}T00:00:00Z"), []
        )
    assert [run.run_id for run in ledger.runs()] == ["run-2", "run-1", "run-0"]
    assert [run.run_id for run in ledger.runs("a")] == ["run-2", "run-0"]
    assert [run.run_id for run in ledger.runs("a", limit=1)] == ["run-2"]
    assert ledger.runs("c") == []


def test_summaries_leave_the_trials_out(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    assert ledger.summaries()[0].document is None
    document = build(ledger.run(RUN_ID), ledger.trials(RUN_ID))
    ledger.finish_run(RUN_ID, "interrupted", document)
    summary = ledger.summaries()[0]
    left_out = ("trials", "confirmations", "cases", "baseline")
    assert summary.document == {key: value for key, value in document.items() if key not in left_out}
    assert dataclasses.replace(summary, document=document) == ledger.runs()[0] == ledger.run(RUN_ID)


def test_a_living_run_is_claimed_by_one(tmp_path: Path) -> None:
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        first.create_run(run_record(), PLAN)
        assert first.run(RUN_ID).status == second.run(RUN_ID).status == "running"
        with pytest.raises(UsageError, match=r"being run by another process \(process \d+\)"):
            second.claim_run(RUN_ID)
        first.finish_run(RUN_ID, "interrupted", None)
        assert second.run(RUN_ID).status == "interrupted"
        second.claim_run(RUN_ID)
        second.claim_run(RUN_ID)
        assert first.run(RUN_ID).status == "running"
        second.finish_run(RUN_ID, "complete", None)
        assert first.run(RUN_ID).status == "complete"
    assert list((tmp_path / "runs").iterdir()) == []
    with Ledger(tmp_path) as ledger, pytest.raises(UsageError, match="no run other"):
        ledger.claim_run("other")


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    plan = [(f"case-{number}", "baseline", 1) for number in range(40)]
    ledger.create_run(run_record(), plan)
    problems: list[BaseException] = []

    def work(cases: list[tuple[str, str, int]]) -> None:
        try:
            for case, _, number in cases:
                assert finish(ledger, case, number)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(plan[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert ledger.counts(RUN_ID)["passed"] == 40


def test_ten_thousand_trials(ledger: Ledger) -> None:
    plan = [(f"case-{number}", "baseline", 1) for number in range(10_000)]
    ledger.create_run(run_record(), plan)
    assert ledger.missing(RUN_ID) == plan
    for number in (0, 5_000, 9_999):
        assert finish(ledger, f"case-{number}", 1)
    assert ledger.counts(RUN_ID) == {
        "planned": 10_000, "passed": 3, "failed": 0, "timeout": 0, "error": 0, "cancelled": 0
    }  # fmt: skip
    # What is asked for each trial must not read the whole plan: SQLite says so itself.
    with sqlite3.connect(ledger.folder / "ledger.db") as connection:
        steps = connection.execute(
            "EXPLAIN QUERY PLAN SELECT t.id FROM trials t JOIN runs r ON r.id = t.run "
            "WHERE r.run_id = 'x' AND t.\"case\" = 'x' AND t.variant = 'x' AND t.number = 1"
        ).fetchall()
    assert steps
    assert all("SCAN" not in str(step) for step in steps)


def test_settings_of_the_database(ledger: Ledger) -> None:
    with ledger._database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30_000}


def test_row_that_is_not_json_is_a_ledger_error(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    with sqlite3.connect(ledger.folder / "ledger.db") as connection:
        connection.execute("UPDATE runs SET config = '{', document = ?", (b"not zstd",))
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.run(RUN_ID)
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.summaries()


def test_result_in_a_missing_blob_is_a_ledger_error(ledger: Ledger) -> None:
    ledger.create_run(run_record(), PLAN)
    finish(ledger, "refund", 1)
    with sqlite3.connect(ledger.folder / "ledger.db") as connection:
        connection.execute("UPDATE attempts SET result = NULL, result_blob = ?", ("0" * 64,))
    with pytest.raises(LedgerError, match="is missing"):
        ledger.trials(RUN_ID)


def test_config_is_plain_json(ledger: Ledger) -> None:
    ledger.create_run(run_record(config={"nested": {"list": [1, None, "ü"]}}), [])
    with sqlite3.connect(ledger.folder / "ledger.db") as connection:
        (text,) = connection.execute("SELECT config FROM runs").fetchone()
    assert json.loads(text) == {"nested": {"list": [1, None, "ü"]}}


def test_git_leaves_a_new_ledger_alone(tmp_path: Path) -> None:
    with Ledger(tmp_path / "new"):
        assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    (tmp_path / "old").mkdir()
    with Ledger(tmp_path / "old"):
        assert not (tmp_path / "old" / ".gitignore").exists()
    (tmp_path / "new" / ".gitignore").unlink()
    with Ledger(tmp_path / "new"):
        assert not (tmp_path / "new" / ".gitignore").exists()


def test_trials_of_confirmation_are_added_to_the_plan_and_counted_apart(ledger: Ledger) -> None:
    ledger.create_run(run_record(), [("refund", "baseline", 1)])
    fresh = [("refund", "baseline", 2), ("refund", "baseline", 3)]
    ledger.add_confirmations(RUN_ID, fresh)
    ledger.add_confirmations(RUN_ID, [*fresh, ("refund", "baseline", 1)])
    assert [(trial.number, trial.purpose) for trial in ledger.trials(RUN_ID)] == [
        (1, "plan"),
        (2, "confirmation"),
        (3, "confirmation"),
    ]
    assert ledger.missing(RUN_ID) == [("refund", "baseline", 1), *fresh]
    assert ledger.counts(RUN_ID)["planned"] == 1
    document = build(ledger.run(RUN_ID), ledger.trials(RUN_ID))
    assert document["counts"]["planned"] == len(document["trials"]) == 1
    assert [trial["number"] for trial in document["confirmations"]] == [2, 3]


def test_a_ledger_of_format_1_is_taken_over(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.create_run(run_record(), PLAN)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("ALTER TABLE trials DROP COLUMN purpose")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        assert {trial.purpose for trial in first.trials(RUN_ID)} == {"plan"}
        second.add_confirmations(RUN_ID, [("refund", "baseline", 99)])
        assert first.trials(RUN_ID)[-1].purpose == "confirmation"
