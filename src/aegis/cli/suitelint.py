"""`aegis suite lint`: what of production a suite covers."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.report.text import counted, one_line

if TYPE_CHECKING:
    from aegis._eval.coverage import Coverage, Row
    from aegis.suite import Suite

COLUMNS = 110
MARKS = {"covered": "ok", "gap": "GAP", "unknown": "?"}


@click.command(name="lint", short_help="Show what of production suites cover, and what is missing.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--stress",
    "stress",
    multiple=True,
    default=("production",),
    metavar="NAME",
    help="Tell what this transform or set of them would add. Default: production. May be repeated.",
)
@click.option(
    "--fail-on", type=click.Choice(["gap"]), help="Exit code 1 when something is missing in a suite."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def lint(
    context: click.Context,
    names: tuple[str, ...],
    stress: tuple[str, ...],
    fail_on: str | None,
    as_json: bool,
) -> None:
    """Show what suites (all of the project's without NAME) have of what production has: long conversations, large
    results of tools, instructions that conflict, malformed input, each group of faults, things that must not be done.
    Beside it stands what stress would add, and what is missing. Nothing is run.

    How large results of tools are, only runs show: of those that are recorded here the newest are looked at.

    \b
    Examples:
      aegis suite lint
      aegis suite lint production-v2 --fail-on gap
      aegis suite lint production-v2 --json
    """
    from aegis.cli.suite import find_suites, joined, load_suites

    entries = load_suites(find_suites(names))
    if broken := [entry for entry in entries if entry.error is not None]:
        raise joined(broken)
    found = [(entry.suite, entry.path) for entry in entries if entry.suite is not None]
    tables = [(suite, _coverage(suite, path, stress)) for suite, path in found]
    if as_json:
        listed = [
            {"suite": suite.suite, "file": suite.source_file, **table.to_json()} for suite, table in tables
        ]
        click.echo(json.dumps({"stress": list(stress), "suites": listed}, indent=2))
    else:
        for number, (suite, table) in enumerate(tables):
            click.echo("\n" * (number > 0) + "\n".join(_lines(suite, table, stress)))
    if fail_on is not None and any(table.gaps for _, table in tables):
        context.exit(1)


def _coverage(suite: Suite, path: Path, stress: tuple[str, ...]) -> Coverage:
    from aegis._eval.coverage import coverage
    from aegis._eval.prepare import LEDGER_FOLDER, find
    from aegis._eval.recorded import largest_result
    from aegis._eval.request import RunRequest

    stressed = find(RunRequest(suite=str(path), stress=stress))
    folder = stressed.project.root / LEDGER_FOLDER
    recorded = largest_result(folder, suite.suite, [case.id for case in suite.cases])
    return coverage(suite, stressed.suite, recorded, _profiles(stressed.project.evals_dir))


def _profiles(folder: Path) -> dict[str, list[str]]:
    """Group of faults → names of the profiles that have such for any host, those with the most groups first."""
    from aegis.errors import UsageError
    from aegis.faults import registry
    from aegis.faults.plan import profiles
    from aegis.faults.plan.reading import rules_of

    groups: dict[str, set[str]] = {}
    for name in profiles.names(folder):
        try:
            rules = rules_of(profiles.load(name, folder), folder)
        except UsageError:
            continue  # aegis faults list tells what is wrong with it
        groups[name] = {registry.get(rule.inject).group for rule in rules if not rule.match.host}
    order = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return {
        group: [name for name in order if group in groups[name]][:2]
        for group in {group for found in groups.values() for group in found}
    }


def _lines(suite: Suite, table: Coverage, stress: tuple[str, ...]) -> Iterator[str]:
    by = " ".join(f"--stress {name}" for name in stress)
    trials = f"{counted(table.trials, 'trial')}; {table.stressed_trials:,} with {by}"
    yield f"{suite.suite}: {counted(len(suite.cases), 'case')}, {trials}"
    for row in table.rows:
        yield from _row(row)
    gaps, unknown = len(table.gaps), sum(row.state == "unknown" for row in table.rows)
    yield f"{counted(gaps, 'gap') if gaps else 'no gaps'}{f', {unknown} not known' if unknown else ''}"


def _row(row: Row) -> Iterator[str]:
    yield from _wrapped(f"  {MARKS[row.state]:4}", f"{row.title}: {row.has or 'none'}")
    if row.adds:
        yield from _wrapped("        would add: ", row.adds)
    if row.missing:
        yield from _wrapped("        to add: ", row.missing)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        one_line(text), COLUMNS, initial_indent=head, subsequent_indent=" " * 10, break_on_hyphens=False
    )
