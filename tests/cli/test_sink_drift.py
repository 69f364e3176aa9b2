"""What the ledger's sink keeps of a trace is what drift is found in, and the run document tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aegis._eval import against, session
from aegis._eval.outputs import Outputs
from aegis._eval.sink import LedgerSink
from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.regression import document as documents
from aegis.regression.drift.behaviour import ToolUse
from aegis.regression.policy import Policy
from aegis.regression.snapshot.make import stored_behaviour
from aegis.results import Ledger, document
from aegis.trace import ToolCall, Trace, TurnRecord
from support.run_records import CONFIG, run_record

BEFORE, NOW = "20261123-101500-0001", "20261123-101500-0002"
TRIALS = 8


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / ".aegis")) as made:
        yield made


def ran(ledger: Ledger, run_id: str, tools: tuple[str, ...], **config: Any) -> dict[str, Any]:
    planned = [PlannedTrial("refund", "baseline", number) for number in range(1, TRIALS + 1)]
    ledger.create_run(run_record(run_id, config={**CONFIG, "fail_under": None, **config}), planned)
    sink = LedgerSink(ledger, run_id)
    for trial in planned:
        calls = tuple(ToolCall(name, {"order": 7}, turn=1) for name in tools)
        trace = Trace(turns=(TurnRecord("Refund order 7", "Done.", 0.5),), tool_calls=calls)
        result = TrialResult(run_id, *trial, sink.begin_attempt(trial), "passed", "", trace=trace)
        assert sink.finish_attempt(result, final=True)
    concluded = session.conclude(ledger, run_id, Outputs(), 1.0).document
    document.validate(concluded)
    return dict(concluded)


def kept_baseline(digest: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("problem", "fix", "merge_base", "behind"))
    return {
        **nothing,
        "asked": "main",
        "source": "ledger",
        "policy": documents.policy_document(Policy()),
        "skipped": [],
        "notes": [],
        "snapshots": [digest],
    }


def test_another_order_of_tool_calls_is_in_the_document(ledger: Ledger) -> None:
    before = ran(ledger, BEFORE, ("lookup", "refund", "mail"))
    now = ran(ledger, NOW, ("refund", "lookup", "mail"), baseline=kept_baseline(before["snapshot"]))
    assert now["regressions"] == []
    told = now["baseline"]["comparison"]["drift"]
    assert [finding["case"] for finding in told] == ["refund"]
    assert told[0]["grade"] == "significant"
    assert told[0]["aspect"] == "tools"


def test_the_same_again_is_no_drift(ledger: Ledger) -> None:
    before = ran(ledger, BEFORE, ("lookup", "refund"))
    now = ran(ledger, NOW, ("lookup", "refund"), baseline=kept_baseline(before["snapshot"]))
    assert (now["verdict"], now["baseline"]["comparison"]["drift"]) == ("PASS", [])


@pytest.mark.parametrize(
    ("outcome", "kept"), [("passed", True), ("failed", True), ("timeout", True), ("error", False)]
)
def test_only_what_was_judged_is_kept(ledger: Ledger, outcome: Any, kept: bool) -> None:
    trial = PlannedTrial("refund", "baseline", 1)
    ledger.create_run(run_record(NOW), [trial])
    sink = LedgerSink(ledger, NOW)
    trace = Trace(tool_calls=(ToolCall("lookup", {"order": 7}, turn=1),))
    sink.finish_attempt(
        TrialResult(NOW, *trial, sink.begin_attempt(trial), outcome, "", trace=trace), final=True
    )
    (row,) = against.now_of(ledger, NOW).trials
    behaviour = stored_behaviour(row)
    assert (behaviour is not None) is kept
    assert behaviour is None or behaviour.tools == (ToolUse("lookup", {"order": 7}),)
