"""One report, one verdict, one document, one text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from aegis.audit import document
from aegis.audit.carriers import Carrier
from aegis.audit.conclude import conclude
from aegis.audit.findings import Experiment, Finding, Report
from aegis.audit.model import Seen, Sequence, Tally, Trial
from aegis.audit.rows import RowChange
from aegis.report.leaks import render_report

ABOUT = {
    "suite": "office",
    "seed": 7,
    "isolation": {"driver": "qemu", "accel": "tcg", "security_boundary": False},
    "started_at": "2026-01-12T10:00:00.000+00:00",
    "duration_s": 12.0,
}


def seen(**outcomes: str) -> tuple[Seen, ...]:
    return tuple(Seen(Trial(case, 1), outcome) for case, outcome in outcomes.items())


CLEAN = Report(
    fresh=seen(a="passed", b="failed"),
    shared=(Sequence("shared", "as written", seen(a="passed", b="failed")),),
    reset=(),
    as_mode="shared",
    studied="shared",
    findings=(),
    suite_value=1.0,
    probes=0,
    max_probes=60,
)
MASKED = Finding(
    "b",
    usual=False,
    dependent=True,
    victim=Trial("b", 1),
    culprits=(Trial("a", 1),),
    minimal=True,
    experiment=Experiment(Tally(0, 7), Tally(4, 4), 0.003, 0.004),
    carriers=(
        Carrier(
            "file",
            "/workspace/x.db",
            "added",
            rows=(RowChange("hours", "added", 1, 0, ("falcon, 2",)),),
            confirmed=True,
        ),
        Carrier("process", "sleep 1000", "left running"),
    ),
    probes=9,
    cleaned=False,
)
LEAKY = replace(
    CLEAN,
    shared=(Sequence("shared", "as written", seen(a="passed", b="passed")),),
    reset=(Sequence("reset", "as written", seen(a="passed", b="passed")),),
    findings=(MASKED,),
    probes=9,
)


def made(report: Report) -> dict[str, Any]:
    built = document.build(report, ABOUT)
    jsonschema.Draft202012Validator(document.schema()).validate(built)
    assert document.to_json(built).endswith(b"}\n")
    return built


def test_a_suite_that_does_not_leak() -> None:
    conclusion = conclude(CLEAN)
    assert conclusion.line == (
        "RESULT: CLEAN exit 0: no case depends on what ran before in one machine; 50 % shown, 50 % true"
    )
    assert "No case of 2 was shown to depend on what ran before it in one machine." in render_report(
        made(CLEAN)
    )


def test_a_suite_that_leaks_names_the_pair_and_the_carrier() -> None:
    assert conclude(LEAKY).line == (
        "RESULT: LEAKS exit 1: 100 % shown, 50 % true: 1 of 2 cases depends on what ran before in one machine"
    )
    built = made(LEAKY)
    assert built["result"] == conclude(LEAKY).line
    assert (built["shown"], built["true"]) == (1.0, 0.5)
    text = render_report(built)
    for words in (
        "office: 100 % shown in one machine, 50 % true.",
        "a → b: passes only after it",
        "carried by file /workspace/x.db, added (table hours added with 1 row: falcon, 2); undone",
        "the reset steps do NOT clean it",
        "again alone 0/7, right after it 4/4",
    ):
        assert words in text
    assert "sleep 1000" not in text  # innocent: only the document has it
    assert [carrier["name"] for carrier in built["cases"][0]["carriers"]] == ["/workspace/x.db", "sleep 1000"]


def test_nothing_that_a_machine_wrote_moves_the_cursor() -> None:
    carrier = Carrier("process", "x\x1b[2J\n\u202e", "left running", confirmed=True)
    nasty = replace(
        MASKED, carriers=(carrier,), carriers_note="\x1b[31m", culprits=(Trial("\x1b]0;t\x07", 1),)
    )
    text = render_report(made(replace(LEAKY, findings=(nasty,), notes=("\x1b[5m",))))
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({"suite_value": 0.01}, "LEAKS", "no single case could be shown"),
        ({"fresh": seen(a="passed", b="error")}, "INCONCLUSIVE", "1 trial could not be judged"),
        ({"findings": (replace(MASKED, dependent=False, why="budget"),)}, "INCONCLUSIVE", "--max-probes 120"),
        (
            {"findings": (replace(MASKED, dependent=False, why="errors"),)},
            "INCONCLUSIVE",
            "could not be decided",
        ),
        ({"findings": (replace(MASKED, dependent=False, why="chance"),)}, "CLEAN", "no case depends"),
        ({"fresh": seen(a="passed")}, "INCONCLUSIVE", "one trial has nothing before it"),
        ({"as_mode": "fresh", "findings": (MASKED,)}, "CLEAN", "would be shown"),
        ({"as_mode": "fresh", "fresh": seen(a="error", b="passed")}, "INCONCLUSIVE", "could not be judged"),
    ],
)
def test_the_other_verdicts(change: dict[str, Any], verdict: str, words: str) -> None:
    report = replace(CLEAN, **change)
    conclusion = conclude(report)
    assert (conclusion.verdict, conclusion.exit_code) == (
        verdict,
        {"CLEAN": 0, "LEAKS": 1, "INCONCLUSIVE": 3}[verdict],
    )
    assert words in conclusion.line
    assert render_report(made(report))


def test_errors_do_not_hide_a_leak_that_is_certain() -> None:
    fresh = seen(a="passed", b="failed", c="error")
    assert conclude(replace(LEAKY, fresh=fresh)).exit_code == 1


def test_errors_of_another_way_to_run_it_do_not_count() -> None:
    lost = (Sequence("reset", "as written", seen(a="error", b="error")),)
    assert conclude(replace(CLEAN, reset=lost)).exit_code == 0
    assert conclude(replace(CLEAN, reset=lost, as_mode="reset", studied="reset")).exit_code == 3
