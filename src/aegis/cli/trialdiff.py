"""`aegis trial diff`: what an agent changed in its machine."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from aegis.errors import UsageError

STYLES: Mapping[str, Mapping[str, Any]] = {
    "add": {"fg": "green"},
    "delete": {"fg": "red"},
    "hunk": {"fg": "cyan"},
    "head": {"bold": True},
}


@click.command(name="diff")
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
@click.option("--stat", is_flag=True, help="Only the list of files, without their differences.")
@click.option("--all", "everything", is_flag=True, help="Every file one by one, every difference whole.")
@click.option(
    "--path",
    "globs",
    metavar="GLOB",
    multiple=True,
    help="Only paths that match, whole: '/workspace/*', '*.json'. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the changes, with the texts, as JSON.")
@click.option("--no-color", is_flag=True, help="No colours, also on a terminal.")
def diff(
    trial: str,
    variant: str | None,
    stat: bool,
    everything: bool,
    globs: tuple[str, ...],
    as_json: bool,
    no_color: bool,
) -> None:
    """Print what the agent changed in its machine: files added (+), changed (~) and deleted (-), from its start to its
    end, and what differs in those that are text.

    RUN is a run's id, the beginning of one, or `latest`. More than ten changes below one folder are one line. What the
    set-up of the world wrote is no change, and neither is what scorers did afterwards.

    \b
    Examples:
      aegis trial diff latest/refund-within-policy/1
      aegis trial diff latest/refund-within-policy/1 --stat
      aegis trial diff latest/refund-within-policy/1 --path '/srv/*' --path '*.json'
      aegis trial diff 20260105-1415/refund-within-policy/2 --json | jq '.items[].path'
    """
    from aegis.cli.history import find_trial, ledger_folder, open_ledger
    from aegis.results import document as documents
    from aegis.results.show import split_trial

    if stat and everything:
        raise UsageError("--stat and --all exclude each other")
    run, case = split_trial(trial)
    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        entry = find_trial(document, case, variant)
        changes = entry.get("changes")
        if "changes" not in entry:
            raise UsageError(
                f"run {document['run_id']} did not keep what its agents changed: an older Aegis made it",
                fix="run it again",
            )
        if changes is None:
            why = entry["reason"] or entry["outcome"]
            raise UsageError(
                f"nothing is known of what trial {trial} changed: its agent did not come to its end ({why})"
            )
        kept: dict[str, Any] = {"items": []}
        if changes["blob"]:
            kept = json.loads(ledger.blobs.get(changes["blob"]))
    items = [each for each in kept["items"] if _matches(each["path"], globs)]
    if as_json:
        told = {name: entry[name] for name in ("case", "variant", "number", "outcome", "reason")}
        click.echo(
            json.dumps({"run_id": document["run_id"], **told, "changes": changes, "items": items}, indent=2)
        )
        return
    _print(entry, changes, items, globs, stat=stat, everything=everything, color=not no_color)


def _matches(path: str, globs: tuple[str, ...]) -> bool:
    """As a shell's patterns, but `*` also passes `/`; one without a `/` is about the last name."""
    name = path.rpartition("/")[2]
    return not globs or any(fnmatch.fnmatchcase(path if "/" in glob else name, glob) for glob in globs)


def _print(
    entry: Mapping[str, Any],
    changes: Mapping[str, Any],
    items: list[dict[str, Any]],
    globs: tuple[str, ...],
    *,
    stat: bool,
    everything: bool,
    color: bool,
) -> None:
    from aegis.report.text import counted, one_line
    from aegis.report.trialdiff import heading, render, shown_items

    click.echo(
        f"{one_line(entry['case'])}/{entry['number']}: {entry['outcome']}  {one_line(entry['reason'])}".rstrip()
    )
    click.echo(heading(changes))
    if globs:
        told = counted(len(shown_items(items)), "file")
        click.echo(f"{told} of them {'matches' if told == '1 file' else 'match'} {one_line(' '.join(globs))}")
    colored = color and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    whole = everything or bool(globs)
    for text, kind in render(items, unfold=whole, diffs=not stat, whole=whole):
        click.echo(click.style(text, **STYLES[kind]) if colored and kind else text)
