"""`aegis eval compare`: how one run compares with another."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from aegis.errors import UsageError


@click.command(name="compare", short_help="Compare two runs, case by case.")
@click.argument("base", metavar="BASE")
@click.argument("head", metavar="HEAD")
@click.option("--case", metavar="ID", help="Also lay this case of both runs side by side.")
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
@click.option(
    "--json", "json_path", metavar="PATH", help="Write the comparison to PATH (-: standard output)."
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(["regression", "new-failure", "drift", "never"]),
    help="What fails the comparison besides regressions. May be repeated. never: it only informs.",
)
@click.option("--strict", is_flag=True, help="Fewer false alarms: both levels at 0.01.")
@click.option(
    "--min-trials",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Judged trials that each case of HEAD needs.",
)
@click.option("--all", "everything", is_flag=True, help="Every case and every difference, however many.")
def compare(base: str, head: str, json_path: str | None, everything: bool, **options: Any) -> int:
    """Compare the runs BASE (before) and HEAD (now): what got worse, what got better, what the agent does differently.

    Each is a run's id, the beginning of one, `latest`, a file that aegis baseline export wrote, or a branch, tag or
    commit with results. Nothing is run: without fresh trials less is found than by aegis eval run --baseline.

    \b
    Examples:
      aegis eval compare 20260105-141500-a1b2 latest
      aegis eval compare main latest --case refund-within-policy
      aegis eval compare main.aegis latest --json - | jq '.regressions[].case'
      aegis eval compare main latest --fail-on drift
    """
    import aegis
    from aegis.report import compared
    from aegis.report.terminal import print_lines

    if everything and json_path == "-":
        raise UsageError("--json - has everything already", fix="leave --all away")
    options["fail_on"] = options["fail_on"] or None
    result = aegis.eval.compare(base, head, json_path=json_path, **options)
    if json_path != "-":
        # Whoever reads the lines may leave early; the verdict stands all the same.
        with contextlib.suppress(BrokenPipeError):
            print_lines(
                lambda width: compared.lines(result.document, width, everything=everything), sys.stdout
            )
    click.echo(compared.result_line(result.document), err=True)
    return result.exit_code
