"""`aegis suite preview`: what stress makes of a case."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from aegis.errors import UsageError
from aegis.report.text import counted, one_line, visible

if TYPE_CHECKING:
    from aegis._eval.variantpreview import Preview, Said
    from aegis.stress.base import Refusal
    from aegis.suite import Case, Suite
    from aegis.suite.model import Expectation

COLUMNS = 110
HEAD_CHARS, TAIL_CHARS = 400, 160
"""Of a long message."""
MOST_ADDED = 8
"""Added turns in a row that are all shown."""
MARKS = {"written": " ", "changed": "~", "added": "+"}


@click.command(name="preview", short_help="Show what stress makes of a case.")
@click.argument("case_id", metavar="CASE")
@click.option(
    "--suite", "-s", metavar="NAME", help="The case's suite. May be left out when there is only one."
)
@click.option(
    "--stress",
    "names",
    multiple=True,
    metavar="NAME",
    help="A transform, one level of it (bloated-tools.32k), or a set of them (production). May be repeated. "
    "Default: the stress that the case has in its suite.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def preview(case_id: str, suite: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """Show the variants that stress makes of CASE: one variant in full, several as a list. Variants that are not made
    stand there with the reason. Nothing is run.

    A variant in full: what was done, the conversation (`+`: an added message, `~`: a changed one), the expectations
    that came or went, and what the gateway changes. Parameters are those that the case gives the transform.

    \b
    Examples:
      aegis suite preview refund-within-policy --stress production
      aegis suite preview refund-within-policy --stress malformed-input.5
      aegis suite preview refund-within-policy -s production-v2 --json
    """
    from aegis._eval import variantpreview
    from aegis._eval.prepare import find
    from aegis._eval.request import RunRequest

    loaded = find(RunRequest(suite=suite)).suite
    case = _case(loaded, case_id)
    found, refused = variantpreview.previews(case, variantpreview.rules_for(case, names))
    if as_json:
        head = {"suite": loaded.suite, "case": case.id, "trials": loaded.trials_of(case)}
        variants = [entry.to_json() for entry in found]
        reasons = [
            {"variant": item.variant, "rejected": item.rejected, "reason": item.reason} for item in refused
        ]
        click.echo(json.dumps({**head, "variants": variants, "refused": reasons}, indent=2))
        return
    one = len(found) == 1 and not refused
    for line in _in_full(case, found[0]) if one else _list(case, found, loaded.trials_of(case)):
        click.echo(line)
    for line in _refused(refused):
        click.echo(line)
    if not one and found:
        click.echo(f"\naegis suite preview {case.id} --stress {found[0].variant}   shows one in full")


def _case(suite: Suite, wanted: str) -> Case:
    from aegis.suite.problems import did_you_mean

    for case in suite.cases:
        if case.id == wanted:
            return case
    hint = did_you_mean(wanted, [case.id for case in suite.cases])
    raise UsageError(
        f"suite {suite.suite} has no case {wanted!r}{hint}",
        fix=f"aegis suite list {suite.suite} shows its cases",
    )


def _list(case: Case, found: Sequence[Preview], trials: int) -> Iterator[str]:
    total = trials * (1 + len(found))
    yield f"{case.id}: {counted(len(found), 'variant')} beside the case as written, {counted(total, 'trial')} in all"
    width = max((len(entry.variant) for entry in found), default=0)
    for entry in found:
        yield from _wrapped(f"  {entry.variant.ljust(width)}  ", entry.change)


def _refused(refused: Sequence[Refusal]) -> Iterator[str]:
    if not refused:
        return
    yield "not run:"
    width = max(len(item.variant) for item in refused)
    for item in refused:
        why = "rejected" if item.rejected else "does not apply"
        yield from _wrapped(f"  {item.variant.ljust(width)}  ", f"{why}: {item.reason}")


def _in_full(case: Case, entry: Preview) -> Iterator[str]:
    yield f"{case.id} ({entry.variant})"
    yield from _wrapped("  ", entry.change)
    tokens = sum(said.tokens for said in entry.turns)
    yield f"\nthe user says, in {counted(len(entry.turns), 'turn')} of {tokens:,} tokens:"
    yield from _conversation(entry.turns)
    if entry.added:
        yield "\nexpected besides:"
        yield from _expectations(entry.added)
    if entry.dropped:
        yield "\nno longer expected:"
        yield from _expectations(entry.dropped)
    if entry.rewrites:
        yield "\nthe gateway changes:"
        for words in entry.rewrites:
            yield from _wrapped("  ", words)
    if entry.added_time_s:
        yield f"\nthe trial has {entry.added_time_s:g} s more"


def _conversation(turns: Sequence[Said]) -> Iterator[str]:
    start = 0
    while start < len(turns):
        end = start
        while end < len(turns) and turns[end].how == "added":
            end += 1
        if end - start > MOST_ADDED:
            hidden = turns[start + 3 : end - 2]
            yield from _numbered(turns, start, start + 3)
            yield f"       … {len(hidden)} more turns of {sum(said.tokens for said in hidden):,} tokens …"
            yield from _numbered(turns, end - 2, end)
        else:
            end = max(end, start + 1)
            yield from _numbered(turns, start, end)
        start = end


def _numbered(turns: Sequence[Said], start: int, end: int) -> Iterator[str]:
    for number in range(start, end):
        said = turns[number]
        head = f"{number + 1:>5} {MARKS[said.how]} "
        lines = _shortened(said).split("\n")
        yield from _wrapped(head, lines[0])
        for line in lines[1:]:
            yield from _wrapped(" " * len(head), line)


def _shortened(said: Said) -> str:
    """The message, with its size instead of its middle when it is long."""
    text = said.text
    if said.simulated or not text.strip():
        return text if said.simulated else f"({'nothing' if not text else 'white space only'})"
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    left = len(text) - HEAD_CHARS - TAIL_CHARS
    size = f"{left:,} more characters; {said.tokens:,} tokens in all"
    return f"{text[:HEAD_CHARS]}\n… {size} …\n{text[-TAIL_CHARS:]}"


def _expectations(entries: Sequence[Expectation]) -> Iterator[str]:
    from aegis.faults.doc import written

    for entry in entries:
        yield from _wrapped("  - ", one_line(f"{entry.scorer}: {written(entry.config)}", 600))


def _wrapped(head: str, text: str) -> list[str]:
    """With nothing in it that a terminal would obey."""
    return textwrap.wrap(
        visible(text.expandtabs()),
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [head.rstrip()]
