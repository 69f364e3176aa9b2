"""Bulk cases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from suite_files import HEAD, load, problems, write, write_jsonl

from aegis.suite.jsonl import parse_jsonl


def case(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "input": "hi", "expect": [{"answer": "x"}], **fields}


def test_cases_know_their_line(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "o.json").touch()
    suite = load(
        tmp_path, write_jsonl(tmp_path, [case("a"), "", case("b", world={"files": {"x": "o.json"}}), "  \t"])
    )
    assert [(c.id, c.source_file, c.source_line, c.expect[0].line) for c in suite.cases] == [
        ("a", "evals/cases.jsonl", 1, 1),
        ("b", "evals/cases.jsonl", 3, 3),
    ]
    assert suite.cases[1].world.files == {"/workspace/x": "o.json"}


def test_windows_line_ends_and_separators_inside_text(tmp_path: Path) -> None:
    text = '{"id":"a","input":"x\u2028y","expect":[{"answer":"x"}]}\r\n'
    assert load(tmp_path, write_jsonl(tmp_path, [text])).cases[0].turns[0].user == "x\u2028y"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "2: not valid JSON: "),
        ("[1]", "2: case 2: expected a mapping with keys such as id, tags, description, got a list"),
        ('{"id":"b","id":"c"}', "2: duplicate key 'id'"),
        ('{"id":NaN}', "2: NaN is not a finite number"),
        ('{"id":-Infinity}', "2: -Infinity is not a finite number"),
        ('{"id":1e999}', "2: the number is too large"),
        (f'{{"id":{"9" * 5000}}}', "2: the number is too large"),
        ("[" * 100_000, "2: is nested more than 40 levels deep"),
        (case("a"), "2: case id 'a' is used twice (first at evals/cases.jsonl:1)"),
        (case("b", expects=[]), "2: unknown key 'expects' in case 'b' (did you mean 'expect'?)"),
        (case("b", timeout="soon"), "2: timeout of case 'b': expected a duration such as"),
        (case("b", expect=[{"anwser": 1}]), "2: expect[0].anwser of case 'b': unknown scorer"),
        (
            case("b", expect=[{"answer": {"contains": ""}}]),
            "2: expect[0].answer.contains of case 'b': expected",
        ),
        (case("b", collect=["/"]), "2: collect[0] of case 'b': expected a path in the sandbox"),
        (case("b", world="nothing"), "2: world of case 'b': expected a mapping such as"),
        (case("b", input="\ud800"), "2: the text holds half of a surrogate pair"),
        (case("b", world={"files": {"x": "nope"}}), "2: world.files.x of case 'b': 'nope' does not exist"),
    ],
)
def test_errors_carry_the_line_of_the_jsonl(tmp_path: Path, line: Any, expected: str) -> None:
    found = problems(tmp_path, write_jsonl(tmp_path, [case("a"), line]))
    assert found[0].startswith(f"evals/cases.jsonl:{expected}")


def test_deep_data_is_refused_before_it_reaches_a_trial(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(60):
        deep = [deep]
    found = problems(tmp_path, write_jsonl(tmp_path, [case("a", expect=[{"answer": deep}])]))
    assert "nested more than 40 levels deep" in found[0]


def test_every_bad_line_is_reported(tmp_path: Path) -> None:
    found = problems(tmp_path, write_jsonl(tmp_path, ["{", case("a"), "nope", {"id": "b"}]) + "trials: 0\n")
    assert [problem.split(": ")[0] for problem in found] == [
        *("evals/cases.jsonl:1", "evals/cases.jsonl:3"),
        *("evals/cases.jsonl:4", "evals/cases.jsonl:4"),
        "evals/s.yaml:4",
    ]


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ("{jsonl: gone.jsonl}", "s.yaml:3: cases.jsonl: 'gone.jsonl' does not exist (looked for evals/gone."),
        ("{jsonl: ../../x}", "s.yaml:3: cases.jsonl: '../../x' leads out of the project"),
        ("{jsonl: sub}", "s.yaml:3: cases.jsonl: 'sub' is a folder, not a file"),
        ("{jsonl: pipe}", "s.yaml:3: cases.jsonl: 'pipe' is not a regular file"),
        ("{jsonl: 3}", "s.yaml:3: cases.jsonl: expected a path to a JSONL file, got the number 3"),
        ("{}", "s.yaml:3: cases: key 'jsonl' is missing"),
        ("{jsnol: x, jsonl: c.jsonl}", "s.yaml:3: unknown key 'jsnol' in cases (did you mean 'jsonl'?)"),
        ("{jsonl: empty.jsonl}", "empty.jsonl:1: the file is empty"),
        ("{jsonl: latin.jsonl}", "latin.jsonl:2: byte 0xe9 is not UTF-8"),
    ],
)  # fmt: skip
def test_files_that_hold_no_cases(tmp_path: Path, cases: str, expected: str) -> None:
    write_jsonl(tmp_path, [case("a")], "c.jsonl")
    write(tmp_path, "", "empty.jsonl")
    write(tmp_path, b"{}\n\xe9\n", "latin.jsonl")
    (tmp_path / "evals" / "sub").mkdir()
    os.mkfifo(tmp_path / "evals" / "pipe")
    (problem,) = problems(tmp_path, f"{HEAD}cases: {cases}\n")
    assert problem.startswith(f"evals/{expected}")


def test_ten_thousand_cases(tmp_path: Path) -> None:
    suite = load(tmp_path, write_jsonl(tmp_path, [case(f"case-{number}") for number in range(10_000)]))
    assert len(suite.cases) == 10_000
    assert suite.cases[-1].source_line == 10_000


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "replace")))
def test_any_text_is_cases_or_problems(text: str) -> None:
    bulk = parse_jsonl(text, shown="f")
    assert len(bulk.cases) == len(bulk.lines)
    assert len(bulk.cases) + len(bulk.problems) >= sum(1 for line in text.split("\n") if line.strip() != "")
