"""`aegis trace`: what an agent did in one trial."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.errors import UsageError
from aegis.report.text import counted

if TYPE_CHECKING:
    from aegis.results import Ledger
    from aegis.trace import Trace


@click.group()
def trace() -> None:
    """What an agent did in a trial: its model calls, tools and requests."""


@trace.command(name="show", short_help="Print a trial's timeline, or export it.")
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option("--json", "as_json", is_flag=True, help="Print the whole trace as JSON.")
@click.option("--har", metavar="FILE", help="Write the HTTP exchanges as a HAR file (-: standard output).")
@click.option(
    "--otlp", metavar="URL", help="Send the trace as OpenTelemetry spans to a collector (OTLP/HTTP)."
)
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
def show(trial: str, as_json: bool, har: str | None, otlp: str | None, variant: str | None) -> None:
    """Print what happened in a trial: turns, model calls with tokens and cost, tool calls, requests.

    RUN is a run's id, the beginning of one, or `latest`.

    \b
    Examples:
      aegis trace show latest/refund-within-policy/1
      aegis trace show latest/refund-within-policy/1 --har refund.har
      aegis trace show 20260105-1415/refund-within-policy/2 --otlp http://localhost:4318
    """
    from aegis._eval import spans
    from aegis.cli.history import find_trial, ledger_folder, open_ledger
    from aegis.results import document as documents

    run, case = split_trial(trial, example="aegis trace show latest/refund/1")
    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        entry = find_trial(document, case, variant)
        data, found = load_trace(ledger, entry, trial)
        start = spans.agent_started_at(ledger, document, entry)
        if har is not None:
            _write_har(har, found, ledger, start, f"{document['run_id']}/{entry['case']}/{entry['number']}")
        if otlp is not None:
            count, place = spans.send_trial(otlp, document, entry, found, start)
            click.echo(f"{counted(count, 'span')} sent to {place}", err=True)
        if as_json:
            click.echo(json.dumps({"trial": entry, "trace": data}, indent=2))
        elif har is None and otlp is None:
            _print(entry, found)


def split_trial(written: str, *, example: str) -> tuple[str, str]:
    """`RUN/CASE/NUMBER` → the run, and `CASE/NUMBER`."""
    run, _, rest = written.partition("/")
    if not run or not rest.rpartition("/")[0]:
        raise UsageError(f"{written!r} is not RUN/CASE/NUMBER", fix=f"e.g. {example}")
    return run, rest


def load_trace(ledger: Ledger, entry: dict[str, Any], written: str) -> tuple[dict[str, Any], Trace]:
    """The trace of a trial, as it is stored and as a value."""
    from aegis.trace import Trace

    if not entry["trace"]:
        why = entry["reason"] or entry["outcome"]
        raise UsageError(f"trial {written} left no trace: its agent did not run ({why})")
    data: dict[str, Any] = json.loads(ledger.blobs.get(entry["trace"]))
    return data, Trace.from_json(data)


def _write_har(target: str, found: Trace, ledger: Ledger, start: datetime, comment: str) -> None:
    from aegis.trace.har import to_har

    # ASCII: an agent can write lone surrogates, which a UTF-8 file cannot hold.
    text = json.dumps(to_har(found.exchanges, ledger.blobs.get, started_at=start, comment=comment), indent=1)
    if target == "-":
        click.echo(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="ascii")
    except OSError as error:
        raise UsageError(f"--har {target}: cannot be written: {error.strerror or error}") from error
    click.echo(f"{counted(len(found.exchanges), 'exchange')} written to {target}", err=True)


def _print(entry: dict[str, Any], found: Trace) -> None:
    from aegis.report.text import one_line
    from aegis.report.timeline import render
    from aegis.trace.timeline import rows

    head = f"{one_line(entry['case'])}/{entry['number']}: {entry['outcome']}  {one_line(entry['reason'])}"
    click.echo(head.rstrip())
    if (clock := entry.get("clock")) is not None:
        click.echo(
            f"(its clock showed {clock['at'] or 'the real time'}, zone {clock['zone'] or 'of the image'})"
        )
    if not found.recorded:
        click.echo("(no gateway recorded this trial: only the agent's own channel is known)")
    for line in render(rows(found)):
        click.echo(line)
