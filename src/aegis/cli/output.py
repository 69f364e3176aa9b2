"""How a command ends when it does not end well: one message, one exit code, never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from aegis._version import __version__
from aegis.errors import AegisError, InfrastructureError, NothingSelectedError, SuiteError, UsageError

DEBUG_VARIABLE = "AEGIS_DEBUG"
BROKEN_PIPE_EXIT_CODE = 141
"""128 + SIGPIPE: what a shell reports for a program whose reader went away."""
INTERRUPTED_EXIT_CODE = 130
_RESULT_COMMANDS = (["eval", "run"], ["eval", "resume"], ["eval", "compare"], ["audit", "leaks"])


@dataclass(frozen=True, slots=True)
class Ending:
    """The one object that sets both the exit code and the `RESULT:` line."""

    exit_code: int
    word: str
    """`ERROR` or `INCONCLUSIVE`."""
    text: str

    @property
    def line(self) -> str:
        return f"RESULT: {self.word} exit {self.exit_code}: {self.text}"


def wants_result_line(args: list[str]) -> bool:
    """Whether the last line on standard error must be a `RESULT:` line for this command line."""
    words = [arg for arg in args if not arg.startswith("-")][:2]
    return words in _RESULT_COMMANDS


def report_failure(error: BaseException, *, result_line: bool) -> int:
    """Print what went wrong on standard error and return the exit code."""
    ending = ending_of(error)
    if os.environ.get(DEBUG_VARIABLE) and not isinstance(error, click.ClickException):
        _write("".join(traceback.format_exception(error)).rstrip())
    for line in _message(error):
        _write(line)
    if result_line:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        _write(ending.line)
    return ending.exit_code


def ending_of(error: BaseException) -> Ending:
    """The exit code of an error and what the `RESULT:` line says about it."""
    match error:
        case SuiteError():
            return Ending(error.exit_code, "ERROR", "suite error")
        case UsageError():
            return Ending(error.exit_code, "ERROR", "usage error")
        case NothingSelectedError():
            return Ending(error.exit_code, "ERROR", "nothing selected")
        case InfrastructureError():
            return Ending(error.exit_code, "INCONCLUSIVE", _first_line(str(error)))
        case click.exceptions.Abort() | KeyboardInterrupt():
            return Ending(INTERRUPTED_EXIT_CODE, "INCONCLUSIVE", "interrupted before the first trial")
        case click.ClickException():
            return Ending(error.exit_code, "ERROR", "usage error")
        case _:
            return Ending(4, "ERROR", "internal error")


def _message(error: BaseException) -> list[str]:
    match error:
        case AegisError():
            lines = [f"error: {_printable(error.message)}"]
            lines += [f"  {_printable(problem)}" for problem in getattr(error, "problems", ())]
            return [*lines, f"fix: {_printable(error.fix)}"] if error.fix else lines
        case click.exceptions.Abort() | KeyboardInterrupt():
            return ["interrupted"]
        case click.ClickException():
            return _click_message(error)
        case _:
            return _internal_message(error)


def _click_message(error: click.ClickException) -> list[str]:
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        return [text]
    lines = [f"error: {_printable(text[:1].lower() + text[1:])}"]
    if context is not None:
        lines.append(f"fix: see {context.command_path} --help")
    return lines


def _internal_message(error: BaseException) -> list[str]:
    what = _first_line(f"{type(error).__name__}: {error}")
    saved = _save_traceback(error)
    lines = [f"error: internal error: {_printable(what)}"]
    if saved is not None:
        lines.append(f"fix: this is a defect of Aegis; report it with the file {saved}")
    else:
        lines.append(f"fix: this is a defect of Aegis; {DEBUG_VARIABLE}=1 shows where")
    return lines


def _save_traceback(error: BaseException) -> Path | None:
    """Write the traceback where it can be found later; None when no folder can be written."""
    from aegis.sandbox.images.cache import cache_folder

    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    text = f"aegis {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n"
    text += "".join(traceback.format_exception(error))
    for folder in (cache_folder() / "errors", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"aegis-error-{name}"
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    return None


def close_quietly() -> int:
    """The reader of our output went away: say nothing more, and let the interpreter's last flush succeed."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
    return BROKEN_PIPE_EXIT_CODE


def _first_line(text: str) -> str:
    return _printable(text.strip().split("\n")[0])


def _printable(text: str) -> str:
    """Without terminal controls other than line ends: messages quote files, agents and hosts."""
    from aegis.report.text import visible

    return "\n".join(visible(line) for line in text.split("\n"))


def _write(text: str) -> None:
    """A line on standard error; a reader that went away is no reason to fail."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()
