"""`aegis trial fork`: going on with a trial from a checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from aegis.errors import UsageError


@click.command(
    short_help="Go on with a trial from a checkpoint.",
    epilog="""\b
Examples:
  aegis trial fork latest/all-day-long/1 --turn 38
  aegis trial fork latest/all-day-long/1 --turn 38 --message "Which order was it?"
  aegis trial fork latest/all-day-long/1 --turn 38 --interactive
  aegis trial fork latest/all-day-long/1 --turn 38 --recorded --json""",
)
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option(
    "--turn", type=click.IntRange(1), required=True, metavar="N", help="Go on before turn N, counted from 1."
)
@click.option("--message", metavar="TEXT", help="Say this at turn N; the suite's turns follow.")
@click.option(
    "--script",
    metavar="FILE",
    help="Say the lines of FILE from turn N on, and nothing else (-: standard input).",
)
@click.option("--interactive", "-i", is_flag=True, help="Say what you type, until the end of file (Ctrl-D).")
@click.option(
    "--recorded",
    is_flag=True,
    help="Answer requests from the trial's own recording; nothing reaches the network.",
)
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the conversation.")
@click.option("--quiet", "-q", is_flag=True, help="No notes on standard error.")
def fork(
    trial: str,
    turn: int,
    message: str | None,
    script: str | None,
    interactive: bool,
    recorded: bool,
    variant: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Restore the machine of a trial as it was before turn N, with its agent, and go on from there.

    Needs a run with --checkpoints. The suite's turns from N on are said unless you say something else; then the trial
    is scored as it would have been. Only the machine is restored: programs that stood for the outside are started
    anew. Nothing is written to the ledger, and the checkpoint stays as it is. Exit code 0: passed, 1: not.
    """
    import asyncio

    from aegis._eval import fork as forking

    if sum((message is not None, script is not None, interactive)) > 1:
        raise UsageError("--message, --script and --interactive exclude each other", fix="use one of them")
    words = forking.Words(
        message=message,
        script=None if script is None else tuple(_lines(script)),
        ask=_ask if interactive else None,
    )

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    found = asyncio.run(
        forking.fork(
            trial,
            turn=turn,
            words=words,
            recorded=recorded,
            variant=variant,
            project=None,
            say=say,
            teller=_Printer(turn, quiet=as_json, typed=interactive),
        )
    )
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        for line in _verdict(found):
            click.echo(line)
    if found.result.outcome == "error":
        return 3
    return 0 if found.result.outcome == "passed" else 1


class _Printer:
    """The conversation on standard output, what was said before the fork with its first line only."""

    def __init__(self, turn: int, *, quiet: bool, typed: bool) -> None:
        self._turn = turn
        self._quiet = quiet
        self._typed = typed

    def user(self, number: int, text: str) -> None:
        if not (self._typed and number >= self._turn and sys.stdin.isatty()):
            self._print(number, "user", text)

    def agent(self, number: int, text: str) -> None:
        self._print(number, "agent", text)

    def _print(self, number: int, who: str, text: str) -> None:
        from aegis.report.text import one_line, visible

        if self._quiet:
            return
        if number < self._turn:
            click.echo(f"  {number:3} {who:5}  {one_line(text)[:160]}")
            return
        lines = [visible(line.expandtabs()) for line in text.rstrip().split("\n")]
        click.echo(f"> {number:3} {who:5}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{'':13}{line}")


def _verdict(found: object) -> Iterator[str]:
    from aegis._eval.fork import ForkResult
    from aegis.report.text import one_line

    assert isinstance(found, ForkResult)
    for score in found.result.scores:
        yield f"  {'passed' if score.passed else 'MISSED'}  {one_line(score.scorer)}: {one_line(score.reason)}"
    reason = f": {one_line(found.result.reason)}" if found.result.reason else ""
    yield f"{found.trial} from turn {found.turn}: {found.result.outcome}{reason} (the trial: {found.was})"


def _lines(name: str) -> Iterator[str]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--script {name}: cannot be read: {error}") from None
    found = [line for line in text.splitlines() if line.strip()]
    if not found:
        raise UsageError(f"--script {name}: there is nothing to say in it", fix="write one message a line")
    yield from found


def _ask() -> str | None:
    if sys.stdin.isatty():
        click.echo("you> ", nl=False, err=True)
    while line := sys.stdin.readline():
        if line.strip():
            return line.rstrip("\n")
    return None
