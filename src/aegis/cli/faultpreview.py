"""`aegis faults preview`: what would hit which request of a recorded trial."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from aegis.errors import UsageError
from aegis.report.text import counted, one_line

if TYPE_CHECKING:
    from aegis.faults.plan.preview import Content, Foreseen, Preview
    from aegis.results import Ledger
    from aegis.suite import Case, Suite
    from aegis.trace import Body, Exchange, Trace

MAX_REQUEST_COLUMNS = 80


@click.command(name="preview", short_help="Show what would hit which request of a recorded trial.")
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option("--suite", "-s", metavar="NAME", help="Rules of this suite. Default: the run's.")
@click.option(
    "--faults",
    "names",
    multiple=True,
    metavar="PROFILE",
    help="This profile instead of the suite's faults, as in aegis eval run. May be repeated.",
)
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def preview(
    trial: str, suite: str | None, names: tuple[str, ...], variant: str | None, as_json: bool
) -> None:
    """Show what would hit which request of a recorded trial, by the faults that its case has in the suite now, or by a
    profile. Nothing is sent anywhere.

    RUN is a run's id, the beginning of one, or `latest`. What the agent would have done after a hit is not known: the
    requests are the recorded ones.

    \b
    Examples:
      aegis faults preview latest/refund-within-policy/1
      aegis faults preview latest/refund-within-policy/1 --faults flaky-production
      aegis faults preview 20260105-1415/refund-within-policy/2 --json
    """
    import asyncio

    from aegis._eval.prepare import find
    from aegis._eval.request import RunRequest
    from aegis.cli.history import find_trial, ledger_folder, open_ledger
    from aegis.cli.trace import load_trace, split_trial
    from aegis.faults.base import TrialKey
    from aegis.faults.plan import preview as previews
    from aegis.results import document as documents

    run, written = split_trial(trial, example="aegis faults preview latest/refund/1")
    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        entry = find_trial(document, written, variant)
        _, trace = load_trace(ledger, entry, trial)
        loaded = find(RunRequest(suite=suite or document["suite"], faults=names or None)).suite
        case = _case(loaded, entry["case"])
        number = entry.get("weather") or entry["number"]
        key = TrialKey(loaded.suite, case.id, entry["variant"], number)
        found = asyncio.run(
            previews.preview(
                case.faults, key, trace.exchanges, secrets=loaded.agent.secrets, content=_content(ledger)
            )
        )
    if as_json:
        head = {"run_id": document["run_id"], "suite": loaded.suite, "case": case.id}
        head |= {"variant": entry["variant"], "number": entry["number"]}
        click.echo(json.dumps({**head, **_preview_json(found, case)}, indent=2))
        return
    click.echo(f"{one_line(case.id)}/{entry['number']} of run {document['run_id']}: {_total(found, trace)}")
    for line in _table(found):
        click.echo(line)
    for line in _rules(found, case):
        click.echo(line)


def _case(suite: Suite, wanted: str) -> Case:
    from aegis.suite.problems import did_you_mean

    for case in suite.cases:
        if case.id == wanted:
            return case
    hint = did_you_mean(wanted, [case.id for case in suite.cases])
    raise UsageError(f"suite {suite.suite} has no case {wanted!r} any more{hint}")


def _content(ledger: Ledger) -> Content:
    def content(body: Body) -> bytes:
        if body.blob is not None:
            return ledger.blobs.get(body.blob)
        return (body.text or "").encode("utf-8", "surrogatepass")

    return content


def _total(found: Preview, trace: Trace) -> str:
    if not trace.recorded:
        return "no gateway recorded this trial, so that nothing is known of its requests"
    if not found.exchanges:
        return "nothing was recorded: the agent sent no requests, and nothing can be hit"
    hit = sum(bool(row.faults) for row in found.exchanges)
    count = counted(len(found.exchanges), "exchange")
    return f"{count}, {hit or 'none'} of them would be hit"


def _table(found: Preview) -> Iterator[str]:
    if not found.exchanges:
        return
    rows = [("TIME", "EXCHANGE", "REQUEST", "FAULTS"), *map(_row, found.exchanges)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for time, number, request, hits in rows:
        yield f"{time.rjust(widths[0])}  {number.rjust(widths[1])}  {request.ljust(widths[2])}  {hits}".rstrip()


def _row(row: Foreseen) -> tuple[str, str, str, str]:
    exchange = row.exchange
    hits = ", ".join(row.faults) or "-"
    if exchange.faults:
        hits += f" (recorded with {', '.join(exchange.faults)})"
    request = one_line(_request(exchange), MAX_REQUEST_COLUMNS)
    return f"{exchange.started_s:.3f}s", str(exchange.id), request, one_line(hits)


def _request(exchange: Exchange) -> str:
    usual = {"http": 80, "ws": 80, "https": 443, "wss": 443, "stdio": 0}.get(exchange.scheme)
    place = exchange.host if exchange.port in (usual, 0) else f"{exchange.host}:{exchange.port}"
    if exchange.kind == "denied":
        return f"{exchange.method or 'connection'} {place} (refused by network.allow)"
    if exchange.method:
        return f"{exchange.method} {exchange.scheme}://{place}{exchange.path}"
    return f"{'lookup' if exchange.scheme == 'dns' else exchange.kind} {place}"


def _rules(found: Preview, case: Case) -> Iterator[str]:
    from aegis.trace.faults import not_fired

    if not case.faults:
        yield f"case {one_line(case.id)} has no faults in the suite"
        yield "(aegis faults list shows what there is; --faults PROFILE tries a profile)"
        return
    silent = [report for report in found.reports if not report.fired]
    if silent and found.exchanges:
        yield ""
        yield "would never fire:"
        for report in silent:
            yield f"  {one_line(report.id)}: {one_line(not_fired(report))}"
    for report in found.reports:
        for note in report.notes:
            yield f"  {one_line(report.id)}: {one_line(note)}"
    if any(row.faults for row in found.exchanges):
        yield ""
        yield "(after its first hit an agent may do something else than what was recorded)"


def _preview_json(found: Preview, case: Case) -> dict[str, Any]:
    from aegis.faults.plan import match, when
    from aegis.trace.faults import not_fired

    exchanges = [
        {
            "id": row.exchange.id,
            "at_s": row.exchange.started_s,
            "request": _request(row.exchange),
            "faults": list(row.faults),
            "recorded_faults": list(row.exchange.faults),
        }
        for row in found.exchanges
    ]
    rules = [
        {
            "id": rule.id,
            "inject": rule.inject,
            "where": match.describe(rule.match),
            "when": when.describe(rule),
            "source": rule.source,
            "matched": report.matched,
            "hits": report.fired,
            "why_not": None if report.fired else not_fired(report),
            "notes": list(report.notes),
        }
        for rule, report in zip(case.faults, found.reports, strict=True)
    ]
    return {"exchanges": exchanges, "rules": rules}
