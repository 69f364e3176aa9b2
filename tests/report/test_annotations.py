"""Remarks at the lines of a suite. Commands are read back as GitHub's runner reads them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.regression.policy import Policy
from aegis.report.annotations import github, gitlab_codequality
from aegis.results.document import build
from support.compared_runs import SWAP, Scenario, behaviour, no_comparison
from support.fuzzing import examples
from support.run_records import run_record, trial_record

COMMAND = re.compile(r"::(error|warning|notice)(?: ([^\n\r]*?))?::([^\n\r]*)")

CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "minLength": 1, "not": {"pattern": r"^\./"}},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"minimum": 1}},
                    },
                },
            },
        },
    },
}
"""docs.gitlab.com, "Code Quality report format"."""


class Command(NamedTuple):
    kind: str
    properties: dict[str, str]
    message: str


def parsed(line: str) -> Command:
    """As the runner does (actions/runner, ActionCommand.TryParseV2)."""
    found = COMMAND.fullmatch(line)
    assert found, line
    properties = {}
    for pair in found[2].split(","):
        name, _, value = pair.partition("=")
        for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            value = value.replace(escape, character)
        properties[name] = value
    message = found[3].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    return Command(found[1], properties, message)


def commands(document: dict[str, Any], limit: int = 10) -> list[Command]:
    return [parsed(line) for line in github(document, limit)]


def test_a_regression_points_at_its_line() -> None:
    first = commands(replace(SWAP, prefix="agents/support/").document())[0]
    assert first == Command(
        "error",
        {"file": "agents/support/evals/production-v2.yaml", "line": "12", "title": "refund: got worse"},
        "refund: passed 20 of 20 before, 1 of 3 now, 2 of 10 when tried again (p < 0.0001)\nanswer: no amount",
    )


def test_what_does_not_decide_is_a_warning_and_what_is_good_a_notice() -> None:
    found = [(command.kind, command.properties["title"]) for command in commands(SWAP.document())]
    assert found == [
        ("error", "refund: got worse"),
        ("warning", "cancel: failed"),
        ("warning", "added: failed"),
        ("notice", "lookup: got better"),
    ]
    strict = replace(SWAP, policy=Policy(fail_on=frozenset({"regression", "new-failure"})))
    errors = [c.properties["title"] for c in commands(strict.document()) if c.kind == "error"]
    assert errors == ["refund: got worse", "cancel: failed", "added: failed"]


def test_failing_cases_of_a_run_without_comparison_are_errors() -> None:
    trials = [
        trial_record(),
        trial_record(number=2, outcome="failed", reason="no amount"),
        trial_record("cancel", outcome="error", reason="no machine"),
    ]
    document = build(
        run_record(), trials, places={"refund": ("evals/s.yaml", 3), "cancel": ("evals/s.yaml", 9)}
    )
    assert commands(document) == [
        Command(
            "error",
            {"file": "evals/s.yaml", "line": "3", "title": "refund: failed"},
            "1 of 2 trials failed\nno amount",
        ),
        Command(
            "warning",
            {"file": "evals/s.yaml", "line": "9", "title": "cancel: could not be judged"},
            "1 of 1 trial not judged\nerror: no machine",
        ),
    ]


def test_a_missing_baseline_is_a_warning() -> None:
    document = replace(
        SWAP, now={"refund": (3, 0)}, fresh={}, baseline=no_comparison("none", "make one")
    ).document()
    assert commands(document) == [Command("warning", {"title": "no comparison with main"}, "none\nmake one")]


def test_what_could_not_be_judged_and_drift() -> None:
    scenario = Scenario(
        {"refund": (20, 0), "cancel": (20, 0)},
        {"refund": (3, 0), "cancel": (2, 0)},
        errors={"cancel": 1},
        behaviours=({"refund": [behaviour("a")] * 20}, {"refund": [behaviour("a", host="evil.example")] * 3}),
    )
    found = {command.properties["title"]: command for command in commands(scenario.document())}
    assert found["cancel: could not be judged"].message == "1 of 3 trials ended in an infrastructure error"
    assert "new host evil.example: 3 of 3 trials" in found["refund: drift"].message
    assert {command.kind for command in found.values()} == {"warning"}


@pytest.mark.parametrize(("cases", "limit"), [(10, 10), (11, 10), (500, 10), (5, 1)])
def test_no_more_than_github_shows(cases: int, limit: int) -> None:
    trials = [trial_record(f"c{index}", outcome="failed") for index in range(cases)]
    found = commands(build(run_record(), trials), limit)
    assert len(found) == min(cases, limit)
    assert len({command.message for command in found}) >= 1
    if cases > limit:
        assert found[-1].message.startswith(f"{cases - limit + 1} more like this")
    with pytest.raises(ValueError, match="at least 1"):
        github(build(run_record(), trials), 0)


nasty = st.text(
    st.sampled_from(":,%=\r\n ab0ADC\x1b\u202e") | st.characters(categories=None), min_size=1, max_size=40
)


@settings(max_examples=examples(100), deadline=None)
@given(nasty)
def test_whatever_is_written_each_command_is_one_line_and_reads_back(text: str) -> None:
    scenario = Scenario(
        {text: (20, 0)},
        {text: (0, 3)},
        {text: (0, 10)},
        reason=text,
        files={text: (text, 3)},
        prefix="a,b:c/",
    )
    document = scenario.document()
    lines = github(document)
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", line) for line in lines)
    command, overall = map(parsed, lines)
    assert overall.properties == {"title": "the suite as a whole got worse"}
    assert set(command.properties) == {"file", "line", "title"}
    assert command.properties["file"].startswith("a,b:c/")
    assert command.properties["title"].endswith(": got worse")
    issues = gitlab_codequality(document)
    jsonschema.validate(issues, CODE_QUALITY)
    json.dumps(issues).encode("ascii")


def test_code_quality() -> None:
    document = replace(SWAP, prefix="agents/").document()
    issues = gitlab_codequality(document)
    jsonschema.validate(issues, CODE_QUALITY)
    assert len({issue["fingerprint"] for issue in issues}) == len(issues) == 4
    assert issues[0]["severity"] == "critical"
    assert issues[0]["location"] == {"path": "agents/evals/production-v2.yaml", "lines": {"begin": 12}}
    # What has no place in a file still needs one.
    assert issues[1]["location"] == {"path": "agents/aegis.toml", "lines": {"begin": 1}}
    assert gitlab_codequality(build(run_record(), [trial_record()])) == []
    again = gitlab_codequality(replace(SWAP, prefix="agents/", reason="another").document())
    assert [issue["fingerprint"] for issue in again] == [issue["fingerprint"] for issue in issues]
