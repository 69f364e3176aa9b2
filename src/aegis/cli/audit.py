"""`aegis audit`: whether the results of a suite can be believed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import click

from aegis.cli.options import (
    env_option,
    keyword_option,
    parse_env,
    require_kvm_option,
    timeout_option,
    trials_option,
    vmm_option,
)
from aegis.cli.output import INTERRUPTED_EXIT_CODE


@click.group(short_help="Whether results depend on what ran before.")
def audit() -> None:
    """Whether the results of a suite can be believed.

    \b
    Examples:
      aegis audit leaks --suite production-v2
    """


@audit.command(short_help="Fresh machines against shared ones: what leaks from case to case.")
@click.option(
    "--suite", "-s", metavar="NAME", help="Name or path of the suite. May be left out when there is only one."
)
@click.option(
    "--as",
    "as_mode",
    type=click.Choice(["shared", "reset", "fresh"]),
    default="shared",
    show_default=True,
    help="How you run the suite elsewhere: in one machine, in one with the reset steps between, or in fresh ones. "
    "The exit code is about this.",
)
@click.option(
    "--orders",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="In how many orders one machine gets the trials: as written, reversed, then shuffled.",
)
@click.option(
    "--max-probes",
    type=int,
    default=120,
    show_default=True,
    metavar="N",
    help="Start at most N machines to find out who left what to whom.",
)
@click.option(
    "--isolation",
    type=click.Choice(["vm", "none"]),
    default="vm",
    show_default=True,
    help="vm: virtual machines. none: folders of this host and plain processes, for a quick look.",
)
@trials_option
@keyword_option
@env_option
@timeout_option
@click.option(
    "--seed", type=int, metavar="N", help="Decides the shuffled orders. Default: a new one, which is shown."
)
@click.option(
    "--jobs", type=int, metavar="N", help="At most N machines at once. Default: what the host carries."
)
@click.option(
    "--retries",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    help="Repeat a trial in a fresh machine that ended in an infrastructure error up to N times.",
)
@vmm_option
@require_kvm_option
@click.option(
    "--json", "json_path", metavar="PATH", help="Write the audit document to PATH (-: standard output)."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress; only the report and the RESULT line.")
def leaks(quiet: bool, env: tuple[str, ...], json_path: str | None, **options: Any) -> int:
    """Run the same trials in fresh machines and one after another in one machine, and tell what makes them differ.

    The report shows both pass rates, the cases that depend on what ran before, who it was, and the files, rows and
    processes that carried it. Nothing of it becomes a run or a baseline. Exit code 1: the suite as you run it (--as)
    differs from fresh machines; 3: nobody can tell.

    \b
    Examples:
      aegis audit leaks --suite production-v2
      aegis audit leaks -s production-v2 --as reset --orders 5
      aegis audit leaks -s production-v2 -k "refund or invoice" --trials 3
      aegis audit leaks -s production-v2 --isolation=none --json audit.json

    Ctrl-C stops at once and leaves nothing behind.
    """
    import aegis
    from aegis._eval.outputs import Outputs

    outputs = Outputs(json_path)
    outputs.check()
    work = aegis.eval.aaudit_leaks(env=parse_env(env), progress=not quiet, handle_signals=True, **options)
    try:
        document = asyncio.run(work)
    except KeyboardInterrupt:
        click.echo("interrupted: an audit is not resumed, begin it again", err=True)
        click.echo(f"RESULT: INCONCLUSIVE exit {INTERRUPTED_EXIT_CODE}: interrupted", err=True)
        return INTERRUPTED_EXIT_CODE
    outputs.write_bytes(_document(document))
    if json_path != "-":
        from aegis.report.leaks import print_report

        # Whoever reads the report may leave early; the verdict stands all the same.
        with contextlib.suppress(BrokenPipeError):
            print_report(document, file=sys.stdout)
    click.echo(document["result"], err=True)
    code: int = document["exit_code"]
    return code


def _document(document: dict[str, Any]) -> bytes:
    from aegis.audit.document import to_json

    return to_json(document)
