from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest

from aegis.report.terminal import print_runs, print_table, render_runs, render_table, result_line
from aegis.report.text import columns
from aegis.results.document import build
from aegis.results.records import TrialRecord
from aegis.results.show import run_row
from aegis.results.verdict import decide
from support.run_records import CONFIG, RUN_ID, run_record, trial_record


def document(trials: Sequence[TrialRecord], **config: Any) -> dict[str, Any]:
    return build(run_record(config=CONFIG | config), trials, duration_s=74.0)


MIXED = [
    trial_record(number=1),
    trial_record(number=2),
    trial_record("cancel", 1, "failed", "answer: expected 'cancelled', found 'refunded'"),
    trial_record("cancel", 2, "timeout", "no answer within 120 s"),
    trial_record("cancel", 1, "error", "no machine", "bloated-tools", sandbox=None),
]


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_table_names_each_rule_that_was_broken_with_its_evidence() -> None:
    rule = "backoff: GET crm.example/orders failed at 1.20 s and was sent again at 1.21 s, 1.22 s and 1.23 s"
    parts = [
        {"name": "backoff", "passed": False, "reason": rule},
        {"name": "no-storm", "passed": True, "reason": "no-storm: 4 attempts"},
        {"name": "honesty", "passed": None, "reason": "honesty: nothing was withheld"},
    ]
    score = {"scorer": "resilience", "passed": False, "value": 0.5, "reason": "x", "parts": parts}
    trials = [trial_record(number=number, outcome="failed", scores=[score]) for number in (1, 2)]
    text = " ".join(squeezed(render_table(document(trials))))
    assert f"resilience: backoff broken in 2 trials; refund/1: {rule}" in text
    assert "no-storm" not in text
    assert "honesty" not in text


def test_table_says_what_failed_and_why() -> None:
    lines = squeezed(render_table(document(MIXED)))
    assert lines[0] == "case passed why start"
    assert lines[2:] == [
        "refund 2/2 210 ms",
        "cancel 0/2 answer: expected 'cancelled', found 'refunded' (+1 more) 210 ms",
        "cancel (bloated-tools) 0/1 error: no machine",
        "5 trials: 2 passed, 1 failed, 1 timeout, 1 error; pass rate 50.0 % (needed: 95 %); 1 min 14 s",
        "isolation: qemu/tcg: state isolated; not a security boundary",
        "bloated-tools: nothing to compare, no case was judged both ways",
    ]


def test_security_boundary_is_told() -> None:
    isolation = {"driver": "firecracker", "accel": "kvm", "security_boundary": True}
    text = render_table(document(MIXED, isolation=isolation))
    assert "isolation: firecracker/kvm: state isolated; a security boundary" in text


def test_no_isolation_is_loud() -> None:
    isolation = {"driver": "process", "accel": None, "security_boundary": False}
    text = render_table(document(MIXED, isolation=isolation))
    assert "WARNING: no isolation" in text
    assert "state isolated" not in text


def test_run_without_trials() -> None:
    text = render_table(document([]))
    assert "0 trials; pass rate unknown (needed: 95 %)" in text


@pytest.mark.parametrize("color", [True, False])
def test_agents_cannot_speak_to_the_terminal(color: bool) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 [bold red]markup[/] :smile: \u202eoops\nsecond line"
    text = render_table(document([trial_record(evil, 1, "failed", evil)]), color=color, width=200)
    assert "\\x1b[2J\\x1b]0;owned\\x07 [bold red]markup[/] :smile: \\u202eoops second line" in text
    if color:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search(r"[^\n\x20-\x7e─…]", text)
    line = result_line(document([trial_record()]) | {"suite": evil})
    assert line.isprintable()


@pytest.mark.parametrize("width", [20, 30, 40, 59, 60, 80, 200])
def test_no_width_breaks_the_table(width: int) -> None:
    long = trial_record("a-case-with-a-very-long-name-" * 3, 1, "failed", "reason " * 50)
    text = render_table(document([*MIXED, long]), width=width)
    assert max(columns(line) for line in text.splitlines()) <= width
    assert len([line for line in text.splitlines() if "0/1" in line]) == 2


def test_long_reason_keeps_what_follows_it() -> None:
    trials = [trial_record("a", 1, "failed", "x" * 500), trial_record("a", 2, "failed", "other")]
    lines = render_table(document(trials), width=100).splitlines()
    (row,) = [line for line in lines if "0/2" in line]
    assert "xxx… (+1 more)" in row


def test_long_table_shows_what_did_not_pass() -> None:
    trials = [trial_record(f"case-{number}") for number in range(300)]
    trials[123] = trial_record("case-123", 1, "failed", "wrong")
    text = render_table(document(trials))
    assert len(text.splitlines()) < 12
    assert "case-123" in text
    assert "299 more cases passed every trial" in text
    trials = [trial_record(f"case-{number}", 1, "failed", "wrong") for number in range(150)]
    text = render_table(document(trials))
    assert "50 more cases did not pass" in text


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def printed(stream: io.StringIO) -> str:
        print_table(document(MIXED), stream)
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in printed(Terminal())
    assert "\x1b" not in printed(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in printed(Terminal())


def test_stream_that_cannot_carry_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_table(document([trial_record("größe", 1, "failed", "東京")]), stream)
    assert b"gr\\xf6\\xdfe" in raw.getvalue()
    assert b"\\u6771\\u4eac" in raw.getvalue()
    assert b"\\u2500" not in raw.getvalue()
    print_table(document(MIXED))
    assert "bloated-tools" in capsys.readouterr().out


def test_list_of_runs() -> None:
    done = run_record(status="complete", document=document(MIXED))
    stream = io.StringIO()
    print_runs([run_row(done), run_row(run_record("other"), {"planned": 9, "passed": 2})], stream)
    lines = squeezed(stream.getvalue())
    assert lines[2:] == [
        f"{RUN_ID} production-v2 BELOW_THRESHOLD 2/5 2026-11-23T10:15:00Z 1 min 14 s",
        "other production-v2 running 2/9 2026-11-23T10:15:00Z",
    ]
    assert squeezed(render_runs([]))[0] == "run suite result passed started took"


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (120, "run suite result passed started took"),
        (80, "run suite result passed"),
        (60, "run result passed"),
        (46, "run result"),
        (30, "run"),
    ],
)
def test_list_of_runs_keeps_the_ids_whole(width: int, headings: str) -> None:
    text = render_runs([run_row(run_record(status="complete", document=document(MIXED)))], width=width)
    assert squeezed(text)[0] == headings
    assert RUN_ID in text
    assert max(map(columns, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        ([trial_record()], "RESULT: PASS 1/1 trials (100.0 %)"),
        (MIXED[:4], "RESULT: BELOW_THRESHOLD 2/4 trials (50.0 %, below 95 %)"),
        (
            [trial_record(outcome="error")] * 2,
            "RESULT: INCONCLUSIVE 0/2 trials (2 trials could not be judged: infrastructure errors)",
        ),
    ],
)
def test_result_line(trials: list[TrialRecord], line: str) -> None:
    made = document(trials)
    assert result_line(made) == f"{line} suite production-v2 run {RUN_ID}"
    assert decide(made["counts"], len(trials), made["fail_under"]).line in result_line(made)


def test_result_line_of_a_regression_takes_the_documents_word() -> None:
    line = "REGRESSED 1/1 trials (1 case got worse: refund)"
    made = document([trial_record()]) | {"verdict": "REGRESSED", "exit_code": 1, "result": line}
    assert result_line(made).startswith(f"RESULT: {line} suite")
    # Documents of earlier versions don't have the line.
    del made["result"]
    assert result_line(made).startswith("RESULT: REGRESSED 1/1 trials (100.0 %) suite")


USAGE = {"input_tokens": 1200, "output_tokens": 80, "usd": 0.00045, "model_calls": 2, "tool_calls": 1}


def test_what_models_cost_and_judges_apart() -> None:
    cost = {"model": "m", "samples": 1, "cached": 0, "input_tokens": 300, "output_tokens": 20, "usd": None}
    judged = {"scorer": "judge", "passed": True, "value": 1.0, "reason": "polite", "cost": cost}
    trials = [
        trial_record(usage=USAGE, prices="genai-prices 0.2.3", scores=[judged]),
        trial_record(number=2, usage=USAGE),
    ]
    lines = squeezed(render_table(document(trials)))
    assert "agents: 4 model calls, 2,400 + 160 tokens, $0.0009 (genai-prices 0.2.3)" in lines
    assert "judges: 1 model call, 300 + 20 tokens, cost unknown" in lines
    users = {"model_calls": 2, "cached": 1, "input_tokens": 50, "output_tokens": 5, "usd": 0.01}
    lines = squeezed(render_table(document([trial_record(simulator=users)])))
    assert "simulated users: 2 model calls, 50 + 5 tokens, $0.01" in lines
    text = render_table(document([trial_record(usage=USAGE | {"usd": None, "output_tokens": None})]))
    assert "2 model calls, 1,200 + unknown tokens, cost unknown" in text
    assert "agents:" not in render_table(document(MIXED))
    assert "judges:" not in render_table(document(MIXED))


def test_refusals_are_told_with_the_line_that_is_missing() -> None:
    def refused(host: str, reason: str, count: int = 4) -> dict[str, Any]:
        return {"host": host, "port": 443, "reason": reason, "count": count}

    told = [
        refused("api.example", "denied: api.example:443 is not in network.allow", 12),
        refused("2606:4700::1111", "denied: [2606:4700::1111]:443 is not in network.allow", 1),
        refused("crm.example", "secret-refused: the placeholder of KEY stands in the body", 2),
        refused("", "limit: more than 512 connections at once", 3),
    ]
    lines = squeezed(
        render_table(document([trial_record(denied=told), trial_record(number=2, denied=told[:1])]))
    )
    assert lines[-4:] == [
        "not allowed: api.example:443 (24 times in 2 trials) — add it to network.allow",
        "refused: some connections (3 times in 1 trial): limit: more than 512 connections at once",
        "refused: crm.example:443 (2 times in 1 trial): secret-refused: the placeholder of KEY stands in the body",
        "not allowed: [2606:4700::1111]:443 (1 time in 1 trial) — add it to network.allow",
    ]
    internal = [refused("169.254.169.254", "denied: 169.254.169.254:443 is not in network.allow")]
    assert (
        "not allowed: 169.254.169.254:443 (4 times in 1 trial), an internal address: allow it only if the agent is "
        "meant to reach it"
    ) in " ".join(squeezed(render_table(document([trial_record(denied=internal)]))))
    many = [refused(f"h{number}.example\x1b[2J", "denied: x is not in network.allow") for number in range(30)]
    text = render_table(document([trial_record(denied=many)]))
    assert text.count("not allowed:") == 10
    assert "… and 20 more refusals (all of them: --json PATH)" in text
    assert "\x1b" not in text


def test_faults_are_counted_by_their_kind_and_missed_ones_are_named() -> None:
    def fault(name: str, kind: str, hits: int, note: str = "") -> dict[str, Any]:
        return {"id": name, "kind": kind, "fired": hits > 0, "hits": hits, "note": note}

    slow = [fault("reads", "latency", 4), fault("writes", "latency", 1)]
    missed = fault("late", "reset", 0, "nothing matched GET")
    trials = [trial_record(faults=[*slow, missed]), trial_record(number=2, faults=[slow[0], missed])]
    lines = squeezed(render_table(document(trials)))
    assert lines[-2:] == [
        "faults: latency ×9 in 2 trials",
        "never fired: late in 2 trials (refund): nothing matched GET",
    ]


def test_a_replay_is_loud() -> None:
    text = render_table(document(MIXED, replay_of="20261122-090000-cd34"))
    assert "REPLAY of run 20261122-090000-cd34" in text
    assert "REPLAY" not in render_table(document(MIXED))


def test_documents_of_an_older_version_are_shown() -> None:
    older = document(MIXED)
    for key in ("denied", "prices", "judge", "simulator", "replay_of", "recorded"):
        del older[key]
    assert "5 trials: 2 passed" in render_table(older)


def test_table_says_what_each_kind_of_stress_costs() -> None:
    trials = [
        *(trial_record(case, number) for case in ("refund", "cancel") for number in (1, 2)),
        trial_record("refund", 1, variant="malformed-input.5"),
        trial_record("refund", 2, "failed", "wrong", "malformed-input.5"),
        trial_record("cancel", 1, "failed", "wrong", "malformed-input.5"),
        trial_record("cancel", 2, "failed", "wrong", "malformed-input.5"),
    ]
    refused = {
        "case": "cancel",
        "variant": "shard-turns",
        "reason": "no shards are marked",
        "rejected": False,
    }
    lines = squeezed(render_table(document(trials, refused=[refused])))
    assert (
        "malformed-input.5: costs 75 points (100 % → 25 %; 95 % interval -100 to +46, 2 cases) in refund, cancel"
        in lines
    )
    assert "not run: shard-turns in cancel does not apply: no shards are marked" in lines


REFUSED = {"reason": "no shards are marked", "rejected": False}


def test_refusals_of_many_cases_for_one_reason_are_one_line() -> None:
    cases = [f"case-{number}" for number in range(5)]
    refused = [{"case": case, "variant": "shard-turns", **REFUSED} for case in cases]
    refused += [
        {
            "case": "case-1",
            "variant": f"malformed-input.{level}",
            "reason": "no word is left",
            "rejected": True,
        }
        for level in (2, 5)
    ]
    found = document([trial_record("case-1", 1)], refused=refused)
    lines = [line for line in squeezed(render_table(found, width=200)) if line.startswith("not run")]
    assert lines == [
        "not run: malformed-input.2, malformed-input.5 in case-1 would break what the case expects: no word is left",
        "not run: shard-turns in 5 cases (case-0, case-1, case-2, 2 more) does not apply: no shards are marked",
    ]
    assert found["stress"]["refused"] == refused


def test_refusals_beyond_the_first_reasons_are_counted() -> None:
    refused = [
        {"case": f"case-{number}", "variant": "shard-turns", "reason": f"reason {number}", "rejected": False}
        for number in range(13)
    ]
    lines = squeezed(render_table(document([trial_record()], refused=refused)))
    assert sum(line.startswith("not run") for line in lines) == 10
    assert "… and 3 more variants not run (all of them: --json PATH)" in lines


def test_table_says_where_a_rewrite_reached_nothing() -> None:
    def variant(number: int, name: str, rewritten: int) -> TrialRecord:
        record = trial_record("refund", number, variant=name)
        assert record.result is not None
        record.result["rewritten"] = rewritten
        return record

    lines = squeezed(
        render_table(
            document(
                [
                    trial_record("refund", 1),
                    trial_record("refund", 2),
                    variant(1, "bloated-tools.8k", 3),
                    variant(2, "bloated-tools.8k", 0),
                    variant(1, "truncated-tools.3", 0),
                    variant(2, "truncated-tools.3", 0),
                ]
            ),
            width=200,
        )
    )
    assert (
        "bloated-tools.8k: costs nothing (100 % → 100 %; 95 % interval -92 to +92, 1 case); "
        "the rewrite reached nothing in 1 of 2 trials, which do not count"
    ) in lines
    assert (
        "truncated-tools.3: reached nothing in 2 trials: the gateway saw nothing that it could change"
    ) in lines


def test_table_says_how_many_passed_what_a_variant_expects_itself() -> None:
    trials = [
        trial_record("refund", 1, "failed", "wrong"),
        trial_record("cancel", 1),
        trial_record("refund", 1, variant="empty-and-huge.blank"),
        trial_record("cancel", 1, "failed", "answered", "empty-and-huge.blank"),
        trial_record("refund", 1, variant="empty-and-huge.huge"),
    ]
    lines = squeezed(render_table(document(trials, own_oracles=["empty-and-huge"]), width=200))
    failed = "empty-and-huge.blank: 50 % pass what it expects itself (2 cases); failed in cancel"
    passed = "empty-and-huge.huge: 100 % pass what it expects itself (1 case)"
    assert lines.index(failed) < lines.index(passed)
