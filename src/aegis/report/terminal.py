"""What the command line prints: progress while a run goes on, then the table and the `RESULT:` line.

Progress stands in progress.py and is offered here, so that there is one place to import from.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from aegis.report.changedlines import changed_lines
from aegis.report.comparison import comparison_lines
from aegis.report.outside import (
    consumed,
    denied_lines,
    fault_lines,
    part_lines,
    replay_lines,
)
from aegis.report.progress import Progress, is_live
from aegis.report.stresslines import stress_lines
from aegis.report.tally import duration
from aegis.report.text import columns, one_line
from aegis.results import show, verdict
from aegis.results.records import OUTCOMES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "Progress",
    "print_lines",
    "print_runs",
    "print_table",
    "render_runs",
    "render_table",
    "result_line",
]

MAX_ROWS = 100
"""A longer table shows the cases that did not pass and counts the others."""

LOG_COLUMNS = 120
"""Width of a table that goes to a file or pipe."""

_MIN_COLUMNS = 20
_WITH_BOX = 40
_WITH_START = 60
"""From this width on, a table has a line below its head, and a column for start times."""

_MORE = re.compile(r" \(\+\d+ more\)$")

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


def print_lines(lines: Callable[[int], Iterable[tuple[str, str]]], file: TextIO | None = None) -> None:
    """Print lines that are safe already, each with its style, to `file` (default: standard output); they are made for
    the width of it."""
    _print(_render_lines, lines, file)


def result_line(document: Mapping[str, Any]) -> str:
    """`RESULT: PASS 24/24 trials (100.0 %) suite production-v2 run 20261123-…`: the last line of a command,
    made from the document that sets the exit code."""
    counts = document["counts"]
    # Documents of earlier versions don't have it.
    text = document.get("result") or verdict.describe(
        document["verdict"], counts, counts["planned"], document["fail_under"]
    )
    return f"RESULT: {one_line(text)} suite {one_line(document['suite'])} run {one_line(document['run_id'])}"


def render_table(document: Mapping[str, Any], *, width: int = LOG_COLUMNS, color: bool = False) -> str:
    """`print_table` as text. Everything in it that a suite or an agent wrote is made safe (text.py)."""
    width = max(width, _MIN_COLUMNS)
    rows = show.case_rows(document)
    shown = rows if len(rows) <= MAX_ROWS else [row for row in rows if row.passed < row.trials][:MAX_ROWS]
    parts: list[RenderableType] = []
    if shown:
        parts.append(_case_table(shown, width))
    if len(shown) < len(rows):
        parts.append(_hidden(rows, len(shown)))
    parts += [_summary(document), *map(_text, consumed(document)), *_isolation(document["isolation"])]
    parts += [_text(line, "bold red") for line in replay_lines(document)]
    parts += [_text(line) for line in stress_lines(document)]
    parts += [_text(line, "red") for line in part_lines(document)]
    parts += [_text(line) for line in changed_lines(document)]
    parts += [_text(line, "yellow") for line in (*fault_lines(document), *denied_lines(document))]
    parts += [_safe_text(line, style) for line, style in comparison_lines(document)]
    return _render(parts, width, color)


def render_runs(rows: Iterable[show.RunRow], *, width: int = LOG_COLUMNS, color: bool = False) -> str:
    """`print_runs` as text. Where there isn't room for every column, the least telling ones are left out; the id is
    there to be copied and always whole."""
    width = max(width, _MIN_COLUMNS)
    rows = list(rows)
    cells = {heading: [one_line(cell(row)) for row in rows] for heading, cell in _RUN_CELLS.items()}
    kept = _fitting({heading: [heading, *texts] for heading, texts in cells.items()}, width)
    table = _table(width)
    for heading in kept:
        table.add_column(heading, no_wrap=heading != "run", overflow="fold")
    for texts in zip(*(cells[heading] for heading in kept), strict=True):
        table.add_row(*map(_text, texts))
    return _render([table], width, color)


_RUN_CELLS: dict[str, Callable[[show.RunRow], str]] = {
    "run": lambda row: row.run_id,
    "suite": lambda row: row.suite,
    "result": lambda row: row.state,
    "passed": lambda row: "" if row.planned is None else f"{row.passed}/{row.planned}",
    "started": lambda row: row.started_at,
    "took": lambda row: "" if row.duration_s is None else duration(row.duration_s),
}


def _fitting(texts: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The headings of the columns that fit side by side, `run` always among them."""
    gap = 4 if width >= _WITH_BOX else 2
    kept = list(texts)
    for dropped in ("took", "started", "suite", "passed", "result"):
        if sum(max(map(columns, texts[heading])) + gap for heading in kept) <= width:
            break
        kept.remove(dropped)
    return kept


def _case_table(rows: Sequence[show.CaseRow], width: int) -> Any:
    case_columns, why_columns = _share(rows, width)
    table = _table(width)
    table.add_column("case", no_wrap=True)
    table.add_column("passed", justify="right", no_wrap=True)
    if why_columns:
        table.add_column("why", no_wrap=True)
    if width >= _WITH_START:
        table.add_column("start", justify="right", no_wrap=True)
    for row in rows:
        style = "green" if row.passed == row.trials else "red"
        cells = [_text(one_line(row.label, case_columns)), _text(f"{row.passed}/{row.trials}", style)]
        if why_columns:
            cells.append(_text(_why(row.why, why_columns)))
        if width >= _WITH_START:
            cells.append(_text("" if row.start_ms is None else f"{row.start_ms:.0f} ms"))
        table.add_row(*cells)
    return table


def _share(rows: Sequence[show.CaseRow], width: int) -> tuple[int, int]:
    """Columns for the case and for the reason (0: no room, or nothing to tell). Numbers are never cut: a
    table that is too wide loses text, of the reason first where the case's name is short."""
    gap = 4 if width >= _WITH_BOX else 2
    numbers = max(6, *(len(f"{row.passed}/{row.trials}") for row in rows)) + gap
    if width >= _WITH_START:
        numbers += max(5, *(len(f"{row.start_ms or 0:.0f} ms") for row in rows)) + gap
    room = max(width - numbers - 2 * gap, 4)
    case = min(max(columns(one_line(row.label)) for row in rows), max(room * 2 // 5, 10))
    if not any(row.why for row in rows) or room - case < 8:
        return room, 0
    return case, room - case


def _why(why: str, width: int) -> str:
    # "+2 more" stands at the end, where a narrow table would cut: keep it and shorten what is before it.
    more = _MORE.search(why)
    if more is None or len(more[0]) + 8 > width:
        return one_line(why, width)
    return one_line(why[: more.start()], width - len(more[0])) + more[0]


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
    needed = document["fail_under"]
    threshold = "" if needed is None else f" (needed: {verdict.format_percent(needed)})"
    took = duration(document["duration_s"])
    return _text(f"{counts['planned']} trials{told and ': '}{told}; pass rate {rate}{threshold}; {took}")


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


def _render_lines(lines: Callable[[int], Iterable[tuple[str, str]]], *, width: int, color: bool) -> str:
    width = max(width, _MIN_COLUMNS)
    return _render([_safe_text(line, style) for line, style in lines(width)], width, color)


def _safe_text(text: str, style: str) -> Any:
    """Of a line that is safe already, and may be indented."""
    from rich.text import Text

    return Text(text, style=style)


def _table(width: int) -> Any:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD if width >= _WITH_BOX else None, pad_edge=False, expand=False, header_style="bold"
    )


def _render(parts: Iterable[RenderableType], width: int, color: bool) -> str:
    from rich.console import Console

    buffer = io.StringIO()
    console: Console = Console(
        file=buffer,
        width=width,
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
