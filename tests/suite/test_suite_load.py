"""Loading a suite: what comes out of a right one, and every message about a wrong one."""

# Tables of one-line snippets and messages read better unbroken.
# ruff: noqa: E501

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from suite_files import CASE, HEAD, load, problems, write

from aegis.errors import SuiteError
from aegis.suite import Suite, load_suite
from aegis.suite.document import to_document

FULL = """\
suite: s
description: all keys
agent:
  command: python3 agent.py
  protocol: jsonl
  env: {MODEL: small, EMPTY: ""}
sandbox:
  image: oci:python:3.12-slim
  memory: 1GiB
  cpus: 2
  files: {agent.py: /workspace/, lib: lib, ".": /srv/app}
  setup: ["true"]
  env: {LANG: C.UTF-8}
trials: 3
timeout: 2m
cases:
  - id: first
    tags: [a, b.c]
    description: one
    input: "yes"
    world:
      files: {./data//orders.json: fixtures/orders.json, /etc/app.conf: ../agent.py, all: fixtures}
      run: ["echo hi"]
    expect:
      - answer: yes
      - file: {path: x, json: {amount: 42}}
    trials: 7
    timeout: 1.5s
  - id: second
    conversation: [{user: Hi}, {user: Bye}]
    expect: [{answer: {contains: x}}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "agent.py").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "evals" / "fixtures").mkdir(parents=True)
    (tmp_path / "evals" / "fixtures" / "orders.json").write_text("[]")
    return tmp_path


def test_a_whole_suite(root: Path) -> None:
    suite = load(root, FULL)
    assert (suite.suite, suite.trials, suite.timeout, suite.source_file) == ("s", 3, 120.0, "evals/s.yaml")
    assert suite.agent.model_dump() == {
        "command": "python3 agent.py",
        "protocol": "jsonl",
        "port": 8000,
        "ready_timeout": 60.0,
        "permissions": "allow",
        "env": {"MODEL": "small", "EMPTY": ""},
        "secrets": {},
    }
    assert (suite.sandbox.memory, suite.sandbox.cpus, suite.sandbox.setup) == (2**30, 2, ("true",))
    assert suite.sandbox.files == {
        "agent.py": "/workspace/agent.py",
        "lib": "/workspace/lib",
        ".": "/srv/app",
    }
    first, second = suite.cases
    assert [turn.user for turn in first.turns] == ["yes"]
    assert first.world.files == {
        "/workspace/data/orders.json": "fixtures/orders.json",
        "/etc/app.conf": "../agent.py",
        "/workspace/all": "fixtures",
    }
    assert [(entry.scorer, entry.config, entry.line) for entry in first.expect] == [
        ("answer", "yes", 25),
        ("file", {"path": "x", "json": {"amount": 42}}, 26),
    ]
    assert (first.tags, first.source_file, first.source_line) == (("a", "b.c"), "evals/s.yaml", 17)
    assert [turn.user for turn in second.turns] == ["Hi", "Bye"]
    assert [(suite.trials_of(case), suite.timeout_of(case)) for case in suite.cases] == [(7, 1.5), (3, 120.0)]


def test_it_survives_json(root: Path) -> None:
    suite = load(root, FULL)
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


def test_defaults(root: Path) -> None:
    suite = load(root, HEAD + CASE)
    assert (suite.agent.protocol, suite.sandbox.image, suite.sandbox.memory) == ("text", "debian", 2**29)
    assert (suite.trials, suite.timeout, suite.sandbox.files, suite.cases[0].trials) == (1, 120.0, {}, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "cases: []\n", "s.yaml:3: cases: expected a list of cases or {jsonl: FILE}, got an empty list"),
        (HEAD, "s.yaml:1: the suite: key 'cases' is missing"),
        ("[]\n", "s.yaml:1: the suite: expected a mapping with keys such as suite, description, agent, got"),
        (HEAD + CASE + "agents: 1\n", "s.yaml:5: unknown key 'agents' in the suite (did you mean 'agent'?)"),
        (HEAD + CASE + "zzz: 1\n", "s.yaml:5: unknown key 'zzz' in the suite"),
        (HEAD + CASE + "timeout: fast\n", "s.yaml:5: timeout: expected a duration such as 500ms, 2s or 5m, got 'fast'"),
        (HEAD + CASE + "timeout: 10ms\n", "s.yaml:5: timeout: expected a duration from 1s to 24h, got '10ms'"),
        (HEAD + CASE + "timeout: 25h\n", "s.yaml:5: timeout: expected a duration from 1s to 24h, got '25h'"),
        (HEAD + CASE + "trials: 0\n", "s.yaml:5: trials: expected a whole number from 1 to 1000, got the number 0"),
        (HEAD + CASE + "trials: 1001\n", "s.yaml:5: trials: expected a whole number from 1 to 1000, got"),
        (HEAD + CASE + "trials: true\n", "s.yaml:5: trials: expected a whole number from 1 to 1000, got true"),
        (HEAD + CASE + "trials: '3'\n", "s.yaml:5: trials: expected a whole number from 1 to 1000, got '3'"),
        (HEAD + CASE + "sandbox:\n", "s.yaml:5: sandbox: expected a mapping with keys such as image, memory, cpus, got"),
        (HEAD + CASE + "sandbox: {memory: 1MiB}\n", "s.yaml:5: sandbox.memory: expected a size from 64MiB to 256GiB"),
        (HEAD + CASE + "sandbox: {memory: 512MB}\n", "s.yaml:5: sandbox.memory: expected a size such as 512MiB or"),
        (HEAD + CASE + "sandbox: {cpus: 17}\n", "s.yaml:5: sandbox.cpus: expected a whole number from 1 to 16"),
        (HEAD + CASE + "sandbox: {setup: make}\n", "s.yaml:5: sandbox.setup: expected a list of shell commands, got"),
        (HEAD + CASE + "sandbox: {env: {1A: x}}\n", "s.yaml:5: sandbox.env.1A: expected the name of an environment"),
        (HEAD + CASE + "sandbox: {env: {A: 1}}\n", "s.yaml:5: sandbox.env.A: expected text, got the number 1 (write it in"),
        (HEAD + CASE + "sandbox: {files: {nope: x}}\n", "s.yaml:5: sandbox.files.nope: 'nope' does not exist"),
        (HEAD + CASE + "sandbox: {files: {..: x}}\n", "s.yaml:5: sandbox.files['..']: '..' leads out of the project"),
        (HEAD + CASE + "sandbox: {files: {/etc: x}}\n", "s.yaml:5: sandbox.files['/etc']: expected a path relative to"),
        (HEAD + CASE + "sandbox: {files: {lib: ../x}}\n", "s.yaml:5: sandbox.files.lib: expected a path in the sandbox"),
        (HEAD + CASE + "sandbox: {files: {lib: /}}\n", "s.yaml:5: sandbox.files.lib: expected a path in the sandbox"),
        (HEAD + CASE + "sandbox: {files: {lib: /proc/1}}\n", "s.yaml:5: sandbox.files.lib: expected a path in the"),
        ("suite: s\n" + CASE, "s.yaml:1: the suite: key 'agent' is missing"),
        ("suite: s\nagent: {}\n" + CASE, "s.yaml:2: agent: key 'command' is missing"),
        ("suite: s\nagent: {command: ''}\n" + CASE, "s.yaml:2: agent.command: expected a shell command, got empty text"),
        ('suite: s\nagent: {command: "a\\0"}\n' + CASE, "s.yaml:2: agent.command: expected a shell command, got text"),
        ("suite: s\nagent: {command: x, protocol: jsonll}\n" + CASE, "s.yaml:2: agent.protocol: unknown protocol 'jsonll' (did you mean 'jsonl'?)"),
        ("suite: t\nagent: {command: x}\n" + CASE, "s.yaml:1: suite: is named 't' but its file 's.yaml'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_suite(root: Path, text: str, expected: str) -> None:
    (problem,) = problems(root, text)
    assert problem.startswith(f"evals/{expected}")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("{id: a, input: x}", "case 'a': key 'expect' is missing: a case that checks nothing cannot fail"),
        ("{id: a, input: x, expect: []}", "expect of case 'a': expected a list such as [{answer: refund}], got an"),
        ("{id: a, input: x, expect: {answer: x}}", "expect of case 'a': expected a list such as"),
        ("{id: a, input: x, expect: [answer]}", "expect[0] of case 'a': expected one scorer such as"),
        ("{id: a, input: x, expect: [{}]}", "expect[0] of case 'a': expected one scorer such as"),
        ("{id: a, input: x, expect: [{answer: x, file: y}]}", "expect[0] of case 'a': expected one scorer such as {answer: refund}, got 2 keys"),
        ("{id: a, input: x, expects: [], expect: [{answer: x}]}", "unknown key 'expects' in case 'a' (did you mean 'expect'?)"),
        ("{id: a, input: x, expect: [{anwser: x}]}", "expect[0].anwser of case 'a': unknown scorer 'anwser' (did you mean 'answer'?)"),
        ("{id: a, input: x, expect: [{answer: {contains: ''}}]}", "expect[0].answer.contains of case 'a': expected text"),
        ("{id: a, expect: [{answer: x}]}", "case 'a': needs 'input' or 'conversation'"),
        ("{id: a, input: x, conversation: [{user: y}], expect: [{answer: x}]}", "conversation of case 'a': has 'input' and"),
        ("{id: a, conversation: [], expect: [{answer: x}]}", "conversation of case 'a': expected a list of messages"),
        ("{id: a, conversation: [hi], expect: [{answer: x}]}", "conversation[0] of case 'a': expected a mapping"),
        ("{id: a, conversation: [{usr: x}], expect: [{answer: x}]}", "unknown key 'usr' in conversation[0] of case 'a' (did"),
        ("{id: a, input: 42, expect: [{answer: x}]}", "input of case 'a': expected a message, got the number 42 (write it in"),
        ("{id: a, input: true, expect: [{answer: x}]}", "input of case 'a': expected a message, got true (write it in quotes"),
        ("{id: a, input: '', expect: [{answer: x}]}", "input of case 'a': expected a message, got empty text"),
        ("{input: x, expect: [{answer: x}]}", "case 1: key 'id' is missing"),
        ("{id: a/b, input: x, expect: [{answer: x}]}", "id of case 'a/b': expected a name of letters"),
        ("{id: .a, input: x, expect: [{answer: x}]}", "id of case '.a': expected a name of letters"),
        ("{id: 'é', input: x, expect: [{answer: x}]}", "id of case 'é': expected a name of letters"),
        (f"{{id: {'a' * 101}, input: x, expect: [{{answer: x}}]}}", "id of case 1: expected a name of letters"),
        ("{id: 7, input: x, expect: [{answer: x}]}", "id of case 1: expected a name of letters"),
        ("{id: a, tags: [x, x], input: x, expect: [{answer: x}]}", "tags[1] of case 'a': 'x' stands twice in the list"),
        ("{id: a, timeout: 5, input: x, expect: [{answer: x}]}", "timeout of case 'a': expected a duration such as"),
        ("{id: a, input: x, expect: [{answer: x}], world: {files: {o: nope.json}}}", "world.files.o of case 'a': 'nope.json' does not exist (looked for evals/nope.json)"),
        ("{id: a, input: x, expect: [{answer: x}], world: {files: {o: ../../etc/passwd}}}", "world.files.o of case 'a': '../../etc/passwd' leads out of the project"),
        ("{id: a, input: x, expect: [{answer: x}], world: {files: {o: /etc/passwd}}}", "world.files.o of case 'a': expected a path relative to the folder evals"),
        ("{id: a, input: x, expect: [{answer: x}], world: {files: {o: fixtures, ./o: fixtures}}}", "world.files['./o'] of case 'a': is the same as an earlier key ('/workspace/o')"),
        ("{id: a, input: x, expect: [{answer: x}], world: {run: 'make'}}", "world.run of case 'a': expected a list of shell"),
        ("hello", "case 1: expected a mapping with keys such as id, tags, description, got 'hello'"),
        ("{jsonl: cases.jsonl}", "cases is a list of cases or {jsonl: FILE}, not a mixture"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_case(root: Path, case: str, expected: str) -> None:
    (problem,) = problems(root, f"{HEAD}cases:\n  - {case}\n")
    assert problem.startswith(f"evals/s.yaml:4: {expected}")


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("{command: x, protocol: text, port: 8000}", "agent.port: is for protocol chat only: take it out"),
        ("{command: x, port: 8000}", "agent.port: is for protocol chat only: take it out"),
        (
            "{command: x, protocol: acp, ready_timeout: 5s}",
            "agent.ready_timeout: is for protocol chat only: take it out",
        ),
        (
            "{command: x, protocol: chat, permissions: deny}",
            "agent.permissions: is for protocol acp only: take it out",
        ),
        (
            "{command: x, protocol: chat, port: 70000}",
            "agent.port: expected a whole number from 1 to 65535, got the number 70000",
        ),
        (
            "{command: x, protocol: acp, permissions: ask}",
            "agent.permissions: unknown answer 'ask' (known: allow, deny)",
        ),
    ],
)
def test_keys_of_one_protocol(root: Path, agent: str, expected: str) -> None:
    assert problems(root, f"suite: s\nagent: {agent}\n{CASE}") == [f"evals/s.yaml:2: {expected}"]


@pytest.mark.parametrize(
    "agent",
    [
        "{command: x, protocol: chat, port: 9000, ready_timeout: 1500ms}",
        "{command: x, protocol: chat}",
        "{command: x, protocol: acp, permissions: deny}",
        "{command: x, protocol: jsonl}",
    ],
)
def test_agents_of_every_protocol_survive_being_written_again(root: Path, agent: str) -> None:
    suite = load(root, f"suite: s\nagent: {agent}\n{CASE}")
    document = to_document(suite)["agent"]
    again = load(root, f"suite: s\nagent: {json.dumps(document)}\n{CASE}")
    assert again.agent == suite.agent


@pytest.mark.parametrize("typo", ["imput: x, expect: [{answer: x}]", "input: x, expects: [{answer: x}]"])
def test_a_misspelt_key_is_not_also_missing(root: Path, typo: str) -> None:
    (problem,) = problems(root, f"{HEAD}cases:\n  - {{id: a, {typo}}}\n")
    assert "did you mean" in problem


def test_all_problems_come_at_once_in_order(root: Path) -> None:
    text = f"{HEAD}trials: no\ncollect: {{}}\ncases:\n  - {{id: a, input: 1}}\n  - {{id: a, input: x, expect: [{{b: c}}]}}\n"
    found = problems(root, text)
    assert [int(problem.split(":")[1]) for problem in found] == [3, 4, 6, 6, 7, 7]
    assert "evals/s.yaml:7: case id 'a' is used twice (first at evals/s.yaml:6)" in found


def test_duplicate_keys_are_reported_with_the_rest(root: Path) -> None:
    found = problems(root, f"{HEAD}trials: 1\ntrials: 2\ntimeout: x\n{CASE}")
    assert found[0] == "evals/s.yaml:4: duplicate key 'trials' (first on line 3)"
    assert len(found) == 2


def test_the_agents_room_is_not_asked_about_an_agent_that_is_wrong_already(root: Path) -> None:
    text = "suite: s\nagent: {command: x, env: {A: 1}}\n" + CASE
    (problem,) = problems(root, text, check_agent=lambda agent: "asked")
    assert problem == "evals/s.yaml:2: agent.env.A: expected text, got the number 1 (write it in quotes)"


def test_the_agents_room_is_asked(root: Path) -> None:
    found = problems(root, HEAD + CASE, check_agent=lambda agent: f"{agent.command!r} is no function")
    assert found == ["evals/s.yaml:2: agent.command: 'python3 agent.py' is no function"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "1: the file is empty"),
        (b" \n\n", "1: the file is empty"),
        (b"\xef\xbb\xbfsuite: s\n", "1: starts with a byte order mark (UTF-8)"),
        (b"\xff\xfes\0", "1: starts with a byte order mark (UTF-16)"),
        (b"suite: s\nx: \xe9\n", "2: byte 0xe9 is not UTF-8"),
        (b"suite: s\n\tx: 1\n", "2: not valid YAML: a tab"),
        (b"suite: s\nx: \x00\n", "2: character U+0000 is not allowed"),
        (b"#" * (8 * 2**20 + 1), "1: is larger than 8MiB: keep bulk cases in a JSONL file"),
    ],
)
def test_files_that_are_no_suite(root: Path, data: bytes, expected: str) -> None:
    (problem,) = problems(root, data)
    assert problem.startswith(f"evals/s.yaml:{expected}")


def refusal(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    (problem,) = caught.value.problems
    return problem


def test_what_is_not_a_readable_file(root: Path) -> None:
    evals = root / "evals"
    (evals / "folder.yaml").mkdir()
    os.mkfifo(evals / "fifo.yaml")
    (evals / "loop.yaml").symlink_to("loop.yaml")
    assert refusal(evals / "folder.yaml") == "evals/folder.yaml:1: is a folder, not a file"
    assert refusal(evals / "fifo.yaml") == "evals/fifo.yaml:1: is not a regular file"
    assert refusal(evals / "gone.yaml") == "evals/gone.yaml:1: cannot be read: No such file or directory"
    assert "evals/loop.yaml:1: cannot be read: Too many levels" in refusal(evals / "loop.yaml")
    assert "its name must end in .yaml or .py" in refusal(evals / "x.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(root: Path) -> None:
    path = write(root, HEAD + CASE)
    path.chmod(0)
    assert refusal(path) == "evals/s.yaml:1: cannot be read: Permission denied"


def test_sources_may_not_leave_by_a_link(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.touch()
    (root / "evals" / "link").symlink_to(outside)
    os.mkfifo(root / "evals" / "pipe")
    world = "world: {files: {a: link, b: pipe}}"
    found = problems(root, f"{HEAD}cases:\n  - {{id: a, input: x, expect: [{{answer: x}}], {world}}}\n")
    assert [problem.partition("case 'a': ")[2] for problem in found] == [
        "'link' leads out of the project: copy the file into it",
        "'pipe' is not a regular file",
    ]


def test_a_yaml_and_a_python_file_of_one_name(root: Path) -> None:
    write(root, "suite = {}", "s.py")
    assert problems(root, HEAD + CASE) == [
        "evals/s.yaml:1: evals/s.py has the same name: keep one of the two"
    ]


def test_without_a_project_file_the_folder_of_evals_is_the_root(tmp_path: Path) -> None:
    (tmp_path / "agent.py").touch()
    suite = load(tmp_path, HEAD + "sandbox: {files: {agent.py: bin/}}\n" + CASE)
    assert suite.source_file == "evals/s.yaml"
    assert suite.sandbox.files == {"agent.py": "/workspace/bin/agent.py"}


def test_the_error_counts_and_the_collector_is_left_on(root: Path) -> None:
    import gc

    with pytest.raises(SuiteError) as caught:
        load(root, HEAD + "trials: x\ntimeout: y\n" + CASE)
    assert caught.value.message == "the suite evals/s.yaml has 2 problems"
    assert len(caught.value.problems) == 2
    assert gc.isenabled()
