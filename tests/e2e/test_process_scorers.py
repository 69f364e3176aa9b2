"""Scorers that look at the machine before the agent starts, or when it has just ended, in whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_command import Aegis, outcomes, read_json

pytestmark = pytest.mark.e2e

WriteSuite = Callable[..., Path]

SUITE = """\
suite: looks
agent: {command: sh agent.sh, protocol: text}
sandbox: {files: {agent.sh: /workspace/agent.sh}}
cases:
  - id: careful
    input: careful
    world: {run: ["echo one > kept.txt"]}
    expect:
      - unchanged: kept.txt
      - processes: {none: "sleep 8642", running: "sleep 7531", count: 0}
  - id: careless
    input: careless
    world: {run: ["echo one > kept.txt"]}
    expect:
      - unchanged: kept.txt
  - id: daemon
    input: daemon
    expect:
      - processes: {running: {equals: sleep 7531}, count: 1}
      - processes: {none: "sleep"}
  - id: broken
    input: careful
    expect:
      - unchanged: {database: "sqlite:none.db", tables: orders}
"""

AGENT = """\
read what
case $what in
careless) echo two >> kept.txt ;;
daemon) setsid sleep 7531 >/dev/null 2>&1 & sleep 1 ;;
esac
echo done
"""


def test_files_and_processes_are_looked_at_when_they_must_be(aegis: Aegis, write_suite: WriteSuite) -> None:
    project = write_suite("looks", SUITE)
    (project / "agent.sh").write_text(AGENT)
    ran = aegis("eval", "run", "--suite", "looks", "--isolation=none", "--json", "out.json")
    assert ran.code == 1, ran
    document = read_json(project / "out.json")
    assert outcomes(document) == {
        "careful": ["passed"],
        "careless": ["failed"],
        "daemon": ["failed"],
        "broken": ["error"],
    }, ran
    reasons = {trial["case"]: trial["reason"] for trial in document["trials"]}
    assert reasons["careless"] == "unchanged: /workspace/kept.txt changed since the agent started"
    assert "expected no process" in reasons["daemon"]
    assert "sleep 7531" in reasons["daemon"]
    assert (
        "could not look at the world before the agent: unchanged: none.db does not exist" in reasons["broken"]
    )
    shown = aegis("eval", "show", document["run_id"], "--trial", "careless/1")
    assert shown.code == 0, shown
    assert "    @@ -1 +1,2 @@\n     one\n    +two\n" in shown.stdout


def test_services_that_a_suite_lacks_are_told_before_it_runs(aegis: Aegis, write_suite: WriteSuite) -> None:
    write_suite(
        "lacks",
        "suite: lacks\nagent: {command: cat}\ncases:\n  - id: one\n    input: x\n    expect:\n"
        "      - mail: {to: ann@x.example}\n      - sql: {database: postgres, query: select 1, equals: 1}\n"
        "      - http: {service: app, path: /}\n",
    )
    ran = aegis("suite", "check")
    assert ran.code == 2, ran
    told = ran.stdout + ran.stderr
    assert (
        "evals/lacks.yaml:7: expect[0].mail of case 'one': sandbox.services has no mailbox: add mailbox"
        in told
    )
    assert (
        "evals/lacks.yaml:8: expect[1].sql.database of case 'one': sandbox.services has no postgres" in told
    )
    assert "evals/lacks.yaml:9: expect[2].http.service of case 'one': sandbox.services has no 'app'" in told
