"""Python suites."""

# Tables of one-line snippets and messages read better unbroken.
# ruff: noqa: E501

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_files import HEAD, load, problems, write

from aegis.errors import SuiteError
from aegis.gateway import entries
from aegis.suite import Agent, Case, Expectation, SandboxConfig, Suite, Turn, World, load_suite
from aegis.suite.document import to_document
from support.fuzzing import examples

SUITE = """\
CASES = [
    {"id": f"case-{n}", "input": "hi", "expect": ({"answer": {"contains": "x"}},)}
    for n in range(3)
]
suite = {
    "suite": "s",
    "agent": {"command": "python3 agent.py"},
    "cases": CASES,
}
"""


def test_a_mapping_of_the_same_shape(tmp_path: Path) -> None:
    suite = load(tmp_path, SUITE, "s.py")
    assert [case.id for case in suite.cases] == ["case-0", "case-1", "case-2"]
    assert (suite.cases[0].source_file, suite.cases[0].source_line) == ("evals/s.py", 8)


def test_a_suite_object_gets_the_same_checks(tmp_path: Path) -> None:
    text = """\
from aegis.suite import Agent, Case, Expectation, Suite, Turn, World

def case(name, **fields):
    return Case(id=name, turns=(Turn(user="hi"),), expect=(Expectation(scorer="answer", config="x"),), **fields)

suite = Suite(suite="s", agent=Agent(command="x"), cases=(%s))
"""
    suite = load(tmp_path, text % "case('a', trials=3), case('b', timeout=90.5),", "s.py")
    assert [(case.trials, case.timeout, case.source_line) for case in suite.cases] == [
        (3, None, 6),
        (None, 90.5, 6),
    ]
    found = problems(tmp_path, text % "case('a'), case('a', world=World(files={'../x': 'nope'})),", "s.py")
    assert [problem.partition("s.py:6: ")[2][:40] for problem in found] == [
        "case id 'a' is used twice (first at eval",
        "world.files['../x'] of case 'a': 'nope' ",
        "world.files['../x'] of case 'a': expecte",
    ]


def test_a_suite_goes_through_its_written_form_unchanged(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "o.json").touch()
    expect = (Expectation(scorer="file", config={"path": "x", "json": {"a": [1, 2.5, None, True]}}),)
    made = Suite(
        suite="s",
        agent=Agent(command="x", protocol="jsonl", env={"A": "1"}),
        sandbox=SandboxConfig(memory=100 * 2**20, cpus=2, setup=("true",), files={"evals": "/srv/e"}),
        trials=4,
        timeout=12.25,
        cases=(
            Case(
                id="a",
                tags=("t",),
                turns=(Turn(user="1"), Turn(user="2")),
                world=World(files={"/workspace/o": "o.json"}, run=("ls",)),
                expect=expect,
            ),
        ),
    )
    loaded = load(tmp_path, f"suite = {to_document(made)!r}\n", "s.py")
    assert to_document(loaded) == to_document(made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n\ny = 1 / 0\n", "3: the suite raised ZeroDivisionError: division by zero"),
        ("def f():\n    raise KeyError('k')\n\nf()\n", "2: the suite raised KeyError: 'k'"),
        ("import sys\nsys.exit(0)\n", "2: the suite raised SystemExit: 0"),
        ("import no_such_module_at_all\n", "1: the suite raised ModuleNotFoundError: No module named"),
        ("raise BaseException\n", "1: the suite raised BaseException"),
        ("x = 1\ndef f(:\n", "2: not valid Python: invalid syntax"),
        ("suite = 3\n", "1: the suite: expected a mapping with keys such as suite, description, agent, got the number 3"),
        ("suites = {}\n", "1: defines no 'suite': assign it a mapping"),
        ("x = 1\nsuite = lambda: {}\n", "2: suite: expected text, a number, a list or a mapping, got a Python function"),
        ("", "1: the file is empty"),
        ("x = '\\N{nope}'\n", "1: not valid Python: "),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_the_file(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text, "s.py")[0].startswith(f"evals/s.py:{expected}")


def test_literals_have_their_lines(tmp_path: Path) -> None:
    text = """\
suite = {
    "suite": "s",
    "agent": {"command": "x"},
    "trials": 0,
    "cases": [
        {"id": "a", "input": "x", "expect": [{"answer": "x"}]},
        {"id": "b",
         "inputt": "x",
         "expect": [{"answr": "x"}]},
    ],
}
"""
    assert [problem.split(":")[1] for problem in problems(tmp_path, text, "s.py")] == ["4", "8", "9"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "object()",
            "suite['cases'][0]['input']: expected text, a number, a list or a mapping, got a Python object",
        ),
        ("float('nan')", "suite['cases'][0]['input']: nan is not a finite number"),
        ("10 ** 6000", "suite['cases'][0]['input']: the number is too large"),
        ("{1: 2}", "suite['cases'][0]['input']: key the number 1 is not text"),
        ("'\\ud800'", "suite['cases'][0]['input']: the text holds half of a surrogate pair"),
        ("loop", "suite['cases']"),
    ],
)
def test_what_a_suite_cannot_hold(tmp_path: Path, value: str, expected: str) -> None:
    case = f"{{'id': 'a', 'input': {value}, 'expect': [{{'answer': 'x'}}]}}"
    text = f"loop = []\nloop.append(loop)\nsuite = {{'suite': 's', 'agent': {{'command': 'x'}}, 'cases': [{case}]}}\n"
    assert any(expected in problem for problem in problems(tmp_path, text, "s.py"))


def test_modules_beside_it_are_found_and_forgotten(tmp_path: Path) -> None:
    for number in (1, 2):
        root = tmp_path / str(number)
        root.mkdir()
        write(root, f"COMMAND = 'command {number}'\n", "shared_things.py")
        text = SUITE.replace('"python3 agent.py"', "shared_things.COMMAND")
        suite = load(root, "import shared_things\n" + text, "s.py")
        assert suite.agent.command == f"command {number}"
    assert "shared_things" not in sys.modules
    assert not [entry for entry in sys.path if str(tmp_path) in entry]
    assert not [name for name in sys.modules if name.startswith("_suite_")]
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_module_of_the_callers_with_the_same_name_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shared_things", pytest)
    write(tmp_path, "COMMAND = 'mine'\n", "shared_things.py")
    text = "import shared_things\n" + SUITE.replace('"python3 agent.py"', "shared_things.COMMAND")
    assert load(tmp_path, text, "s.py").agent.command == "mine"
    assert sys.modules["shared_things"] is pytest


def test_dataclasses_and_prints_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
from __future__ import annotations
import dataclasses
@dataclasses.dataclass
class Thing:
    name: str = "x"
print("loading", Thing())
"""
    load(tmp_path, text + SUITE, "s.py")
    captured = capsys.readouterr()
    assert (captured.out, "loading" in captured.err) == ("", True)


def test_an_interrupt_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, "raise KeyboardInterrupt\n", "s.py")


@settings(max_examples=examples(150))
@given(text=st.text(alphabet=st.sampled_from("suite:={}[]'\"abc, 1\n#\t()\\é\x00")))
def test_any_yaml_is_a_suite_or_a_suite_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text, "any.yaml")
    with pytest.raises(SuiteError):
        load_suite(path)


KEYS = st.sampled_from(
    (
        *("suite", "agent", "command", "protocol", "cases", "jsonl", "id", "input", "conversation", "user"),
        *("expect", "answer", "world", "files", "run", "sandbox", "memory", "trials", "timeout", "tags"),
        *("env", "s", "a", "network", "allow", "routes", "upstreams", "upstream", "to", "unless", "limits"),
        *("secrets", "hosts", "optional", "passthrough", "OPENAI_API_KEY", "requests_per_minute"),
    )
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KEYS | st.just("2s"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=examples(300))
@given(extra=st.dictionaries(KEYS, DATA, max_size=4), case=st.dictionaries(KEYS, DATA, max_size=5))
def test_any_data_is_a_suite_or_a_suite_error(
    tmp_path_factory: pytest.TempPathFactory, extra: dict[str, object], case: dict[str, object]
) -> None:
    whole_case = {"id": "a", "input": "x", "expect": [{"answer": "x"}], **case}
    document = {"suite": "any2", "agent": {"command": "x"}, "cases": [whole_case], **extra}
    # repr() writes nan and inf as names.
    text = f"nan = float('nan')\ninf = float('inf')\nsuite = {document!r}\n"
    path = write(tmp_path_factory.getbasetemp(), text, "any2.py")
    try:
        suite = load_suite(path, host_rules=entries)
    except SuiteError:
        return
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


def test_head_is_a_suite_without_cases(tmp_path: Path) -> None:
    assert problems(tmp_path, HEAD) == ["evals/s.yaml:1: the suite: key 'cases' is missing"]
