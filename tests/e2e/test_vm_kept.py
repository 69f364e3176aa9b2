"""Keeping machines of a run and looking into them, as a user does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e_command import DEADLINE_S, Aegis, read_json, run_aegis

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(3 * DEADLINE_S)]

SUITE = """\
suite: kept
agent: {command: python3 agent.py, protocol: jsonl}
sandbox: {image: debian, memory: 256MiB, files: {agent.py: /workspace/agent.py}}
trials: 1
timeout: 5m
cases:
  - id: counts
    conversation: [{user: one}, {user: two}, {user: three}]
    expect: [{answer: {contains: "4 heard"}}, {file: {path: heard.txt, contains: "one two three"}}]
  - id: fine
    input: hello
    expect: [{answer: {contains: "1 heard"}}]
"""

AGENT = """\
import json, sys
heard = []
for line in sys.stdin:
    heard.append(json.loads(line)["content"])
    open("heard.txt", "w").write(" ".join(heard))
    answer = f"{len(heard)} heard: {heard}"
    print(json.dumps({"role": "assistant", "content": answer, "turn": len(heard)}), flush=True)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run whose first case fails."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "evals").mkdir()
    (folder / "aegis.toml").write_text("")
    (folder / "evals/kept.yaml").write_text(SUITE)
    (folder / "agent.py").write_text(AGENT)
    ran = run_aegis("eval", "run", "--keep", "failed", "--checkpoints", "--json", "out.json", cwd=folder)
    assert ran.code == 1, ran
    return folder


def test_the_document_tells_what_is_kept_and_of_whom(project: Path) -> None:
    trials = {trial["case"]: trial["kept"] for trial in read_json(project / "out.json")["trials"]}
    assert trials["fine"] is None
    assert trials["counts"]["checkpoints"] == [1, 2, 3]
    assert trials["counts"]["end"]["bytes"] > 0
    assert trials["counts"]["problem"] is None


def test_a_shell_sees_the_machine_at_the_end_and_before_a_turn(project: Path, aegis: Aegis) -> None:
    ran = aegis("trial", "shell", "latest/counts/1", "cat", "heard.txt", cwd=project)
    assert (ran.code, ran.stdout) == (0, "one two three"), ran
    script = "cat heard.txt; rm heard.txt; exit 7"
    for _ in range(2):  # what one removes, the next finds
        ran = aegis(
            "trial", "shell", "latest/counts/1", "--turn", "3", "-q", "--", "sh", "-c", script, cwd=project
        )
        assert (ran.code, ran.stdout, ran.stderr) == (7, "one two", ""), ran


def test_a_fork_says_the_suites_turns_and_scores(project: Path, aegis: Aegis) -> None:
    ran = aegis("trial", "fork", "latest/counts/1", "--turn", "3", "--json", cwd=project)
    assert ran.code == 1, ran
    told = json.loads(ran.stdout)
    assert (told["turn"], told["was"], told["outcome"]) == (3, "failed", "failed")
    assert [turn["user"] for turn in told["trace"]["turns"]] == ["one", "two", "three"]
    assert told["trace"]["turns"][2]["answer"] == "3 heard: ['one', 'two', 'three']"
    assert [score["passed"] for score in told["scores"]] == [False, True]


def test_a_fork_says_other_words(project: Path, aegis: Aegis) -> None:
    (project / "words.txt").write_text("two\nthree\n\nand four\n")
    ran = aegis("trial", "fork", "latest/counts/1", "--turn", "2", "--script", "words.txt", cwd=project)
    assert ran.code == 0, ran
    assert "4 heard: ['one', 'two', 'three', 'and four']" in ran.stdout
    ran = aegis("trial", "fork", "latest/counts/1", "--turn", "2", "--message", "zwei", cwd=project)
    assert ran.code == 1, ran
    assert "3 heard: ['one', 'zwei', 'three']" in ran.stdout
    ran = aegis("trial", "fork", "latest/counts/1", "--turn", "3", "-i", cwd=project, stdin="typed\n")
    assert "3 heard: ['one', 'two', 'typed']" in ran.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("shell", "latest/fine/1"), "it passed, and --keep all was not asked for"),
        (("shell", "latest/counts/2"), "counts has trials 1 to 1"),
        (("shell", "latest/counts/1", "--turn", "4"), "has no checkpoint before turn 4; it has: 1, 2, 3"),
        (("fork", "latest/counts/1", "--turn", "9"), "has no checkpoint before turn 9; it has: 1, 2, 3"),
        (("fork", "latest/fine/1", "--turn", "1"), "has no checkpoints: it passed"),
        (("fork", "latest/counts/1", "--turn", "1", "-i", "--message", "x"), "exclude each other"),
        (("prune",), "needs one of RUN, --max SIZE and --all"),
    ],
)
def test_what_is_not_there_is_said(project: Path, aegis: Aegis, args: tuple[str, ...], said: str) -> None:
    ran = aegis("trial", *args, cwd=project)
    assert ran.code == 2, ran
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_plain_processes_are_not_kept(project: Path, aegis: Aegis) -> None:
    for option in (("--keep", "failed"), ("--checkpoints",)):
        ran = aegis("eval", "run", "--isolation=none", *option, cwd=project)
        assert ran.code == 2, ran
        assert "there are no machines to keep with --isolation=none" in ran.stderr


def test_what_was_removed_is_told_as_removed(project: Path, aegis: Aegis) -> None:
    """Last: it empties what the others use."""
    listed = json.loads(aegis("trial", "kept", "--json", cwd=project).stdout)["machines"]
    assert sorted(machine["turn"] or 0 for machine in listed) == [0, 1, 2, 3]
    ran = aegis("trial", "prune", "latest", cwd=project)
    assert "removed 4 machines" in ran.stdout, ran
    ran = aegis("trial", "shell", "latest/counts/1", cwd=project)
    assert ran.code == 2, ran
    assert "was kept, and has been removed since" in ran.stderr
