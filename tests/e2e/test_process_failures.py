"""What a user sees when something is wrong: the message, the exit code, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_command import Aegis, outcomes, read_json

pytestmark = pytest.mark.e2e

WriteSuite = Callable[..., Path]

ECHO = """\
suite: echo
agent: {command: cat, protocol: text}
cases:
  - {id: same, input: hello, expect: [{answer: {contains: hello}}]}
  - {id: other, input: hello, expect: [{answer: {contains: goodbye}}]}
"""


def test_a_failing_case_is_named_and_the_exit_code_is_1(aegis: Aegis, write_suite: WriteSuite) -> None:
    project = write_suite("echo", ECHO)
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=none", "--json", "out.json")
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: BELOW_THRESHOLD"), ran
    assert "other" in ran.stdout
    assert "goodbye" in ran.stdout
    assert outcomes(read_json(project / "out.json")) == {"same": ["passed"], "other": ["failed"]}


def test_the_threshold_decides(aegis: Aegis, write_suite: WriteSuite) -> None:
    write_suite("echo", ECHO)
    assert aegis("eval", "run", "--suite", "echo", "--isolation=none", "--fail-under", "50").code == 0
    assert aegis("eval", "run", "--suite", "echo", "--isolation=none", "--fail-under", "51").code == 1


def test_only_what_failed_runs_again(aegis: Aegis, write_suite: WriteSuite) -> None:
    project = write_suite("echo", ECHO)
    aegis("eval", "run", "--suite", "echo", "--isolation=none")
    again = aegis("eval", "run", "--suite", "echo", "--isolation=none", "--last-failed", "--json", "out.json")
    assert again.code == 1, again
    assert outcomes(read_json(project / "out.json")) == {"other": ["failed"]}


def test_a_selection_that_matches_nothing_exits_5(aegis: Aegis, write_suite: WriteSuite) -> None:
    write_suite("echo", ECHO)
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=none", "-k", "nosuchcase")
    assert ran.code == 5, ran
    assert "Traceback" not in ran.stderr


def test_a_dry_run_starts_nothing(aegis: Aegis, write_suite: WriteSuite, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    write_suite("echo", ECHO.replace("command: cat", f"command: touch {marker}"))
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=none", "--dry-run")
    assert ran.code == 0, ran
    assert "same" in ran.stdout
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (ECHO.replace("expect:", "expects:"), "expect"),
        (ECHO.replace("answer:", "anwser:"), "answer"),
        (ECHO.replace("id: other", "id: same"), "same"),
        (ECHO.replace("command: cat,", "command: cat, comand: dog,"), "command"),
        ("suite: [", "evals/echo.yaml:"),
    ],
)
def test_a_wrong_suite_exits_2_with_the_line(
    aegis: Aegis, write_suite: WriteSuite, text: str, hint: str
) -> None:
    write_suite("echo", text)
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=none")
    assert ran.code == 2, ran
    assert "evals/echo.yaml:" in ran.stderr
    assert hint in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_missing_suite_exits_2_and_names_the_others(aegis: Aegis, write_suite: WriteSuite) -> None:
    write_suite("echo", ECHO)
    ran = aegis("eval", "run", "--suite", "ecko", "--isolation=none")
    assert ran.code == 2, ran
    assert "echo" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_world_that_cannot_be_set_up_is_inconclusive(aegis: Aegis, write_suite: WriteSuite) -> None:
    project = write_suite("echo", ECHO.replace("{id: same,", "{id: same, world: {run: ['exit 7']},"))
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=none", "-k", "same", "--json", "out.json")
    assert ran.code == 3, ran
    assert ran.last_line.startswith("RESULT: INCONCLUSIVE"), ran
    assert outcomes(read_json(project / "out.json")) == {"same": ["error"]}


def test_the_environment_can_be_changed_for_one_run(aegis: Aegis, write_suite: WriteSuite) -> None:
    text = ECHO.replace(
        "command: cat, protocol: text", "command: 'echo $WORD', protocol: text, env: {WORD: goodbye}"
    )
    project = write_suite("echo", text)
    run = ("eval", "run", "--suite", "echo", "--isolation=none", "--json", "out.json")
    assert aegis(*run).code == 1
    assert outcomes(read_json(project / "out.json")) == {"same": ["failed"], "other": ["passed"]}
    assert aegis(*run, "--env", "WORD=hello").code == 1
    assert outcomes(read_json(project / "out.json")) == {"same": ["passed"], "other": ["failed"]}
