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


def test_table_says_what_failed_and_why() -> None:
    lines = squeezed(render_table(document(MIXED)))
    assert lines[0] == "case passed why start"
    assert lines[2:] == [
        "refund 2/2 210 ms",
        "cancel 0/2 answer: expected 'cancelled', found 'refunded' (+1 more) 210 ms",
        "cancel (bloated-tools) 0/1 error: no machine",
        "5 trials: 2 passed, 1 failed, 1 timeout, 1 error; pass rate 50.0 % (needed: 95 %); 1 min 14 s",
        "isolation: qemu/tcg: state isolated; not a security boundary",
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
    made = document([trial_record()]) | {"verdict": "REGRESSED", "exit_code": 1}
    assert result_line(made).startswith("RESULT: REGRESSED 1/1 trials (100.0 %) suite")
