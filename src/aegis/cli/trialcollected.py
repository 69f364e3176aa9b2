"""`aegis trial collected`: the files that were kept with a trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.errors import UsageError
from aegis.report.text import counted, one_line

if TYPE_CHECKING:
    from aegis.results import Ledger


@click.command(
    short_help="List the files that were kept with a trial, or write them to a folder.",
    epilog="""\b
Examples:
  aegis trial collected latest/refund-within-policy/1
  aegis trial collected latest/refund-within-policy/1 --to out/
  aegis trial collected 20260105-1415/refund-within-policy/2 --json""",
)
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option("--to", metavar="DIR", help="Write them below this folder, each at its path in the machine.")
@click.option("--force", is_flag=True, help="With --to: replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
def collected(trial: str, to: str | None, force: bool, as_json: bool, variant: str | None) -> None:
    """List the files that `collect` of the suite kept with a trial, or write them to a folder.

    RUN is a run's id, the beginning of one, or `latest`.
    """
    from aegis.cli.history import find_trial, ledger_folder, open_ledger
    from aegis.cli.trace import split_trial
    from aegis.results import document as documents

    if force and to is None:
        raise UsageError("--force is about files that are written", fix="add --to DIR")
    run, case = split_trial(trial, example="aegis trial collected latest/refund/1")
    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        entry = find_trial(document, case, variant)
        if to is not None:
            _write(Path(to), entry, ledger, force=force)
    if as_json:
        names = ("case", "variant", "number", "collected", "not_collected")
        click.echo(json.dumps({name: entry.get(name, []) for name in names}, indent=2))
    else:
        _print(entry, to)


def _print(entry: dict[str, Any], to: str | None) -> None:
    files, missing = entry.get("collected") or [], entry.get("not_collected") or []
    if not files and not missing:
        click.echo("no files were kept with this trial (collect in the suite names them)")
        return
    for file in files if to is None else ():
        click.echo(f"{file['bytes']:>12,}  {one_line(file['path'])}")
    for item in missing:
        what = one_line(item["path"]) if item["path"] is not None else "and"
        click.echo(f"{'left out':>12}  {what}: {one_line(item['why'])}")
    total = sum(file["bytes"] for file in files)
    where = "kept" if to is None else f"written below {to}"
    click.echo(f"{counted(len(files), 'file')} {where}, {total:,} bytes")


def _write(folder: Path, entry: dict[str, Any], ledger: Ledger, *, force: bool) -> None:
    from aegis.results.written import write_below

    write_below(
        folder,
        {file["path"]: file["blob"] for file in entry.get("collected") or ()},
        ledger.blobs.chunks,
        force=force,
    )
