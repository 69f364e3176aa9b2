"""YAML text → data and lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.suite.yamltree import BadYaml, parse_yaml


def read(text: str) -> Any:
    root, problems = parse_yaml(text, shown="f")
    assert problems == []
    return root.plain()


def reported(text: str) -> list[str]:
    """Problems as `line: message`."""
    try:
        root, problems = parse_yaml(text, shown="f")
        root.plain()
    except BadYaml as error:
        return [f"{error.line}: {error.message}"]
    return [f"{problem.line}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[
            (word, word)
            for word in ("yes", "no", "on", "off", "Y", "2024-01-01", "1:30", "012_3", "1_000", "=")
        ],
        *[("true", True), ("False", False), ("null", None), ("~", None), ("", None)],
        *[("12", 12), ("-3", -3), ("007", 7), ("0o17", 15), ("0xff", 255), ("0b1", "0b1")],
        *[("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0)],
        *[("'true'", "true"), ('"12"', "12"), ("!!str 12", "12"), ("! 12", "12"), ("!!int 12", 12)],
        *[("!!float 1", 1), ('"\\u00e9"', "é")],
    ],
)
def test_scalars_follow_the_core_schema_of_1_2(text: str, value: Any) -> None:
    assert read(f"k: {text}\n") == {"k": value}
    assert type(read(f"k: {text}\n")["k"]) is type(value)


def test_block_text_and_collections() -> None:
    assert read("a: |\n  x\n  y\nb: [1, {c: d}]\n") == {"a": "x\ny\n", "b": [1, {"c": "d"}]}


def test_every_key_and_item_has_its_line() -> None:
    root, _ = parse_yaml("a:\n  b: 1\n  c:\n    - x\n    - {d: 1,\n       e: 2}\n", shown="f")
    lines = {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "e"): 6,
        ("a", "c", 9): 3,
        ("a", "nope", "deeper"): 1,
        (): 1,
    }
    assert {path: root.line_of(path) for path in lines} == lines


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {z: 3}\nc: {<<: [*b, *m], y: 9}\nd: *b\n"
    assert read(text)["c"] == {"x": 1, "y": 9, "z": 3}
    assert read(text)["d"] == {"x": 1, "y": 2}
    assert read("a: {'<<': 1}\n") == {"a": {"<<": 1}}


def test_a_merged_value_has_the_line_where_it_is_written() -> None:
    root, _ = parse_yaml("b: &b\n  x: 1\nc:\n  <<: *b\n", shown="f")
    assert root.line_of(("c", "x")) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "3: duplicate key 'a' (first on line 1)"),
        ("a: {<<: *x}\n", "1: alias *x has no anchor &x before it"),
        ("a: &x [*x]\n", "1: alias *x stands inside its own anchor"),
        ("a:\n  <<: 3\n", "2: << merges mappings"),
        ("1: x\n", "1: key 1 is not text: write it in quotes"),
        ("true: x\n", "1: key true is not text"),
        ("[a]: x\n", "1: key (a collection) is not text"),
        ("a: !!python/object:os.system x\n", "1: tag 'tag:yaml.org,2002:python/object:os.system' is not"),
        ("a: !x {}\n", "1: tag '!x' is not supported"),
        ("a: !!int x\n", "1: 'x' is not a int"),
        ("a: .nan\n", "1: .nan is not a finite number"),
        ("a: -.inf\n", "1: -.inf is not a finite number"),
        ("a: 1e999\n", "1: the number is too large"),
        (f"a: {'9' * 5000}\n", "1: the number is too large"),
        ('a: "\\ud800"\n', "1: the text holds half of a surrogate pair"),
        ("%YAML 1.1\n---\na: 1\n", "2: declares another YAML version"),
        ("a: 1\n---\nb: 1\n", "2: a second document begins here"),
        ("# nothing\n", "1: the file holds no document"),
        ("a:\n\t- b\n", "2: not valid YAML: a tab stands where YAML wants spaces"),
        ("a: b: c\n", "1: not valid YAML: a second ': '"),
        ("a: @x\n", "1: not valid YAML: found character '@'"),
        ("a: [1\n", "1: not valid YAML: while parsing a flow"),
        ("x: 1\na: \x07\n", "2: character U+0007 is not allowed in YAML"),
        ("a: " + "[" * 100 + "\n", "1: is nested more than 40 levels deep"),
    ],
)
def test_what_is_refused(text: str, expected: str) -> None:
    (problem,) = reported(text)
    assert problem.startswith(expected)


def test_every_duplicate_is_reported() -> None:
    assert len(reported("a: 1\na: 2\na: 3\nb: {c: 1, c: 2}\n")) == 3


def test_an_alias_bomb_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        levels.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    (problem,) = reported("\n".join(levels) + "\n")
    assert "aliases expand to more than 100,000 values" in problem


def test_a_merge_bomb_is_refused() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(2000))
    uses = "".join(f"u{number}: {{<<: *a}}\n" for number in range(100))
    (problem,) = reported(f"a: &a {{{keys}}}\n{uses}")
    assert "aliases expand to more than 100,000 values" in problem


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`,?# \n\t<0.e\\\u2028é\x00")))
def test_any_text_is_data_or_bad_yaml(text: str) -> None:
    lines = text.count("\n") + text.count("\u2028") + 2
    assert all(1 <= int(problem.split(":")[0]) <= lines for problem in reported(text))
