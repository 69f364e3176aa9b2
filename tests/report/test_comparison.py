"""How a run compares with its baseline, at the end of its table."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.regression.policy import Policy
from aegis.report.comparison import MAX_CASES, comparison_lines
from aegis.report.terminal import render_table
from aegis.report.text import columns
from aegis.results.document import build, validate
from support.compared_runs import BASE_RUN, SWAP, Scenario, behaviour, no_comparison
from support.fuzzing import examples
from support.run_records import run_record, trial_record

STEADY = Scenario({"refund": (20, 0), "cancel": (20, 0)}, {"refund": (3, 0), "cancel": (3, 0)})


def told(scenario: Scenario) -> list[str]:
    document = scenario.document()
    validate(document)
    return [line for line, _ in comparison_lines(document)]


def test_everything_in_the_order_of_its_weight() -> None:
    assert told(SWAP) == [
        f"baseline main: run {BASE_RUN} of 9fceb02 (main), 79 of 100 trials passed, at the merge base 9fceb02",
        "REGRESSED  refund: passed 20 of 20 before, 1 of 3 now, 2 of 10 when tried again (p < 0.0001)",
        "4 cases compared: 73.8 % before, 75.0 % now (p = 0.73)",
        "not judged  lookup: it passed 2 of 20 in the baseline: too seldom for a drop to be told",
        "failed for the first time: refund, cancel, added",
        "cleared  cancel: passed 20 of 20 before, 2 of 3 now, 10 of 10 when tried again (p = 1.00)",
        "better  lookup: passed 2 of 20 before, 3 of 3 now (p = 0.01)",
        "flaky  lookup: passed 2 of 20 before; all of 3 trials pass with a chance of 0 %",
        "flaky  flaky: passed 17 of 20 before; all of 3 trials pass with a chance of 60 %",
        "new cases: added",
        "removed cases: gone",
        "confirming: 2 cases tried again, 20 trials, $0.0123, 42 s of trials",
    ]


def test_nothing_without_a_baseline() -> None:
    document = build(run_record(), [trial_record()])
    assert list(comparison_lines(document)) == []
    assert "baseline" not in render_table(document)


def test_a_run_that_does_the_same_says_so() -> None:
    did = {"refund": [behaviour("lookup")] * 3}
    lines = told(replace(STEADY, behaviours=(did, did)))
    assert lines[1:] == [
        "2 cases compared: 100.0 % before, 100.0 % now (p = 1.00)",
        "no difference: no case got worse or better, and nothing was done differently",
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"behind": 0}, ", at the merge base 9fceb02"),
        ({"behind": 1}, ", 1 commit behind the merge base 9fceb02"),
        ({"behind": 3, "merge_base": None}, ", 3 commits behind the commit that was named"),
        ({"behind": None, "merge_base": None, "source": "file"}, " (from a file)"),
        ({"behind": None, "merge_base": None, "source": "git"}, " (from git)"),
    ],
)
def test_how_far_back_the_baseline_is(keys: dict[str, object], words: str) -> None:
    assert told(replace(STEADY, baseline=keys))[0].endswith(f"40 of 40 trials passed{words}")


def test_pooled_runs_notes_and_what_was_passed_over() -> None:
    skipped = [
        {"run_id": f"r{number}", "commit": "ab" * 20 if number else None, "why": "it was interrupted"}
        for number in range(8)
    ]
    scenario = replace(STEADY, baseline={"notes": ["the history is cut off"], "skipped": skipped})
    document = scenario.document()
    document["baseline"]["comparison"]["base"]["pooled"] = ["r1", "r2"]
    lines = [line for line, _ in comparison_lines(document)]
    assert "; trials of 2 more runs added" in lines[0]
    assert lines[1:4] == [
        "  note: the history is cut off",
        "  passed over: run r0: it was interrupted",
        "  passed over: run r1 of abababa: it was interrupted",
    ]
    assert lines[7] == "… and 3 more: results that cannot be the baseline (--json PATH)"


def test_without_anything_to_compare_with_there_is_a_fix() -> None:
    missing = replace(
        SWAP, fresh={}, baseline=no_comparison("no run of main is known", "aegis baseline pull")
    )
    assert told(missing) == ["no comparison with main: no run of main is known", "  fix: aegis baseline pull"]


def test_suspects_that_wait_and_cases_without_a_judgement() -> None:
    lines = told(
        Scenario(
            {"refund": (20, 0), "cancel": (20, 0), "short": (1, 0)},
            {"refund": (1, 2), "cancel": (2, 0), "short": (3, 0)},
            errors={"cancel": 1},
        )
    )
    assert "may have got worse, not confirmed  refund: passed 20 of 20 before, 1 of 3 now" in lines
    assert "not judged  cancel: 1 of 3 trials ended in an infrastructure error" in lines
    assert "not judged  short: the baseline has 1 trial of it, and 2 are needed to see it break" in lines


def test_a_suite_that_is_worse_as_a_whole() -> None:
    names = [f"case-{index}" for index in range(30)]
    scenario = Scenario(
        dict.fromkeys(names, (19, 1)), dict.fromkeys(names, (2, 1)), policy=Policy(screen=0.0001)
    )
    document = scenario.document()
    lines = dict(comparison_lines(document))
    (line,) = [line for line in lines if line.startswith("WORSE AS A WHOLE")]
    assert lines[line] == "bold red"
    assert "30 cases compared: 95.0 % before, 66.6 % now" in line or "66.7 % now" in line


def test_drift_is_grouped_by_case_with_the_worst_first() -> None:
    before = {"refund": [behaviour("lookup", "refund")] * 20, "cancel": [behaviour("lookup")] * 20}
    now = {
        "refund": [behaviour("refund", "lookup")] * 3,
        "cancel": [behaviour("lookup", host="evil.example")] * 3,
    }
    lines = told(replace(STEADY, behaviours=(before, now)))
    drift = lines[lines.index("drift  cancel") :]
    assert drift[0] == "drift  cancel"
    assert drift[1] == "  new host evil.example: 3 of 3 trials"
    assert drift[3] == "drift  refund"
    assert drift[4].startswith(
        "  tool calls: before lookup → refund (20 of 20); now refund → lookup (3 of 3) (p = 0.00"
    )
    assert "no difference: no case got worse or better, and nothing was done differently" not in lines


def test_differences_that_cannot_be_told_from_chance_are_counted() -> None:
    did = {"refund": [behaviour("lookup")]}, {"refund": [behaviour("other", answer="something else")]}
    lines = told(replace(STEADY, behaviours=did))
    assert lines[-2] == "2 further differences, with too few trials to tell them from chance (--json PATH)"
    assert not any(line.startswith("drift") for line in lines)


def test_a_large_suite_stays_short() -> None:
    names = [f"case-{index:04}" for index in range(500)]
    did = (
        {name: [behaviour("a")] * 20 for name in names},
        {name: [behaviour("a", host="x.example")] * 3 for name in names},
    )
    scenario = Scenario(
        dict.fromkeys(names, (20, 0)),
        dict.fromkeys(names, (0, 3)),
        dict.fromkeys(names, (0, 10)),
        behaviours=did,
    )
    lines = told(scenario)
    assert len(lines) < 120
    assert sum(line.startswith("REGRESSED") for line in lines) == MAX_CASES
    assert "… and 480 more: regressed (--json PATH)" in lines
    assert "… and 480 more cases that drifted (--json PATH)" in lines


def test_the_table_shows_it_in_colours_with_indents() -> None:
    document = replace(SWAP, baseline={"notes": ["the history is cut off"]}).document()
    text = render_table(document)
    assert "\n  note: the history is cut off\n" in text
    assert "pass rate 73.3 %; 1 min 14 s" in text
    colored = render_table(document, color=True)
    assert "\x1b[1;31mREGRESSED  refund" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_width_is_passed(width: int) -> None:
    text = render_table(replace(SWAP, reason="reason " * 40).document(), width=width)
    assert max(map(columns, text.splitlines())) <= width


nasty = st.text(
    st.sampled_from("\x1b[]\r\n\t\u202e\u200b ab") | st.characters(categories=None), min_size=1, max_size=40
)


@settings(max_examples=examples(100), deadline=None)
@given(nasty)
def test_whatever_is_written_lines_are_safe(text: str) -> None:
    did = {text: [behaviour(text, answer=text)] * 20}, {text: [behaviour(f"{text}2", host=text)] * 3}
    scenario = Scenario(
        {text: (20, 0), f"{text}2": (20, 0), f"{text}3": (17, 3)},
        {text: (0, 3), f"{text}2": (2, 1), f"{text}3": (3, 0), f"{text}4": (1, 1)},
        {text: (0, 10), f"{text}2": (10, 0)},
        behaviours=did,
        baseline={
            "asked": text,
            "notes": [text],
            "skipped": [{"run_id": text, "commit": text, "why": text}],
            "merge_base": text,
        },
    )
    for document in (
        scenario.document(),
        replace(scenario, fresh={}, baseline=no_comparison(text, text) | {"asked": text}).document(),
    ):
        for line, _ in comparison_lines(document):
            assert not re.search("[\x00-\x1f\x7f-\x9f\u200b\u2028\u202e\ud800-\udfff]", line)
