"""What the command line prints: progress while a run goes on, then the table and the `RESULT:` line.

Progress stands in progress.py and is offered here, so that there is one place to import from.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from aegis.report.progress import Progress, is_live
from aegis.report.tally import duration
from aegis.report.text import one_line
from aegis.results import show, verdict
from aegis.results.records import OUTCOMES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Progress", "print_runs", "print_table", "render_runs", "render_table", "result_line"]

MAX_ROWS = 100
"""A longer table shows the cases that did not pass and counts the others."""

LOG_COLUMNS = 120
"""Width of a table that goes to a file or pipe."""

_MIN_COLUMNS = 20

_NO_ISOLATION = (
    "WARNING: no isolation. Trials ran as plain processes on this host: they could read each other's files "
    "and reach all that you can reach. This result cannot be compared with one from --isolation=vm."
)


def print_table(document: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print the table of a run, its counts and its isolation to `file` (default: standard output)."""
    _print(render_table, document, file)


def print_runs(rows: Iterable[show.RunRow], file: TextIO | None = None) -> None:
    """Print a list of runs (`show.run_row`) to `file` (default: standard output)."""
    _print(render_runs, list(rows), file)


def result_line(document: Mapping[str, Any]) -> str:
    """`RESULT: PASS 24/24 trials (100.0 %) suite production-v2 run 20261123-…`: the last line of a command,
    made from the document that sets the exit code."""
    counts = document["counts"]
    text = verdict.describe(document["verdict"], counts, counts["planned"], document["fail_under"])
    return f"RESULT: {text} suite {one_line(document['suite'])} run {one_line(document['run_id'])}"


def render_table(document: Mapping[str, Any], *, width: int = LOG_COLUMNS, color: bool = False) -> str:
    """`print_table` as text. Everything in it that a suite or an agent wrote is made safe (text.py)."""
    rows = show.case_rows(document)
    shown = rows if len(rows) <= MAX_ROWS else [row for row in rows if row.passed < row.trials][:MAX_ROWS]
    parts: list[RenderableType] = []
    if shown:
        parts.append(_case_table(shown, width))
    if len(shown) < len(rows):
        parts.append(_hidden(rows, len(shown)))
    parts += [_summary(document), *_isolation(document["isolation"])]
    return _render(parts, width, color)


def render_runs(rows: Iterable[show.RunRow], *, width: int = LOG_COLUMNS, color: bool = False) -> str:
    """`print_runs` as text."""
    table = _table(width)
    for heading in ("run", "suite", "result", "passed", "started", "took"):
        table.add_column(
            heading, overflow="fold" if heading == "run" else "ellipsis", no_wrap=heading != "run"
        )
    for row in rows:
        passed = "" if row.planned is None else f"{row.passed}/{row.planned}"
        took = "" if row.duration_s is None else duration(row.duration_s)
        texts = (row.run_id, row.suite, row.state, passed, row.started_at, took)
        table.add_row(*map(_text, texts))
    return _render([table], width, color)


def _case_table(rows: Iterable[show.CaseRow], width: int) -> Any:
    table = _table(width)
    table.add_column("case", overflow="ellipsis", no_wrap=True, min_width=4)
    table.add_column("passed", justify="right", no_wrap=True)
    table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=1)
    if width >= 60:
        table.add_column("start", justify="right", no_wrap=True)
    for row in rows:
        style = "green" if row.passed == row.trials else "red"
        cells = [_text(row.label), _text(f"{row.passed}/{row.trials}", style), _text(_why(row.why, width))]
        if width >= 60:
            cells.append(_text("" if row.start_ms is None else f"{row.start_ms:.0f} ms"))
        table.add_row(*cells)
    return table


def _why(why: str, width: int) -> str:
    # "+2 more" stands at the end, where a narrow table would cut: keep it and shorten what is before it.
    text, mark, more = why.rpartition(" (+")
    if not mark:
        return one_line(why, width)
    return f"{one_line(text, max(width - len(more) - 3, 8))}{mark}{more}"


def _hidden(rows: list[show.CaseRow], shown: int) -> Any:
    failing = sum(row.passed < row.trials for row in rows)
    passing = len(rows) - failing
    text = f"{passing} more cases passed every trial"
    if failing > shown:
        text = f"{failing - shown} more cases did not pass (all of them: --json PATH); {text}"
    return _text(text, "dim")


def _summary(document: Mapping[str, Any]) -> Any:
    counts = document["counts"]
    told = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    judged = counts["passed"] + counts["failed"] + counts["timeout"]
    rate = verdict.percent(counts["passed"], judged) if judged else "unknown"
    threshold = verdict.format_percent(document["fail_under"])
    took = duration(document["duration_s"])
    return _text(
        f"{counts['planned']} trials{told and ': '}{told}; pass rate {rate} (needed: {threshold}); {took}"
    )


def _isolation(isolation: Mapping[str, Any]) -> list[Any]:
    if isolation["driver"] == "process":
        return [_text(_NO_ISOLATION, "bold red")]
    names = "/".join(one_line(part) for part in (isolation["driver"], isolation["accel"]) if part)
    boundary = "a security boundary" if isolation["security_boundary"] else "not a security boundary"
    return [_text(f"isolation: {names}: state isolated; {boundary}", "dim")]


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text

    # Text, not markup: an agent's `[red]` or `[link=…]` stays what it is.
    return Text(one_line(text), style=style)


def _table(width: int) -> Any:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD if width >= 40 else None, pad_edge=False, expand=False, header_style="bold"
    )


def _render(parts: Iterable[RenderableType], width: int, color: bool) -> str:
    from rich.console import Console

    buffer = io.StringIO()
    console: Console = Console(
        file=buffer,
        width=max(width, _MIN_COLUMNS),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _print(render: Any, value: Any, file: TextIO | None) -> None:
    stream = sys.stdout if file is None else file
    live = is_live(stream)
    width = shutil.get_terminal_size((LOG_COLUMNS, 24)).columns if live else LOG_COLUMNS
    text: str = render(value, width=width, color=live and not os.environ.get("NO_COLOR"))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if not encoding.lower().startswith("utf"):
        text = text.translate({ord("─"): "-", ord("…"): "..."})
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
