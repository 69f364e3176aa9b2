"""`aegis eval shrink`: the smallest set of faults that breaks a trial."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.errors import UsageError
from aegis.report.text import counted, one_line

if TYPE_CHECKING:
    from aegis.eval import ShrinkResult

NOT_AGAIN_EXIT_CODE = 3


@click.command(name="shrink", short_help="Find the smallest set of faults that breaks a trial.")
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option(
    "--budget", type=click.IntRange(2), default=30, show_default=True, help="Run the trial at most so often."
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Run each set up to N times; it fails when one of them does. For agents that do not always fail.",
)
@click.option("--output", "-o", metavar="FILE", help="Write the suite that reproduces it to FILE as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def shrink(trial: str, budget: int, repeat: int, output: str | None, as_json: bool, quiet: bool) -> int:
    """Find a smallest set of faults under which a failed trial still fails, and print a suite that reproduces it.

    The trial is run again with fewer and fewer of the faults that had hit it (delta debugging), isolated as it was.
    RUN is a run's id, the beginning of one, or `latest`. Exit code 3: it did not fail again.

    \b
    Examples:
      aegis eval shrink latest/refund-within-policy/2
      aegis eval shrink latest/refund-within-policy/2 --budget 12 -o evals/refund-shrunk.yaml
    """
    import aegis

    if output is not None and Path(output).exists():
        raise UsageError(f"{output} is there already", fix="name another file, or move it away")
    found = aegis.eval.shrink(trial, budget=budget, repeat=repeat, progress=not quiet)
    if output is not None and found.suite:
        _write(Path(output), found.suite)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        for line in _told(found):
            click.echo(line)
    return 0 if found.fails else NOT_AGAIN_EXIT_CODE


def _told(found: ShrinkResult) -> Iterator[str]:
    runs = counted(found.runs, "run")
    if not found.fails:
        yield f"{found.trial} did not fail again under the faults that had hit it ({runs}); try --repeat 5"
        return
    if not found.needed:
        yield f"{found.trial} fails without any fault ({runs}): the weather is not why"
        yield f"  {one_line(found.reason)}"
        return
    how = "" if found.minimal else "; the budget ended before each of them was shown to be needed"
    yield f"{len(found.needed)} of {counted(len(found.hit), 'fault')} break {found.trial} ({runs}{how}):"
    for rule in found.needed:
        yield f"  {rule.id} ({one_line(rule.source)})"
    yield f"  {one_line(found.reason)}"
    yield ""
    yield f"# Save as {found.suite_name}.yaml among the suites; then: aegis eval run --suite {found.suite_name}"
    yield from found.suite.rstrip("\n").split("\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
