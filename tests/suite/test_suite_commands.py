"""`aegis suite` and `aegis init`, without running any agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from suite_files import CASE, HEAD, write

from aegis.cli.init import init
from aegis.cli.suite import suite
from aegis.errors import SuiteError, UsageError

STARTER = ["aegis.toml", "agent.py", "evals/first.yaml", "evals/fixtures/orders.json"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(suite if args[0] in suite.commands else init, args, catch_exceptions=True)


def begin(*args: str) -> Result:
    return CliRunner().invoke(init, args)


def test_check_prints_a_line_for_each_suite(root: Path) -> None:
    write(root, HEAD + "trials: 3\n" + CASE)
    write(root, HEAD.replace("suite: s", "suite: t") + CASE, "t.yaml")
    assert call("check").output == "s: 1 case, 3 trials, ok\nt: 1 case, 1 trial, ok\n"
    assert call("check", "t", "evals/t.yaml").output == "t: 1 case, 1 trial, ok\n"


def test_check_reports_the_problems_of_all_suites(root: Path) -> None:
    write(root, HEAD + CASE, "good.yaml")
    write(root, HEAD + "trials: 0\n" + CASE)
    write(root, HEAD.replace("suite: s", "suite: t") + CASE.replace("answer", "anwser"), "t.yaml")
    write(root, HEAD.replace("suite: s", "suite: good") + CASE, "good.yaml")
    result = call("check")
    assert result.output == "good: 1 case, 1 trial, ok\n"
    assert isinstance(result.exception, SuiteError)
    assert result.exception.exit_code == 2
    assert result.exception.message == "2 suites have 2 problems"
    assert "unknown scorer 'anwser' (did you mean 'answer'?)" in result.exception.problems[1]


def test_check_asks_for_what_the_scorers_and_the_agent_need(root: Path) -> None:
    text = HEAD.replace("python3 agent.py", "no-function, protocol: python") + CASE.replace(
        "{answer: x}", "{command: {run: 'sh c.sh', files: {c.sh: checks/c.sh}}}"
    )
    write(root, text)
    result = call("check", "s")
    assert isinstance(result.exception, SuiteError)
    agent, files = result.exception.problems
    assert agent.startswith("evals/s.yaml:2: agent.command: ")
    assert files == (
        "evals/s.yaml:4: expect[0].command of case 'a': 'checks/c.sh' does not exist "
        "(looked for evals/checks/c.sh)"
    )


def test_check_knows_the_rules_of_hosts(root: Path) -> None:
    write(root, HEAD + "network: {allow: ['a.example:99999']}\n" + CASE)
    result = call("check")
    assert isinstance(result.exception, SuiteError)
    (problem,) = result.exception.problems
    assert "evals/s.yaml:3: network.allow[0]: the port of 'a.example:99999' is not from 1 to 65535" in problem


def test_list_tells_what_may_be_reached(root: Path) -> None:
    network = (
        "{allow: [a.example], routes: {b.example: {upstream: u}, c.example: 'http://h:1'}, upstreams: {u: x}}"
    )
    secrets = "secrets: {T: [a.example, b.example]}"
    write(root, f"suite: s\nagent: {{command: x, {secrets}}}\nnetwork: {network}\n{CASE}")
    write(root, HEAD.replace("suite: s", "suite: t") + CASE, "t.yaml")
    lines = call("list", "s").output.splitlines()
    assert lines[1:5] == [
        "  may reach a.example",
        "  may reach b.example at upstream u",
        "  may reach c.example at http://h:1",
        "  secret T for a.example, b.example",
    ]
    assert "reach" not in call("list", "t").output
    one, other = json.loads(call("list", "--json").output)["suites"]
    assert one["network"] == {
        "allow": ["a.example"],
        "routes": {"b.example": "upstream u", "c.example": "http://h:1"},
        "secrets": {"T": ["a.example", "b.example"]},
    }
    assert other["network"] == {"allow": [], "routes": {}, "secrets": {}}


def test_checking_loads_none_of_what_serves_connections(root: Path) -> None:
    write(root, HEAD + "network: {allow: [a.example]}\n" + CASE.replace("answer: x", "answer: {contains: x}"))
    command = [sys.executable, "-X", "importtime", "-m", "aegis", "suite", "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "aegis.gateway.policy" in imported
    assert not {name for name in imported if name.split(".")[0] in ("cryptography", "h11")}


def test_check_as_json(root: Path) -> None:
    write(root, HEAD + "trials: 0\n" + CASE)
    write(root, HEAD.replace("suite: s", "suite: t") + CASE, "t.yaml")
    result = call("check", "--json")
    document = json.loads(result.output)
    assert (result.exit_code, document["ok"]) == (2, False)
    broken, good = document["suites"]
    assert (broken["suite"], broken["ok"], broken["cases"]) == ("s", False, None)
    assert broken["problems"][0].startswith("evals/s.yaml:3: trials: expected a whole number")
    assert (good["file"], good["cases"], good["trials"], good["problems"]) == ("evals/t.yaml", 1, 1, [])
    assert call("check", "t", "--json").exit_code == 0


def test_check_of_nothing(root: Path) -> None:
    result = call("check")
    assert isinstance(result.exception, UsageError)
    assert "aegis init" in (result.exception.fix or "")


def test_check_of_a_name_that_does_not_exist(root: Path) -> None:
    write(root, HEAD + CASE)
    write(root, HEAD + CASE, "support.yaml")
    result = call("check", "suport")
    assert isinstance(result.exception, SuiteError)
    assert str(result.exception) == "no suite 'suport' (did you mean 'support'?)"


def test_list(root: Path) -> None:
    assert call("list").output == f"no suites in {root}/evals\nbegin with: aegis init\n"
    write(root, HEAD + "description: |\n  First line.\n  Second.\n" + CASE)
    write(root, HEAD + CASE, "wrong-name.yaml")
    assert call("list").output.splitlines() == [
        "s            1 case, 1 trial   evals/s.yaml            First line.",
        "wrong-name   1 problem         evals/wrong-name.yaml   (aegis suite check wrong-name)",
    ]
    listed = json.loads(call("list", "--json").output)["suites"]
    assert [(entry["suite"], entry["ok"]) for entry in listed] == [("s", True), ("wrong-name", False)]


def test_list_of_cases(root: Path) -> None:
    write(root, HEAD + CASE + "  - {id: second, tags: [x, y], trials: 2, input: hi, expect: [{answer: x}]}\n")
    assert call("list", "s").output.splitlines() == [
        "s: 2 cases, 3 trials",
        "  a        1 trial    evals/s.yaml:4",
        "  second   2 trials   evals/s.yaml:5   x y",
    ]
    (entry,) = json.loads(call("list", "s", "--json").output)["suites"]
    assert entry["case_list"][1] == {
        "id": "second",
        "tags": ["x", "y"],
        "trials": 2,
        "file": "evals/s.yaml",
        "line": 5,
    }


def test_schema(root: Path) -> None:
    schema = json.loads(call("schema").output)
    Draft202012Validator.check_schema(schema)
    assert "answer" in json.dumps(schema["$defs"]["case"]["properties"]["expect"])


def test_init_writes_a_project_that_checks(root: Path) -> None:
    result = begin()
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.startswith("wrote ")] == [
        f"wrote {name}" for name in STARTER
    ]
    assert "  aegis eval run --suite first" in result.output
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == STARTER
    assert call("check").output == "first: 3 cases, 6 trials, ok\n"


def test_init_into_a_new_folder(root: Path) -> None:
    result = begin("some/new folder")
    assert result.exit_code == 0
    assert "  cd 'some/new folder'" in result.output
    assert (root / "some" / "new folder" / "evals" / "first.yaml").is_file()


@pytest.mark.parametrize("existing", STARTER)
def test_init_overwrites_nothing(root: Path, existing: str) -> None:
    (root / existing).parent.mkdir(parents=True, exist_ok=True)
    (root / existing).write_text("mine")
    result = begin()
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"{existing} already exists; nothing was written"
    assert [path for path in root.rglob("*") if path.is_file()] == [root / existing]
    assert begin("--force").exit_code == 0
    assert (root / existing).read_text() != "mine"


def test_init_forced_replaces_a_link_and_not_its_target(root: Path) -> None:
    (root / "target").write_text("mine")
    (root / "agent.py").symlink_to("target")
    assert begin("--force").exit_code == 0
    assert (root / "target").read_text() == "mine"
    assert not (root / "agent.py").is_symlink()


def test_init_where_it_cannot_write(root: Path) -> None:
    (root / "file").touch()
    (root / "a" / "agent.py").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "b" / "evals").touch()
    (root / "c").mkdir()
    (root / "c" / "pyproject.toml").write_text("[tool.aegis]\n")
    before = sorted(root.rglob("*"))
    for folder, words in {
        "file": "file is not a folder",
        "file/x": "cannot write file/x: Not a directory",
        "a": "a/agent.py is a folder",
        "b": "b/evals is not a folder",
        "c": "c/pyproject.toml already configures Aegis",
    }.items():
        result = begin(folder, "--force")
        assert isinstance(result.exception, UsageError), folder
        assert words in str(result.exception)
    assert sorted(root.rglob("*")) == before


def test_init_leaves_nothing_half_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        if "orders" in self.name:
            raise OSError(28, "No space left on device", str(self))
        with open(self, "wb") as file:
            return file.write(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = begin()
    assert isinstance(result.exception, UsageError)
    assert "No space left on device" in str(result.exception)
    assert [path for path in root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("message", "answer", "refunds"),
    [
        ("Where is my order 1077?", "Order 1077 (lamp) is shipped.", []),
        ("My order 1042 arrived broken. I want a refund.", "I have refunded 42 euros for order 1042.", ["1042.json"]),
        ("Refund order 1077", "Order 1077 is shipped: I can refund it once it has been delivered.", []),
        ("Please refund order 9999.", "I can find no order 9999. Could you check the number?", []),
        ("Hi", "Hello! Which order is it about?", []),
    ],
)  # fmt: skip
def test_the_starters_agent(root: Path, message: str, answer: str, refunds: list[str]) -> None:
    assert begin().exit_code == 0
    (root / "orders.json").write_bytes((root / "evals" / "fixtures" / "orders.json").read_bytes())
    done = subprocess.run(
        [sys.executable, "agent.py"], input=message, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == answer
    assert (sorted(os.listdir("refunds")) if refunds else refunds) == refunds
    assert (root / "refunds").exists() == bool(refunds)
