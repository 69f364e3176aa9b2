"""Runs as Markdown. What a reader's browser would make of it is asked of a Markdown parser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from aegis.regression.policy import Policy
from aegis.report import mdtext
from aegis.report.markdown import MIN_BYTES, comment, marker, reproduce, summary
from aegis.report.mdtext import Section, cell, code, fit, prose
from aegis.results.document import build
from support.compared_runs import SWAP, Scenario, behaviour, no_comparison
from support.fuzzing import examples
from support.run_records import run_record, trial_record

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OWN_HTML = re.compile(
    r"(<!-- aegis:[A-Za-z0-9._%~-]+ -->|<details><summary>[\w ,:-]+ \([\d,]+\)</summary>|</details>|\s)*"
)

HOSTILE = (
    "@octocat #1 GH-2 www.evil.example https://evil.example [x](https://evil.example) ![i](//e) <img src=x> "
    "</details> <!-- aegis:production-v2 --> a|b \\| `tick` ``two`` **bold** ~~s~~ $x$ :smile:\n\n# head\n\n"
    "| t | u |\n|---|---|\n```\nfence\n\u202eRTL\u200bzero \x1b[31m"
)


def tokens(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def check_safe(text: str) -> None:
    """Nothing but our own structure: no links, no images, no HTML but ours, and whatever GitHub would link, mention or
    draw stands in code."""
    for token in tokens(text):
        assert token.type not in ("link_open", "image", "html_inline", "s_open", "hr", "blockquote_open"), (
            token
        )
        if token.type == "html_block":
            assert OWN_HTML.fullmatch(token.content), token.content
        if token.type == "heading_open":
            assert token.tag in ("h2", "h3")
        if token.type == "text":
            assert not re.search(r"@|#|www|://|\$|:\w+:|GH-\d", token.content), token.content
    assert not re.search("[\u200b\u202e\x1b]", text)
    assert len(re.findall("^<details>", text, re.M)) == len(re.findall("^</details>$", text, re.M))


def test_a_comment_says_what_a_reviewer_has_to_know() -> None:
    text = comment(SWAP.document())
    lines = text.splitlines()
    assert lines[0] == "<!-- aegis:production-v2 -->"
    assert lines[1] == "## ❌ REGRESSED: `production-v2` got worse"
    assert "11 of 15 trials passed (73.3 %)." in text
    assert (
        "Baseline `main`: run `20261120-090000-b4se` of `9fceb02` (`main`), 79 of 100 trials passed, "
        "at the merge base `9fceb02`." in text
    )
    assert "| `refund` | 20 of 20 | 1 of 3 | 2 of 10 | &lt; 0.0001 |" in text
    assert "| `cancel` | 20 of 20 | 2 of 3 | 10 of 10 | 1.00 |" in text
    assert "| `lookup` | 2 of 20 | 3 of 3 |  | 0.01 |" in text
    assert "- `lookup`: it passed 2 of 20 in the baseline: too seldom for a drop to be told" in text
    assert "- `flaky`: passed 17 of 20 before; all of 3 trials pass with a chance of 60 %" in text
    assert "- `added` 2 of 3: `answer: no amount`" in text
    assert "confirming: 2 cases tried again, 20 trials, USD 0.0123, 42 s of trials." in text
    assert "aegis eval run -s production-v2 -k refund --baseline main" in text
    check_safe(text)
    assert summary(SWAP.document()) == text.partition("\n")[2]


def test_how_far_back_the_baseline_is_and_what_was_passed_over() -> None:
    skipped = [{"run_id": "r9", "commit": "a" * 40, "why": "it was interrupted"}]
    baseline = {"behind": 3, "skipped": skipped, "notes": ["another accelerator: kvm"]}
    text = comment(replace(SWAP, baseline=baseline).document())
    assert "3 commits behind the merge base `9fceb02`" in text
    assert "- another accelerator: kvm\n" in text
    assert "- Passed over: run `r9` of `aaaaaaa`: it was interrupted\n" in text


def test_a_run_without_comparison() -> None:
    missing = replace(
        SWAP, fresh={}, baseline=no_comparison("nothing is known of main", "run it there first")
    )
    text = comment(missing.document())
    assert "## ⚠️ INCONCLUSIVE: `production-v2` could not be judged" in text
    assert (
        "⚠️ **No comparison** with `main`: nothing is known of main. Fix: `run it there first`"
        in text.replace("Fix: run it there first", "Fix: `run it there first`")
    )
    alone = comment(
        build(run_record(), [trial_record(), trial_record(number=2, outcome="failed", reason="no")])
    )
    assert "## ❌ BELOW_THRESHOLD: `production-v2` is below its threshold" in alone
    assert "1 of 2 trials passed (50.0 %), 95 % needed." in alone
    assert "Baseline" not in alone
    assert comment(build(run_record(), [])).startswith("<!-- aegis:production-v2 -->\n## ⚠️ INCONCLUSIVE")


def test_drift_is_folded_with_the_worst_first() -> None:
    before = {"refund": [behaviour("lookup", "refund")] * 20, "cancel": [behaviour("lookup")] * 20}
    now = {
        "refund": [behaviour("refund", "lookup")] * 3,
        "cancel": [behaviour("lookup", host="evil.example")] * 3,
    }
    steady = Scenario({"refund": (20, 0), "cancel": (20, 0)}, {"refund": (3, 0), "cancel": (3, 0)})
    text = comment(replace(steady, behaviours=(before, now)).document())
    assert text.startswith("<!-- aegis:production-v2 -->\n## ✅ PASS: `production-v2` passed")
    assert "<details><summary>Drift (2)</summary>" in text
    assert text.index("`new host evil.example: 3 of 3 trials`") < text.index("lookup → refund (20 of 20)")
    check_safe(text)


def hostile(text: str) -> dict[str, Any]:
    """A document that holds the text wherever a suite, an agent or a repository can put one."""
    name = text or "x"
    rates = {name: (20, 0), f"{name}2": (20, 0), "flaky": (17, 3), f"{name}3": (1, 19)}
    now = {name: (0, 3), f"{name}2": (2, 1), "flaky": (2, 1), f"{name}3": (3, 0), f"{name}4": (1, 1)}
    behaviours = ({name: [behaviour(name, answer=text)] * 20}, {name: [behaviour(f"{name}2", host=text)] * 3})
    skipped = [{"run_id": text, "commit": text, "why": text}]
    return Scenario(
        rates,
        now,
        {name: (0, 10), f"{name}2": (10, 0)},
        behaviours=behaviours,
        reason=text,
        answer=text,
        suite=name,
        baseline={"asked": text, "notes": [text], "skipped": skipped, "merge_base": name, "behind": 2},
    ).document()


def test_hostile_text_stays_text() -> None:
    text = comment(hostile(HOSTILE))
    check_safe(text)
    assert text.splitlines()[0] == marker(HOSTILE)
    assert text.count("<!--") == 1
    assert "\\u202eRTL\\u200bzero \\x1b[31m" in text
    problem = replace(SWAP, fresh={}, baseline=no_comparison(HOSTILE, HOSTILE) | {"asked": HOSTILE})
    check_safe(comment(problem.document()))


nasty = st.text(
    st.sampled_from("`|\\<>!-[]()@#*_~$:&;\n\r ab1.\u202e\u200b\x1b…") | st.characters(categories=None),
    max_size=60,
)


@settings(max_examples=examples(100), deadline=None)
@given(nasty)
def test_no_text_becomes_structure(text: str) -> None:
    check_safe(comment(hostile(text)))


@given(nasty)
def test_a_code_span_is_one_span(text: str) -> None:
    for made, source in (
        (code(text), f"x {code(text)} y"),
        (cell(text), f"| a |\n|---|\n| {cell(text)} |\n"),
    ):
        found = [token for token in tokens(source) if token.type == "code_inline"]
        assert len(found) == 1, made
    rows = [
        token for token in tokens(f"| a | b |\n|---|---|\n| {cell(text)} | z |\n") if token.type == "td_open"
    ]
    assert len(rows) == 2


def test_pipes_and_backticks_are_shown_as_they_are() -> None:
    source = f"| a |\n|---|\n| {cell('a|b `c` ``d``')} |\n"
    assert [token.content for token in tokens(source) if token.type == "code_inline"] == ["a|b `c` ``d``"]
    assert prose("passed 2 of 20: too seldom") == "passed 2 of 20: too seldom"
    for linked in ("see www.evil.example", "GH-12", "fixed in 9fceb02d", ":smile:", "a_b", "x@y"):
        assert prose(linked) == f"`{linked}`"


@given(nasty, nasty)
def test_markers_are_comments_that_tell_suites_apart(first: str, second: str) -> None:
    for suite in (first, second):
        assert re.fullmatch(r"<!-- aegis:[A-Za-z0-9._%~-]* -->", marker(suite))
        assert "--" not in marker(suite)[4:-3]
    assert (marker(first) == marker(second)) == (first == second)


def big(number: int, reason: str = "answer: no amount " * 20) -> dict[str, Any]:
    names = [f"case-{index:04}" for index in range(number)]
    return Scenario(
        dict.fromkeys(names, (20, 0)),
        dict.fromkeys(names, (0, 3)),
        dict.fromkeys(names, (0, 10)),
        reason=reason,
    ).document()


def test_a_large_run_fits_whole_rows_only_and_says_what_is_missing() -> None:
    document = big(3_000)
    text = comment(document)
    assert 60_000 < mdtext.size(text) <= 64_000
    rows = len(
        re.findall(r"^\| `case-\d{4}` \| 20 of 20 \| 0 of 3 \| 0 of 10 \| &lt; 0\.0001 \|$", text, re.M)
    )
    assert rows == text.count("| `case-") > 800
    assert f"_{3_000 - rows:,} more of: regressions (the run document has all of it)._" in text
    assert "_3,000 more of: failing cases (the run document has all of it)._" in text
    assert text.rstrip().endswith("```")
    check_safe(text)
    whole = summary(document)
    assert mdtext.size(whole) <= 1_024_000
    assert whole.count("| `case-") == 3_000


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(MIN_BYTES, 40_000), st.text(min_size=1, max_size=5000))
def test_no_limit_is_passed(limit: int, text: str) -> None:
    assert mdtext.size(comment(hostile(text), max_bytes=limit)) <= limit


def test_marks_that_take_no_column_do_not_pass_the_limit() -> None:
    assert mdtext.size(comment(hostile("a" + "\u0301" * 30_000), max_bytes=MIN_BYTES)) <= MIN_BYTES


def test_limits_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16,000"):
        comment(SWAP.document(), max_bytes=100)
    with pytest.raises(ValueError, match="too few"):
        fit("x" * 50, [Section("rows", "", ["a"])], "", 60, "elsewhere")


def test_the_command_holds_nothing_that_a_shell_or_the_selection_reads() -> None:
    rates = {"a;rm -rf": (20, 0), "ok": (20, 0), "or": (20, 0), "$(x)": (20, 0)}
    now = dict.fromkeys(rates, (0, 3))
    document = Scenario(rates, now, dict.fromkeys(rates, (0, 10)), baseline={"asked": "--help"}).document()
    command = reproduce(document)
    assert command is not None
    assert shlex.split(command) == ["aegis", "eval", "run", "-s", "production-v2", "-k", "ok"]
    assert reproduce(build(run_record(), [trial_record()])) is None


def test_failing_on_new_failures_names_them() -> None:
    document = replace(SWAP, policy=Policy(fail_on=frozenset({"new-failure"}))).document()
    assert "### Failed for the first time\n\n- `refund`\n- `cancel`\n- `added`\n" in comment(document)
