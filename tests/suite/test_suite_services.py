"""The key `sandbox.services`."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis import services
from aegis.errors import SuiteError
from aegis.suite import Suite, load_suite
from aegis.suite.document import to_document
from aegis.suite.model import Ready, Service

SUITE = """
suite: s
agent: {command: python3 agent.py}
sandbox:
  services:
SERVICES
cases: [{id: a, input: hi, expect: [{answer: hi}]}]
"""


def load(root: Path, *entries: str) -> Suite:
    path = root / "evals" / "s.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SUITE.replace("SERVICES", "\n".join(f"    - {entry}" for entry in entries)))
    (root / "aegis.toml").touch()
    return load_suite(path, check_preset=services.check)


def test_a_preset_by_name_and_a_program_of_the_suite(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        "postgres",
        "{preset: postgres, name: ledger, port: 5433, database: ledger, start: trial, ready_timeout: 2m}",
        '{name: crm, command: ./crm, port: 8080, ready: {http: "http://127.0.0.1:8080/up"}, init: [./seed], '
        "env: {A: b}}",
    )
    assert suite.sandbox.services == (
        Service(name="postgres", preset="postgres"),
        Service(
            name="ledger",
            preset="postgres",
            port=5433,
            start="trial",
            ready_timeout=120.0,
            params={"database": "ledger"},
        ),
        Service(
            name="crm",
            command="./crm",
            port=8080,
            ready=Ready(http="http://127.0.0.1:8080/up"),
            init=("./seed",),
            env={"A": "b"},
        ),
    )


def test_a_suite_made_in_python_writes_them_alike(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        "mailbox",
        "{preset: redis, settings: {maxmemory: 8mb}, ready: {log: Ready}}",
        "{name: app, command: ./app, port: 80, start: trial, ready_timeout: 3s, init: [x], env: {A: b}}",
    )
    again = to_document(suite)["sandbox"]["services"]
    assert again == [
        {"name": "mailbox", "preset": "mailbox"},
        {"name": "redis", "preset": "redis", "ready": {"log": "Ready"}, "settings": {"maxmemory": "8mb"}},
        {
            "name": "app",
            "command": "./app",
            "port": 80,
            "start": "trial",
            "ready_timeout": "3s",
            "init": ["x"],
            "env": {"A": "b"},
        },
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("postgress", "no preset is called 'postgress' (did you mean 'postgres'?)"),
        ("mongo", "no preset is called 'mongo' (there are: postgres, redis, mailbox, http-files)"),
        ("{preset: postgres, databse: x}", "unknown key 'databse' in preset postgres (its own parameters:"),
        ("{preset: postgres, database: 'x; drop'}", "expected a name such as app, got 'x; drop'"),
        ("{preset: mailbox, packages: ['-y']}", "expected a list of package names, got ['-y']"),
        ("{name: app, command: ./app}", "nothing says when it is up: add port: PORT, or ready with"),
        ("{command: ./app, port: 80}", "needs 'name', or a 'preset'"),
        ("{name: app, command: ./app, port: 80, prot: 1}", "unknown key 'prot'"),
        ("{name: App, command: ./app, port: 80}", "expected a name of lower-case letters"),
        ("{name: app, command: ./app, ready: {}}", "needs 'tcp' or 'http' or 'command' or 'log'"),
        ("{name: app, command: ./app, ready: {http: 'http://crm.example/'}}", "expected a URL such as"),
        ("{name: app, command: ./app, ready: {log: '('}}", "expected a regular expression, got '('"),
        ("{name: app, command: ./app, port: 80, start: later}", "unknown start 'later'"),
        ("[x]", "expected the name of a preset or a mapping"),
    ],
)
def test_what_is_refused_at_its_line(tmp_path: Path, entry: str, told: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load(tmp_path, "redis", entry)
    (problem,) = caught.value.problems
    assert told in problem
    assert problem.startswith("evals/s.yaml:7: ")


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="the name 'redis' is taken by an earlier service: name this one"):
        load(tmp_path, "redis", "{preset: redis, port: 6380}")
