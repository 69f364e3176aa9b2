"""`aegis template`: list, show and remove the saved machines that trials start from."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from aegis.errors import UsageError
from aegis.report.text import counted

if TYPE_CHECKING:
    from aegis.sandbox.saved import SavedMachine, SavedMachines

KEY_SHOWN = 12
HEAD = ("KEY", "SUITE", "IMAGE", "MEMORY", "ON DISK", "MADE", "USED", "STATE")


@click.group(short_help="List, show and remove saved templates.")
def template() -> None:
    """List, show and remove templates: the saved machines that trials start from.

    A template is a booted image with a suite's files, set-up and services, saved while it idles. It is made by
    the first run that needs it, and anew when an input changed: removing one costs the next run its build time only.
    """


@template.command(
    name="list",
    short_help="List the saved templates and what they cost.",
    epilog="""\b
Examples:
  aegis template list
  aegis template list --json""",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the saved templates, the last used first, with the disk space that each takes.

    STATE is `in use` while a run uses or makes it, and `stale` when this host was started anew since: a run makes
    another one then.
    """
    found = _store().list()
    if as_json:
        click.echo(json.dumps({"templates": [each.as_json() for each in found]}, indent=2))
        return
    if not found:
        click.echo("no templates yet: the first run of a suite saves one")
        return
    rows = [HEAD, *(_row(each) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    total = sum(each.disk_bytes for each in found)
    click.echo(f"{counted(len(found), 'template')}, {_size(total)} on disk")


@template.command(
    short_help="Show what a template was made of.",
    epilog="""\b
Examples:
  aegis template show 3f2a91c0
  aegis template show support --json    the only template of a suite""",
)
@click.argument("key", metavar="KEY|SUITE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(key: str, as_json: bool) -> None:
    """Show one template: whose it is, what it takes, and what it was made of."""
    from aegis.report.text import visible

    found = _store().find(key)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    files = found.as_json()["files_bytes"]
    lines = {
        "key": found.key,
        "suite": found.text("suite"),
        "project": found.text("project"),
        "image": found.text("image"),
        "memory": _size(found.memory_bytes),
        "processors": str(found.as_json()["cpus"] or ""),
        "on disk": _size(found.disk_bytes),
        "made": _ago(found.created),
        "last used": _ago(found.last_used),
        "state": _state(found),
        "files": "" if files is None else f"{_size(files)} of the project",
        "services": ", ".join(found.words("services")),
        "variables": ", ".join(found.words("env")),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"{name + ':':<12} {visible(text)}")
    for number, step in enumerate(found.words("setup"), 1):
        click.echo(f"{f'set-up {number}:':<12} {visible(step)}")


@template.command(
    short_help="Remove templates.",
    epilog="""\b
Examples:
  aegis template prune                     what nothing has used for 30 days
  aegis template prune --keep 2            all but the last used two
  aegis template prune 3f2a91c0 support    these
  aegis template prune --keep-days 0 --dry-run""",
)
@click.argument("keys", metavar="[KEY|SUITE]...", nargs=-1)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    help="Keep what was used in the last so many days.  [default: 30, without --keep]",
)
@click.option("--keep", type=click.IntRange(min=0), help="Keep so many, the last used ones.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def prune(keys: tuple[str, ...], keep_days: float | None, keep: int | None, dry_run: bool) -> None:
    """Remove templates that nothing has used for some time, or these. One that is in use stays.

    With both --keep and --keep-days a template stays that either of them keeps.
    """
    from aegis.sandbox.saved import DEFAULT_KEEP_DAYS

    if keys and (keep is not None or keep_days is not None):
        raise UsageError("templates are named, or chosen by --keep and --keep-days", fix="leave one away")
    store = _store()
    named = [store.find(key) for key in keys]
    if busy := [each for each in named if each.in_use]:
        raise UsageError(
            f"template {busy[0].key[:KEY_SHOWN]} is in use by a run", fix="wait for the run, or stop it"
        )
    if keep is None and keep_days is None:
        keep_days = DEFAULT_KEEP_DAYS
    pruned = store.prune(keep_days=keep_days, keep=keep, keys={each.key for each in named}, dry_run=dry_run)
    for each in pruned.removed:
        did = "would remove" if dry_run else "removed"
        whose = f"  {each.text('suite')}" if each.text("suite") else ""
        click.echo(f"{did} {each.key[:KEY_SHOWN]}{whose}  {_size(each.disk_bytes)}")
    click.echo(f"{'would free' if dry_run else 'freed'} {_size(pruned.freed_bytes)}")


def _store() -> SavedMachines:
    from aegis.sandbox.images.cache import cache_folder
    from aegis.sandbox.saved import SavedMachines

    return SavedMachines(cache_folder())


def _row(found: SavedMachine) -> tuple[str, ...]:
    from aegis.report.text import visible

    return (
        found.key[:KEY_SHOWN],
        visible(found.text("suite")) or "-",
        visible(found.text("image")) or "-",
        _size(found.memory_bytes),
        _size(found.disk_bytes),
        _ago(found.created) or "-",
        _ago(found.last_used),
        _state(found),
    )


def _state(found: SavedMachine) -> str:
    if found.in_use:
        return "in use"
    return "stale" if found.stale else "ready"


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"


def _ago(at_s: float | None) -> str:
    if at_s is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))
