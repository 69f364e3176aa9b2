"""`aegis trial kept` and `aegis trial prune`: the machines that runs have kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from aegis.cli.options import parse_bytes
from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.results.machines import Machines


@click.command(short_help="List the machines that are kept.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kept(run: str | None, as_json: bool) -> None:
    """List the machines that runs have kept (or RUN has), the oldest first, with what they take on disk.

    \b
    Examples:
      aegis trial kept
      aegis trial kept latest --json
    """
    from aegis.report.text import counted, one_line

    machines, run_id = _machines(run)
    found = machines.all(run_id)
    if as_json:
        rows = [
            {
                "run_id": machine.run_id,
                "case": machine.case,
                "variant": machine.variant,
                "number": machine.number,
                "turn": machine.turn,
                "bytes": machine.size_bytes,
                "kept_at": datetime.fromtimestamp(machine.kept_at, UTC).isoformat(timespec="seconds"),
                "folder": str(machine.folder),
            }
            for machine in found
        ]
        click.echo(json.dumps({"machines": rows}, indent=2))
        return
    for machine in found:
        click.echo(f"{machine.size_bytes / 1e6:8.1f} MB  {one_line(machine.name)}")
    total = sum(machine.size_bytes for machine in found)
    click.echo(f"{total / 1e6:8.1f} MB  {counted(len(found), 'machine')} in {machines.folder}")


@click.command(short_help="Remove kept machines.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--max",
    "max_bytes",
    callback=parse_bytes,
    metavar="SIZE",
    help="Remove the oldest until all together take at most SIZE.",
)
@click.option("--all", "everything", is_flag=True, help="Remove all of them, of every run.")
def prune(run: str | None, max_bytes: int | None, everything: bool) -> None:
    """Remove the machines that RUN has kept, or the oldest of all runs. Results and traces stay.

    \b
    Examples:
      aegis trial prune latest
      aegis trial prune --max 1GiB
      aegis trial prune --all
    """
    from aegis._eval.keeping import told

    if sum((run is not None, max_bytes is not None, everything)) != 1:
        raise UsageError("aegis trial prune needs one of RUN, --max SIZE and --all", fix="aegis trial kept")
    machines, run_id = _machines(run)
    removed = machines.prune(run_id) if max_bytes is None else machines.make_room(max_bytes=max_bytes)
    click.echo(told(removed) if removed.machines else f"nothing to remove in {machines.folder}")


def _machines(run: str | None) -> tuple[Machines, str | None]:
    from aegis.cli.history import ledger_folder, open_ledger
    from aegis.results.machines import Machines

    folder = ledger_folder()
    if run is None:
        return Machines(folder), None
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with open_ledger(folder) as ledger:
        return Machines(folder), ledger.run(run).run_id
