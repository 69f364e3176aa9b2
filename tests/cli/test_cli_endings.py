"""Every ending of a command: its exit code, its message, and the RESULT line of `eval run`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_project import Folder

from aegis.cli import root
from aegis.cli.output import ending_of
from aegis.errors import (
    AegisError,
    HostNeedsError,
    LedgerError,
    NothingSelectedError,
    SandboxStartError,
    SuiteError,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SuiteError("the suite has 2 problems"), 2, "RESULT: ERROR exit 2: suite error"),
        (UsageError("no"), 2, "RESULT: ERROR exit 2: usage error"),
        (NothingSelectedError("none"), 5, "RESULT: ERROR exit 5: nothing selected"),
        (HostNeedsError("no QEMU\nat all"), 3, "RESULT: INCONCLUSIVE exit 3: no QEMU"),
        (SandboxStartError("no boot"), 3, "RESULT: INCONCLUSIVE exit 3: no boot"),
        (LedgerError("corrupt"), 3, "RESULT: INCONCLUSIVE exit 3: corrupt"),
        (KeyboardInterrupt(), 130, "RESULT: INCONCLUSIVE exit 130: interrupted before the first trial"),
        (AegisError("?"), 4, "RESULT: ERROR exit 4: internal error"),
        (ZeroDivisionError(), 4, "RESULT: ERROR exit 4: internal error"),
    ],
)
def test_an_error_has_one_code_and_one_line(error: BaseException, code: int, line: str) -> None:
    ending = ending_of(error)
    assert (ending.exit_code, ending.line) == (code, line)


def breaking(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(args: list[str]) -> int:
        raise error

    monkeypatch.setattr(root, "_run", run)


def test_an_error_is_printed_with_its_problems_and_its_fix(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(
        monkeypatch, SuiteError("it has 2 problems", problems=("a.yaml:1: x", "a.yaml:2: y"), fix="mend it")
    )
    ran = folder("suite", "check")
    assert ran.code == 2
    assert ran.stderr == "error: it has 2 problems\n  a.yaml:1: x\n  a.yaml:2: y\nfix: mend it\n"
    assert ran.stdout == ""


def test_messages_cannot_control_the_terminal(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, UsageError("red \x1b[31m\nand \u202e reversed"))
    assert "\x1b" not in folder("doctor").stderr
    assert "\u202e" not in folder("doctor").stderr


def test_an_internal_error_is_one_line_and_a_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, ZeroDivisionError("division by zero"))
    ran = folder("eval", "run")
    assert ran.code == 4
    assert "Traceback" not in ran.stderr
    first, second, last = ran.stderr.splitlines()
    assert first == "error: internal error: ZeroDivisionError: division by zero"
    assert last == "RESULT: ERROR exit 4: internal error"
    saved = Path(second.rpartition(" ")[2])
    assert saved.is_relative_to(os.environ["AEGIS_CACHE_DIR"])
    assert "ZeroDivisionError: division by zero" in saved.read_text()


def test_the_traceback_is_shown_when_asked_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_DEBUG", "1")
    breaking(monkeypatch, UsageError("no"))
    assert "Traceback" in folder("suite", "check").stderr


def test_an_unwritable_cache_does_not_hide_the_error(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_CACHE_DIR", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", str(folder.path))
    monkeypatch.setattr("tempfile.tempdir", None)
    breaking(monkeypatch, ZeroDivisionError())
    ran = folder("doctor")
    assert ran.code == 4
    assert list(folder.path.glob("aegis-error-*.txt"))


def test_an_interrupt_before_the_first_trial(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, KeyboardInterrupt())
    ran = folder("eval", "run")
    assert ran.code == 130
    assert ran.last_line.startswith("RESULT: INCONCLUSIVE exit 130")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["evl"], "did you mean 'eval'"),
        (["frobnicate"], "there are: init, suite, eval"),
        (["eval", "rnu"], "Did you mean 'run'"),
        (["eval", "run", "--trails", "2"], "'--trials'"),
        (["eval", "run", "--trials", "many"], "not a valid integer"),
        (["eval", "run", "--isolation", "jail"], "'vm', 'none'"),
        (["eval", "run", "--timeout", "fast"], "a duration such as"),
        (["eval", "run", "--env", "novalue"], "NAME=VALUE"),
        (["eval", "show"], "'RUN'"),
        (["eval", "run", "--dry-run", "--json", "x"], "--dry-run"),
    ],
)
def test_wrong_use_is_exit_2_with_a_hint(folder: Folder, args: list[str], words: str) -> None:
    ran = folder(*args)
    assert ran.code == 2
    assert words in ran.stderr
    assert "\nfix: " in ran.stderr
    assert (ran.last_line == "RESULT: ERROR exit 2: usage error") == (args[:2] == ["eval", "run"])


COMMANDS = [[], ["eval"], ["eval", "run"], ["eval", "list"], ["eval", "show"], ["eval", "resume"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "aegis")
def test_help_has_examples(folder: Folder, command: list[str]) -> None:
    ran = folder(*command, "--help")
    assert ran.code == 0
    assert "Examples:" in ran.stdout
    assert ran.stderr == ""


def test_every_listed_command_is_described_alike_everywhere(folder: Folder) -> None:
    listed = folder("--help").stdout
    for name in root._COMMANDS:
        assert f"\n  {name} " in listed


def test_a_reader_that_goes_away_is_no_traceback(project: Folder) -> None:
    """A pipe whose reader is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "aegis", "eval", "list"],
            cwd=project.path,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
        )
    assert done.stderr == b""
    assert done.returncode == 141


def test_the_verdict_survives_a_reader_that_goes_away(project: Folder) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "aegis", "eval", "run", "--isolation=none", "-k", "same"],
            cwd=project.path,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
        )
    assert b"Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"RESULT: PASS")
    assert done.returncode == 0


def test_shell_completion(project: Folder) -> None:
    env: dict[str, Any] = {
        **os.environ,
        "_AEGIS_COMPLETE": "bash_complete",
        "COMP_WORDS": "aegis ev",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "aegis"],
        env=env,
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "plain,eval" in done.stdout.split()
