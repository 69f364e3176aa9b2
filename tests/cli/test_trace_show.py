"""`aegis trace show`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_project import Folder

from aegis.results import Ledger
from aegis.trace import Exchange, Trace, TurnRecord, build_trace
from support import wire
from support.recorder import Recorder, Reply, Request
from support.run_records import RUN_ID, result, run_record

ASK = wire.exchange(
    "/v1/chat/completions",
    {"model": "gpt-5-mini", "messages": []},
    wire.chat("Looking.", [("a", "lookup", {"order": "\x1b[2J"})]),
)


def stored(project: Folder, trace: Trace | None) -> None:
    """A run of one trial, with this trace, in the project's ledger."""
    with Ledger(project.path / ".aegis") as ledger:
        ledger.create_run(run_record(), [("refund", "baseline", 1)])
        epoch = ledger.begin_attempt(RUN_ID, "refund", "baseline", 1)
        digest = None if trace is None else ledger.blobs.put(json.dumps(trace.to_json()).encode())
        outcome = "passed" if trace else "error"
        ledger.finish_attempt(
            RUN_ID,
            *("refund", "baseline", 1, epoch),
            outcome=outcome,
            result=result(outcome, "" if trace else "no sandbox", trace=digest),
            final=True,
        )


def recorded(*exchanges: Exchange) -> Trace:
    driver = Trace(turns=(TurnRecord("Refund 1042", "Done.", 3.0),), duration_s=3.0)
    return build_trace(driver, exchanges or (ASK,), {}.__getitem__)


@pytest.fixture
def trial(project: Folder) -> str:
    stored(project, recorded())
    return "latest/refund/1"


def test_the_timeline(project: Folder, trial: str) -> None:
    ran = project("trace", "show", trial)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("refund/1: passed\n")
    assert "model   gpt-5-mini-2025-08-07 (asked for gpt-5-mini) at api.openai.com" in ran.stdout
    assert "$0.000405" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert project("trace", "show", f"{RUN_ID[:12]}/refund/1").stdout == ran.stdout


def test_json(project: Folder, trial: str) -> None:
    shown = json.loads(project("trace", "show", trial, "--json").stdout)
    assert Trace.from_json(shown["trace"]) == recorded()
    assert shown["trial"]["case"] == "refund"


def test_har(project: Folder, trial: str) -> None:
    ran = project("trace", "show", trial, "--har", "out.har")
    assert (ran.code, ran.stdout) == (0, "")
    assert ran.stderr == "1 exchange written to out.har\n"
    written = json.loads((project.path / "out.har").read_text())
    assert written["log"]["entries"][0]["request"]["url"] == "https://api.openai.com/v1/chat/completions"
    assert json.loads(project("trace", "show", trial, "--har", "-").stdout) == written
    ran = project("trace", "show", trial, "--har", "no/such/folder/x.har")
    assert ran.code == 2
    assert "--har no/such/folder/x.har: cannot be written" in ran.stderr


def test_otlp(project: Folder, trial: str) -> None:
    seen: list[dict[str, Any]] = []

    def collect(request: Request) -> Reply:
        seen.append(json.loads(request.body))
        return wire.plain({})

    with Recorder(collect) as collector:
        ran = project("trace", "show", trial, "--otlp", collector.url)
        assert (ran.code, ran.stdout) == (0, "")
        assert ran.stderr == f"3 spans sent to {collector.url}/v1/traces\n"
    spans = seen[0]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [span["name"].split()[0] for span in spans] == ["invoke_agent", "chat", "execute_tool"]
    ran = project("trace", "show", trial, "--otlp", "http://127.0.0.1:9")
    assert ran.code == 3
    assert "could not be sent" in ran.stderr


def test_a_trial_without_a_gateway(project: Folder) -> None:
    project.run()
    ran = project("trace", "show", "latest/same/1")
    assert ran.code == 0
    assert "| hello" in ran.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latest", "'latest' is not RUN/CASE/NUMBER"),
        ("latest/refund", "'latest/refund' is not RUN/CASE/NUMBER"),
        ("latest/refund/7", "has no trial 'refund/7'; refund has trials 1 to 1"),
        ("latest/other/1", "its cases: refund"),
        ("2019/refund/1", "2019"),
    ],
)
def test_trials_that_are_not_there(project: Folder, trial: str, name: str, message: str) -> None:
    ran = project("trace", "show", name)
    assert ran.code == 2
    assert message in ran.stderr


def test_without_any_run(project: Folder) -> None:
    ran = project("trace", "show", "latest/refund/1")
    assert ran.code == 2
    assert "there are no runs" in ran.stderr
    assert not (project.path / ".aegis").exists()


def test_a_trial_that_left_no_trace(project: Folder) -> None:
    stored(project, None)
    ran = project("trace", "show", "latest/refund/1")
    assert ran.code == 2
    assert "left no trace: its agent did not run (no sandbox)" in ran.stderr


def test_variants(project: Folder) -> None:
    with Ledger(project.path / ".aegis") as ledger:
        ledger.create_run(run_record(), [("refund", "bloated-tools", 1), ("refund", "baseline", 1)])
        for variant, answer in (("bloated-tools", "Much."), ("baseline", "Little.")):
            epoch = ledger.begin_attempt(RUN_ID, "refund", variant, 1)
            trace = Trace(turns=(TurnRecord("Refund", answer, 1.0),))
            digest = ledger.blobs.put(json.dumps(trace.to_json()).encode())
            key = ("refund", variant, 1, epoch)
            ledger.finish_attempt(RUN_ID, *key, outcome="passed", result=result(trace=digest), final=True)
    assert "Little." in project("trace", "show", "latest/refund/1").stdout
    assert "Much." in project("trace", "show", "latest/refund/1", "--variant", "bloated-tools").stdout
    ran = project("trace", "show", "latest/refund/1", "--variant", "calm")
    assert ran.code == 2
    assert "no variant 'calm' of trial refund/1; it has: bloated-tools, baseline" in ran.stderr


def test_a_clock_is_told(project: Folder) -> None:
    with Ledger(project.path / ".aegis") as ledger:
        ledger.create_run(run_record(), [("refund", "baseline", 1)])
        epoch = ledger.begin_attempt(RUN_ID, "refund", "baseline", 1)
        row = result(
            trace=ledger.blobs.put(json.dumps(recorded().to_json()).encode()),
            clock={"at": "2028-02-29T23:50:00+00:00", "zone": None},
        )
        ledger.finish_attempt(
            RUN_ID, "refund", "baseline", 1, epoch, outcome="passed", result=row, final=True
        )
    shown = project("trace", "show", "latest/refund/1").stdout
    assert "(its clock showed 2028-02-29T23:50:00+00:00, zone of the image)" in shown
