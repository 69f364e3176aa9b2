"""`aegis eval list` and `aegis eval show`: what the ledger knows."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.results import Ledger


@click.command(name="list", short_help="List runs, newest first.")
@click.option("--suite", "-s", metavar="NAME", help="Only runs of this suite.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_runs(suite: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first: verdict, passed trials, start, duration.

    \b
    Examples:
      aegis eval list
      aegis eval list --suite production-v2 --limit 5 --json
    """
    from aegis.report.terminal import print_runs
    from aegis.results import show

    folder = ledger_folder()
    rows: list[show.RunRow] = []
    if (folder / "ledger.db").exists():
        with open_ledger(folder) as ledger:
            for record in ledger.summaries(suite, limit):
                counts = None if record.document else ledger.counts(record.run_id)
                rows.append(show.run_row(record, counts))
    if as_json:
        click.echo(json.dumps({"runs": [dataclasses.asdict(row) for row in rows]}, indent=2))
    elif rows:
        print_runs(rows, file=sys.stdout)
    else:
        click.echo(f"no runs{f' of suite {suite}' if suite else ''} in {folder}")


@click.command(name="show", short_help="Show a run, or one of its trials.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--trial", metavar="CASE/NUMBER", help="Show this trial: its scores, conversation and attempts."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the run document, or the trial.")
def show_run(run_id: str, trial: str | None, as_json: bool) -> None:
    """Show RUN: the table of its cases, or everything about one trial.

    RUN is a run's id, the beginning of one, or `latest`. A run that is still going on is shown as far as it
    is.

    \b
    Examples:
      aegis eval show latest
      aegis eval show 20260105-141500-a1b2 --json
      aegis eval show latest --trial refund-within-policy/2
    """
    from aegis.report.terminal import print_table
    from aegis.results import document as documents

    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        record = ledger.run(run_id)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        if trial is not None:
            _show_trial(ledger, document, trial, as_json=as_json)
        elif as_json:
            click.echo(documents.to_json(document), nl=False)
        else:
            click.echo(f"run {record.run_id} of suite {record.suite}: {_state(record.status, document)}")
            print_table(document, file=sys.stdout)


def _state(status: str, document: dict[str, Any]) -> str:
    if status == "complete":
        return str(document["verdict"])
    return f"{status}" + ("; aegis eval resume continues it" if status == "interrupted" else "")


def ledger_folder() -> Path:
    """Of the project that the working directory is in."""
    from aegis._eval.prepare import LEDGER_FOLDER
    from aegis.suite import find_project

    return find_project(Path.cwd()).root / LEDGER_FOLDER


def open_ledger(folder: Path) -> Ledger:
    from aegis.results import Ledger

    return Ledger(folder)


def _show_trial(ledger: Ledger, document: dict[str, Any], written: str, *, as_json: bool) -> None:
    entry = find_trial(document, written)
    trace = json.loads(ledger.blobs.get(entry["trace"])) if entry["trace"] else None
    key = (document["run_id"], entry["case"], entry["variant"], entry["number"])
    attempts = [
        {name: getattr(attempt, name) for name in ("epoch", "outcome", "started_at", "finished_at", "final")}
        | {"reason": (attempt.result or {}).get("reason", "")}
        for attempt in ledger.attempts(*key)
    ]
    if as_json:
        click.echo(json.dumps({"trial": entry, "trace": trace, "attempts": attempts}, indent=2))
        return
    for line in _describe(entry, trace, attempts):
        click.echo(line)


def find_trial(document: dict[str, Any], written: str, variant: str | None = None) -> dict[str, Any]:
    """`results.show.find_trial`."""
    from aegis.results import show

    return show.find_trial(document, written, variant)


def _describe(
    entry: dict[str, Any], trace: dict[str, Any] | None, attempts: list[dict[str, Any]]
) -> Iterator[str]:
    from aegis.report.changedlines import changed_line
    from aegis.report.text import one_line, visible

    yield f"{one_line(entry['case'])}/{entry['number']}: {entry['outcome']}  {one_line(entry['reason'])}".rstrip()
    for score in entry["scores"]:
        reason, _, diff = score["reason"].partition("\n")
        yield f"  {'passed' if score['passed'] else 'MISSED'}  {one_line(score['scorer'])}: {one_line(reason)}"
        yield from (f"    {visible(line)}" for line in diff.splitlines())
    if line := changed_line(entry):
        yield f"  {one_line(line)}"
    for attempt in attempts if len(attempts) > 1 else ():
        how = attempt["outcome"] or "no result"
        yield f"  attempt {attempt['epoch']}: {how}  {one_line(attempt['reason'])}".rstrip()
    if trace is None:
        return
    for turn in trace["turns"]:
        yield from _block("user", turn["user"])
        yield from _block(f"agent, after {turn['duration_s']:.1f} s", turn["answer"])
    for call in trace["tool_calls"]:
        yield f"tool call {one_line(call['name'])}: {one_line(json.dumps(call['arguments']))}"
    yield from _block("standard error", trace["stderr_tail"])
    yield from _block("other output", trace["stdout_tail"])


def _block(title: str, text: str) -> Iterator[str]:
    """A heading and the text below it, indented, with nothing in it that a terminal would obey."""
    from aegis.report.text import visible

    if text.strip():
        yield f"{title}:"
        yield from (f"  {visible(line.expandtabs())}" for line in text.rstrip().split("\n"))
