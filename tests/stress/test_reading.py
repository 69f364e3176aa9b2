"""The key `stress`: what can be written, what is wrong with it and where, and whose entry counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aegis.errors import SuiteError, UsageError
from aegis.stress import reading, registry
from aegis.stress.examples import EXAMPLES
from aegis.stress.reading import read_stress
from aegis.suite import Suite, load_suite
from aegis.suite.model import StressRule
from aegis.suite.problems import Problems
from aegis.suite.yamltree import parse_yaml
from support.fuzzing import examples

HEAD = """\
suite: s
agent: {command: cat}
cases:
  - {id: a, input: hello, expect: [{answer: x}]}
  - {id: b, input: hello, expect: [{answer: x}], stress: none}
  - id: c
    input: hello
    expect: [{answer: x}]
    stress:
      - {transform: deep-conversation, levels: [100], depth: 0}
"""
FIRST = 11
"""Line of the first shared entry below `HEAD`."""


def suite_of(*entries: str) -> str:
    """A suite with these entries, one a line."""
    return HEAD + "stress:\n" + "".join(f"  - {entry}\n" for entry in entries)


def load(root: Path, text: str, **options: Any) -> Suite:
    (root / "aegis.toml").touch()
    (root / "evals").mkdir(exist_ok=True)
    path = root / "evals" / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, read_stress=read_stress, **options)


def problems(root: Path, text: str) -> list[str]:
    with pytest.raises(SuiteError) as caught:
        load(root, text)
    return list(caught.value.problems)


def rules(suite: Suite, case: str) -> dict[str, tuple[str, ...]]:
    """Transform → levels, of a case."""
    return {rule.transform: rule.levels for entry in suite.cases if entry.id == case for rule in entry.stress}


def test_a_set_is_every_transform_with_its_usual_levels(tmp_path: Path) -> None:
    suite = load(tmp_path, HEAD + "stress: production\n")
    expected = {name: registry.get(name).usual for name in registry.NAMES}
    assert rules(suite, "a") == expected
    assert list(rules(suite, "a")) == list(registry.NAMES)
    assert {rule.transform: rule.levels for rule in suite.stress} == expected


def test_a_case_may_refuse_and_its_own_entry_wins(tmp_path: Path) -> None:
    suite = load(tmp_path, suite_of("deep-conversation", "bloated-tools.32k"))
    assert rules(suite, "a") == {"deep-conversation": ("40",), "bloated-tools": ("32k",)}
    assert rules(suite, "b") == {}
    assert rules(suite, "c") == {"deep-conversation": ("100",), "bloated-tools": ("32k",)}
    [own, _] = suite.cases[2].stress
    assert own.params == {"depth": 0}


def test_levels_of_one_transform_add_up(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        suite_of(
            "baseline",
            "bloated-tools",
            "bloated-tools.32k",
            "{transform: bloated-tools, levels: [8k], rows: never}",
        ),
    )
    assert suite.stress == (
        StressRule(transform="bloated-tools", levels=("8k", "32k"), params={"rows": "never"}),
    )


def test_a_level_that_is_a_number_needs_no_quotes(tmp_path: Path) -> None:
    suite = load(tmp_path, suite_of('{transform: malformed-input, levels: [1, "2", html]}'))
    assert rules(suite, "a") == {"malformed-input": ("1", "2", "html")}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["malformed-input.html"], {"malformed-input": ("html",)}),
        (
            ["truncated-tools", "malformed-input.html"],
            {"truncated-tools": ("3",), "malformed-input": ("html",)},
        ),
        (["none"], {}),
        (["baseline"], {}),
    ],
)
def test_the_command_line_stands_in_place_of_the_suites(
    tmp_path: Path, names: list[str], expected: dict[str, tuple[str, ...]]
) -> None:
    suite = load(tmp_path, suite_of("bloated-tools"), stress=names)
    assert rules(suite, "a") == expected
    assert rules(suite, "b") == {}
    own = {} if names == ["none"] else {"deep-conversation": ("100",)}
    assert rules(suite, "c") == {**own, **expected}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("producton", "--stress[0]: unknown transform 'producton' (did you mean 'production'?)"),
        ("bloated-tools.9k", "--stress[0]: bloated-tools has no level '9k' (levels: 8k, 32k)"),
    ],
)
def test_a_wrong_name_on_the_command_line_is_told(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, HEAD, stress=[name])
    assert caught.value.message == message


WRONG = {
    "bloted-tools": "stress[0]: unknown transform 'bloted-tools' (did you mean 'bloated-tools'?)",
    "bloated-tools.16k": "stress[0]: bloated-tools has no level '16k' (levels: 8k, 32k)",
    "shard-turns.2": "stress[0]: shard-turns has no level '2' (it has no levels)",
    "none": "stress[0]: none stands alone: stress: none",
    "7": "stress[0]: expected the name of a transform or of a set",
    "[bloated-tools]": "stress[0]: expected the name of a transform or of a set",
    '""': "stress[0]: unknown transform ''",
    "{levels: [8k]}": "stress[0].transform: expected the name of a transform, got ",
    "{transform: production}": "stress[0].transform: expected the name of a transform, got 'production'",
    "{transform: bloated-tool}": "(did you mean 'bloated-tools'?)",
    "{transform: bloated-tools, levels: 8k}": "stress[0].levels: expected a list of levels",
    "{transform: bloated-tools, levels: []}": "stress[0].levels: ",
    "{transform: bloated-tools, levels: [8k, 8k]}": "stress[0].levels",
    "{transform: deep-conversation, levels: [50]}": "stress[0].levels[0]: expected one of 40, 100, 400, 8k, 32k, 128k, "
    "got the number 50",
    "{transform: deep-conversation, levels: [true]}": "stress[0].levels[0]: expected one of 40",
    "{transform: shard-turns, shard: [one, two]}": "unknown key 'shard' in stress[0] (did you mean 'shards'?)",
    "{transform: shard-turns, levels: [a]}": "unknown key 'levels' in stress[0]",
    "{transform: shard-turns, shards: [one]}": "stress[0].shards: expected a list of 2 to 6 messages",
    "{transform: bloated-tools, rows: some}": "stress[0].rows: ",
    "{transform: distractors, hosts: crm.example}": "stress[0].hosts: expected a list of hosts",
    "{transform: tool-injection, instruction: Do it.}": "stress[0]: 'instruction' and 'forbid' go together",
    "{transform: empty-and-huge, expect_answer: ['(']}": "stress[0].expect_answer[0]: not a regular expression",
}


@pytest.mark.parametrize("entry", WRONG)
def test_what_is_wrong_is_told_once_with_its_line(tmp_path: Path, entry: str) -> None:
    [found] = problems(tmp_path, suite_of(entry))
    assert found.startswith(f"evals/s.yaml:{FIRST + 1}: ")
    assert WRONG[entry] in found


def test_two_entries_of_a_transform_with_other_parameters_contradict_each_other(tmp_path: Path) -> None:
    first, second = ("{transform: bloated-tools, tools: [" + name + "]}" for name in "ab")
    [found] = problems(tmp_path, suite_of(first, second))
    assert "bloated-tools stands twice with different parameters" in found


def test_every_problem_of_a_suite_is_told_at_once(tmp_path: Path) -> None:
    text = suite_of("bloted-tools", "none").replace("depth: 0", "depth: 2")
    found = problems(tmp_path, text)
    assert [line.split(": ")[0] for line in found] == [f"evals/s.yaml:{line}" for line in (10, 12, 13)]
    assert "stress[0].depth of case 'c': expected one of 0, 0.5, 1" in found[0]


@pytest.mark.parametrize("value", ["7", "{transform: bloated-tools}", "true"])
def test_something_else_than_a_name_or_a_list_is_refused(tmp_path: Path, value: str) -> None:
    [found] = problems(tmp_path, f"{HEAD}stress: {value}\n")
    assert "stress: expected the name of a transform or of a set such as production, or a list" in found


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_example_of_each_transform_can_be_read(tmp_path: Path, name: str) -> None:
    case = "".join(f"    {line}\n" for line in EXAMPLES[name].splitlines())
    said = "" if "input:" in case else "    input: hello\n"
    suite = load(
        tmp_path,
        f"suite: s\nagent: {{command: cat}}\ncases:\n  - id: a\n{said}    expect: [{{answer: x}}]\n{case}",
    )
    [rule] = suite.cases[0].stress
    assert rule.transform == name
    document = parse_yaml(EXAMPLES[name], shown="example")[0].plain()
    assert list(Draft202012Validator(reading.schema()).iter_errors(document["stress"][0])) == []


def test_there_is_an_example_for_each_transform_and_no_other() -> None:
    assert list(EXAMPLES) == list(registry.NAMES)


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        ({"transform": "bloated-tools", "levels": ["8k"]}, True),
        ({"transform": "deep-conversation", "levels": [40, "8k"]}, True),
        ({"transform": "deep-conversation", "levels": [41]}, False),
        ({"transform": "bloated-tools", "level": "8k"}, False),
        ({"transform": "bloated"}, False),
        ({}, False),
    ],
)
def test_the_schema_for_editors_agrees(entry: dict[str, Any], fits: bool) -> None:
    Draft202012Validator.check_schema(reading.schema())
    assert (not list(Draft202012Validator(reading.schema()).iter_errors(entry))) == fits
    found = Problems([entry], lambda path: ("s", 1))
    read_stress([entry], ("stress",), found)
    assert (not found.found) == fits


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([*registry.NAMES, "none"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["transform", "levels", "shards", "talk", "hosts", "rows", "forbid", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(ANYTHING, max_size=4) | st.text(max_size=12))
def test_whatever_is_written_is_read_or_refused(value: Any) -> None:
    """Plain data is either right, and then every rule can be used, or told to be wrong."""
    found = Problems(value, lambda path: ("s", 1))
    made = read_stress(value, ("stress",), found)
    for rule in () if found.found or made is None else made:
        kind = registry.get(rule.transform)
        kind(kind.read(rule.params))
        assert set(rule.levels) <= set(kind.levels)
