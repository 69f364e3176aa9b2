"""A pull request against main's results, in a repository with a bare remote, as a team's CI does it: a case that breaks
is named although another one was fixed, a change of nothing passes, and another order of tool calls is shown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e_command import DEADLINE_S, Aegis, Ran, environment, read_json

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(4 * DEADLINE_S)]

AGENT = '''\
"""Answers one message after the other, and tells its tool calls."""

import json
import sys

ANSWERS = {
    "refund": "The refund is on its way.",
    "address": "Which address shall it be?",
    "invoice": "There is no invoice.",
    "cancel": "The order is cancelled.",
}
TOOLS = ["look_up", "check_policy"]

for line in sys.stdin:
    message = json.loads(line)
    word = message["content"].split()[0]
    for name in TOOLS:
        print(json.dumps({"type": "tool_call", "name": name, "arguments": {"word": word}}), flush=True)
    print(json.dumps({"role": "assistant", "content": ANSWERS[word]}), flush=True)
'''
SUITE = """\
suite: shop
agent: {command: python3 agent.py, protocol: jsonl}
sandbox: {files: {agent.py: /workspace/agent.py}, memory: 256MiB}
trials: 5
cases:
  - {id: refund, input: refund please, expect: [{answer: {contains: refund}}]}
  - {id: address, input: address please, expect: [{answer: {contains: address}}]}
  - {id: invoice, input: invoice please, expect: [{answer: {contains: sent}}]}
  - {id: cancel, input: cancel please, expect: [{answer: {contains: cancelled}}]}
"""
RUN = ("eval", "run", "--suite", "shop", "--json", "out.json")


def git(*args: str | Path, cwd: Path) -> str:
    who = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    done = subprocess.run(
        ["git", *map(str, args)],
        cwd=cwd,
        env=environment(**dict.fromkeys(who, "shop@shop.example")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose main was run, with the results pushed."""
    folder = tmp_path_factory.mktemp("regression")
    bare, work = folder / "shop.git", folder / "main"
    git("init", "--quiet", "--bare", "--initial-branch", "main", bare, cwd=folder)
    git("clone", "--quiet", bare, work, cwd=folder)
    git("checkout", "--quiet", "-b", "main", cwd=work)
    (work / "evals").mkdir()
    (work / "aegis.toml").touch()
    (work / "agent.py").write_text(AGENT)
    (work / "evals" / "shop.yaml").write_text(SUITE)
    (work / ".gitignore").write_text("out.json\n")
    git("add", "--all", cwd=work)
    git("commit", "--quiet", "--message", "The shop's agent", cwd=work)
    git("push", "--quiet", "origin", "main", cwd=work)
    from e2e_command import run_aegis

    ran = run_aegis(*RUN, "--fail-under", "75", cwd=work)
    assert ran.code == 0, ran
    pushed = run_aegis("baseline", "push", cwd=work)
    assert pushed.code == 0, pushed
    assert git("ls-remote", bare, "refs/aegis/results", cwd=folder)
    return bare


def branch(remote: Path, folder: Path, *edits: tuple[str, str]) -> Path:
    """A fresh clone with main's results fetched, on a branch with these replacements in the agent committed."""
    work = folder / "work"
    git("clone", "--quiet", remote, work, cwd=folder)
    git("checkout", "--quiet", "-b", "change", cwd=work)
    text = (work / "agent.py").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (work / "agent.py").write_text(text)
    git("commit", "--quiet", "--all", "--allow-empty", "--message", "A change", cwd=work)
    return work


def compared(aegis: Aegis, work: Path, *options: str) -> tuple[Ran, dict[str, Any]]:
    pulled = aegis("baseline", "pull", cwd=work)
    assert pulled.code == 0, pulled
    ran = aegis(*RUN, "--baseline", "main", *options, cwd=work)
    return ran, read_json(work / "out.json")


def test_a_case_that_breaks_is_named_although_the_rate_is_the_same(
    aegis: Aegis, remote: Path, tmp_path: Path
) -> None:
    work = branch(
        remote,
        tmp_path,
        ("The refund is on its way.", "Please call us."),
        ("There is no invoice.", "The invoice was sent."),
    )
    ran, document = compared(aegis, work)
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: REGRESSED"), ran
    assert "refund" in ran.last_line
    assert [case["case"] for case in document["regressions"]] == ["refund"]
    assert document["pass_rate"] == 0.75
    comparison = document["baseline"]["comparison"]
    assert comparison["overall"]["delta"] == 0
    assert [case["case"] for case in comparison["cases"] if case["status"] == "improved"] == ["invoice"]
    assert {trial["case"] for trial in document["confirmations"]} == {"refund"}
    assert len(document["confirmations"]) == 10
    assert document["baseline"]["behind"] == 0
    assert "refund" in ran.stdout


def test_a_change_of_nothing_passes(aegis: Aegis, remote: Path, tmp_path: Path) -> None:
    ran, document = compared(aegis, branch(remote, tmp_path))
    assert ran.code == 0, ran
    assert ran.last_line.startswith("RESULT: PASS"), ran
    assert document["regressions"] == []
    assert document["baseline"]["comparison"]["compared"] == 4
    assert document["confirmations"] == []


def test_another_order_of_tool_calls_passes_and_is_shown(aegis: Aegis, remote: Path, tmp_path: Path) -> None:
    work = branch(remote, tmp_path, ('["look_up", "check_policy"]', '["check_policy", "look_up"]'))
    ran, document = compared(aegis, work)
    assert ran.code == 0, ran
    drift = document["baseline"]["comparison"]["drift"]
    tools = {found["case"]: found for found in drift if found["aspect"] == "tools"}
    assert tools.keys() == {"refund", "address", "invoice", "cancel"}
    assert tools["refund"]["before"].startswith("look_up → check_policy")
    assert tools["refund"]["now"].startswith("check_policy → look_up")
    assert "check_policy → look_up" in ran.stdout
    (run_id,) = {document["run_id"]}
    side_by_side = aegis("eval", "compare", "main", run_id, "--case", "refund", cwd=work)
    assert side_by_side.code == 0, side_by_side
    assert "check_policy" in side_by_side.stdout
    failing = aegis("eval", "compare", "main", run_id, "--fail-on", "drift", "--json", "-", cwd=work)
    assert failing.code == 1, failing
    assert json.loads(failing.stdout)["schema"] == "aegis.comparison/1"
