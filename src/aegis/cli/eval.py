"""`aegis eval`: run suites, resume runs, and look at what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aegis.cli.compare import compare
from aegis.cli.history import list_runs, show_run
from aegis.cli.options import (
    env_option,
    keyword_option,
    parse_bytes,
    parse_env,
    require_kvm_option,
    timeout_option,
    trials_option,
    vmm_option,
)
from aegis.cli.output import INTERRUPTED_EXIT_CODE
from aegis.cli.shrink import shrink
from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.eval import EvalResult

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="eval", short_help="Run suites, and look at what came of it.")
def eval_group() -> None:
    """Run suites, resume runs, and look at what came of them.

    \b
    Examples:
      aegis eval run --suite production-v2 --fail-under 95
      aegis eval list
      aegis eval show latest
      aegis eval resume latest
      aegis eval compare main latest
      aegis eval shrink latest/refund-within-policy/2
    """


def _output_options(command: F) -> F:
    """The options that `run` and `resume` share."""
    options = [
        click.option(
            "--json", "json_path", metavar="PATH", help="Write the run document to PATH (-: standard output)."
        ),
        click.option(
            "--junit-xml", "junit_path", metavar="PATH", help="Write JUnit XML to PATH (-: standard output)."
        ),
        click.option(
            "--jobs", type=int, metavar="N", help="At most N trials at once. Default: what the host carries."
        ),
        click.option(
            "--otlp",
            metavar="URL",
            help="Send each trial's trace as OpenTelemetry spans to a collector (OTLP/HTTP).",
        ),
        click.option("--quiet", "-q", is_flag=True, help="No progress; only the table and the RESULT line."),
    ]
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


@eval_group.command(name="run", short_help="Run a suite.")
@click.option(
    "--suite", "-s", metavar="NAME", help="Name or path of the suite. May be left out when there is only one."
)
@click.option(
    "--isolation",
    type=click.Choice(["vm", "none"]),
    default="vm",
    show_default=True,
    help="vm: each trial in a fresh virtual machine. none: plain processes, for writing suites.",
)
@click.option(
    "--fail-under",
    type=float,
    metavar="P",
    help="Needed pass rate in percent. Default: 100; with --baseline none.",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Compare with the results of this branch, tag or commit, or with a run or an exported file.",
)
@click.option(
    "--confirm",
    type=int,
    metavar="N",
    help="Fresh trials of each case that looks worse than the baseline; they alone decide. Default: 10.",
)
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    type=click.Choice(["regression", "drift", "new-failure", "never"]),
    help="What else makes the comparison fail. May be repeated. never: it only informs. Default: regression.",
)
@click.option("--min-trials", type=int, metavar="N", help="Judged trials that each case needs. Default: 1.")
@click.option(
    "--strict", is_flag=True, help="Compare at 0.01 instead of 0.05: fewer false alarms, less is found."
)
@click.option(
    "--changed-since",
    metavar="NAME",
    help="Run the cases whose inputs have changed since this branch, tag or commit first, then the others.",
)
@trials_option
@keyword_option
@click.option("--last-failed", is_flag=True, help="Only cases that did not pass in the suite's last run.")
@env_option
@timeout_option
@click.option(
    "--seed", type=int, metavar="N", help="Order of the trials. Default: a new one, which is shown."
)
@click.option(
    "--retries",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    help="Repeat a trial that ended in an infrastructure error up to N times.",
)
@vmm_option
@require_kvm_option
@click.option(
    "--faults",
    "faults",
    multiple=True,
    metavar="PROFILE",
    help="Faults of this profile instead of the suite's; cases keep theirs. May be repeated. none: no faults.",
)
@click.option(
    "--stress",
    "stress",
    multiple=True,
    metavar="NAME",
    help="Also run variants: a transform, or a set such as production. May be repeated. none: no variants.",
)
@click.option("--record", is_flag=True, help="Keep every response whole, so that a replay has all of them.")
@click.option(
    "--replay",
    metavar="RUN",
    help="Answer from what RUN has recorded; nothing reaches the network. Never a baseline.",
)
@click.option(
    "--keep",
    type=click.Choice(["none", "failed", "all"]),
    default="none",
    show_default=True,
    help="Keep the machines of these trials as they are at the end, for aegis trial shell.",
)
@click.option(
    "--checkpoints",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=1,
    metavar="[N]",
    help="Keep the machine before every N-th turn too (1 when left out), for aegis trial fork.",
)
@click.option(
    "--keep-max",
    "keep_max_bytes",
    callback=parse_bytes,
    default="4GiB",
    show_default=True,
    metavar="SIZE",
    help="When all kept machines together are larger, the oldest go.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and be built; start nothing.")
@_output_options
def run(dry_run: bool, quiet: bool, env: tuple[str, ...], json_path: str | None, **options: Any) -> int:
    """Run a suite: every trial in a fresh virtual machine, then a verdict.

    The table goes to standard output, progress to standard error, whose last line is always RESULT: …

    \b
    Examples:
      aegis eval run --suite production-v2 --isolation=vm --fail-under 95
      aegis eval run -s production-v2 -k "refund and not slow" --trials 10
      aegis eval run -s production-v2 --last-failed --isolation=none
      aegis eval run -s production-v2 --json out.json --junit-xml out.xml
      aegis eval run -s production-v2 --faults flaky-production
      aegis eval run -s production-v2 --replay latest -k refund
      aegis eval run -s production-v2 --keep failed --checkpoints
      aegis eval run -s production-v2 --baseline main
      aegis eval run -s production-v2 --baseline v1.4 --strict --fail-on new-failure
      aegis eval run -s production-v2 --dry-run

    Ctrl-C once lets the running trials finish, twice stops at once; aegis eval resume continues.
    """
    options["env"] = parse_env(env)
    options["faults"] = options["faults"] or None
    options["stress"] = options["stress"] or None
    options["checkpoints"] = options["checkpoints"] or 0
    options["fail_on"] = options["fail_on"] or None
    if dry_run:
        if json_path or options["junit_path"] or options["otlp"]:
            raise UsageError(
                "--dry-run runs nothing, so there is nothing to write",
                fix="leave --json, --junit-xml and --otlp away",
            )
        return _dry_run(options)
    import aegis

    return _finish(
        aegis.eval.arun(json_path=json_path, progress=not quiet, handle_signals=True, **options),
        uses_stdout="-" in (json_path, options["junit_path"]),
    )


@eval_group.command(name="resume", short_help="Run what is missing of an interrupted run.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--retries", type=int, metavar="N", help="As in `aegis eval run`. Default: as the run was begun."
)
@_output_options
def resume(run_id: str, quiet: bool, json_path: str | None, junit_path: str | None, **options: Any) -> int:
    """Run what is missing of RUN, as it was planned, also when the suite has changed since.

    RUN is a run's id, the beginning of one, or `latest`.

    \b
    Examples:
      aegis eval resume latest
      aegis eval resume 20260105-141500-a1b2 --json out.json
    """
    import aegis

    return _finish(
        aegis.eval.aresume(
            run_id,
            json_path=json_path,
            junit_path=junit_path,
            progress=not quiet,
            handle_signals=True,
            **options,
        ),
        uses_stdout="-" in (json_path, junit_path),
    )


def _finish(work: Any, *, uses_stdout: bool) -> int:
    result: EvalResult = asyncio.run(work)
    from aegis.report.terminal import print_table

    if not uses_stdout:
        # Whoever reads the table may leave early; the verdict stands all the same.
        with contextlib.suppress(BrokenPipeError):
            print_table(result.document, file=sys.stdout)
    click.echo(result_line(result), err=True)
    return result.exit_code


def result_line(result: EvalResult) -> str:
    """The last line on standard error, from the object that sets the exit code."""
    from aegis.report import terminal

    line = terminal.result_line(result.document)
    if result.exit_code == INTERRUPTED_EXIT_CODE:
        line += f"; interrupted; resume with: aegis eval resume {result.run_id}"
    return line


def _dry_run(options: dict[str, Any]) -> int:
    import aegis
    from aegis.cli.dryrun import describe

    names = ("suite", "trials", "seed", "keyword", "last_failed", "timeout_s", "env", "faults", "stress")
    plan = aegis.eval.plan(**{name: options[name] for name in names})
    for line in describe(plan, isolation=options["isolation"]):
        click.echo(line)
    click.echo(f"RESULT: DRY RUN exit 0: {len(plan.trials)} trials planned, nothing started", err=True)
    return 0


eval_group.add_command(compare)
eval_group.add_command(list_runs)
eval_group.add_command(show_run)
eval_group.add_command(shrink)
