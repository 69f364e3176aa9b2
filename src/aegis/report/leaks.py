"""The report of a leak audit on a terminal, from its document (`aegis.audit/1`)."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from aegis.report.progress import is_live
from aegis.report.tally import duration
from aegis.report.text import columns, counted, one_line

LOG_COLUMNS = 110
MAX_COLUMNS = 120
MAX_CARRIERS = 4
"""Of one case, when none of them is confirmed."""
NAME_COLUMNS = 90
_MODES = {
    "fresh": "a fresh machine each",
    "shared": "one machine",
    "reset": "one machine, reset steps between",
}
_AS = {"fresh": "in fresh machines", "shared": "in one machine", "reset": "in one machine, with reset steps"}
_WHY = {
    "chance": "no more than its own chance",
    "budget": "the probes were used up: raise --max-probes",
    "errors": "infrastructure errors",
}


def print_report(document: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Write it to `file` (default: standard output)."""
    stream = sys.stdout if file is None else file
    width = LOG_COLUMNS
    if is_live(stream):
        width = min(MAX_COLUMNS, shutil.get_terminal_size((LOG_COLUMNS, 24)).columns)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = render_report(document, width=width)
    if not encoding.lower().startswith("utf"):
        text = text.translate({ord("–"): "-", ord("…"): "...", ord("→"): "->"})
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def render_report(document: Mapping[str, Any], *, width: int = LOG_COLUMNS) -> str:
    """The report as text. Everything in it that a suite or a machine wrote is made safe (text.py)."""
    return "\n".join(line.rstrip() for line in _lines(document, width)) + "\n"


def _lines(document: Mapping[str, Any], width: int) -> Iterator[str]:
    yield headline(document)
    yield ""
    yield from _rates(document)
    dependent = [case for case in document["cases"] if case["dependent"]]
    cases = len({trial["case"] for trial in document["groups"][0]["trials"]})
    yield ""
    if not dependent:
        yield f"No case of {cases} was shown to depend on what ran before it {_AS[document['studied']]}."
        if document["p"] <= 0.025:
            p = f"{document['p']:.2g}"
            yield f"The suite as a whole does differ (p = {p}): more --orders or --trials would name cases."
    else:
        verb = "depends" if len(dependent) == 1 else "depend"
        yield f"{len(dependent)} of {counted(cases, 'case')} {verb} on what ran before, {_AS[document['studied']]}:"
    for case in dependent:
        yield ""
        for line in _case(case):
            yield from _wrapped(line, width)
    doubtful = [case for case in document["cases"] if not case["dependent"]]
    if doubtful:
        yield ""
        yield "Differed too, without proof:"
        for case in doubtful:
            yield f"  {one_line(case['case'], NAME_COLUMNS)}: {_WHY.get(case['why'], 'not decided')}"
    if document["notes"]:
        yield ""
    for note in document["notes"]:
        yield from _wrapped(f"note: {one_line(note, 400)}", width)
    yield ""
    probes = document["probes"]
    used = f"{counted(probes['used'], 'probe')} of {probes['max']}"
    yield f"{used}; seed {document['seed']}; {duration(document['duration_s'])}"


def headline(document: Mapping[str, Any]) -> str:
    """`leaky-suite: 94 % shown in one machine, 81 % true.`"""
    shown, true = document["shown"], document["true"]
    where = _AS["shared"] if document["as"] == "fresh" else _AS[document["as"]]
    suite = one_line(document["suite"], NAME_COLUMNS)
    return f"{suite}: {whole_percent(shown)} shown {where}, {whole_percent(true)} true."


def whole_percent(value: float | None) -> str:
    return "nothing" if value is None else f"{int(100 * value + 0.5)} %"


def _rates(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [("", "order", "passed", "rate", "95 % interval")]
    last = None
    for group in document["groups"]:
        rate = "unknown" if group["rate"] is None else f"{100 * group['rate']:.1f} %"
        errors = f", {group['errors']} not judged" if group["errors"] else ""
        mode = "" if group["mode"] == last else _MODES[group["mode"]]
        last = group["mode"]
        rows.append(
            (
                mode,
                group["order"] or "any",
                f"{group['passed']}/{group['judged']}{errors}",
                rate,
                f"{100 * group['low']:.1f}–{100 * group['high']:.1f} %",
            )
        )
    widths = [max(columns(row[at]) for row in rows) for at in range(5)]
    for row in rows:
        left = [f"{cell:<{wide}}" for cell, wide in zip(row[:2], widths[:2], strict=True)]
        right = [f"{cell:>{wide}}" for cell, wide in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join([*left, *right])


def _case(case: Mapping[str, Any]) -> Iterator[str]:
    name = one_line(case["case"], NAME_COLUMNS)
    by = " + ".join(one_line(each, NAME_COLUMNS) for each in case["culprits"])
    verb = "passes only after" if case["effect"] == "masked" else "fails only after"
    if not by:
        yield f"  {name}: {'passes' if case['effect'] == 'masked' else 'fails'} after others; who it was was not found"
        yield f"    {_counts(case)}; p = {case['p']:.2g}"
        return
    only = "" if case["minimal"] else " (perhaps fewer of them: the probes were used up)"
    yield (
        f"  {by} → {name}: {verb} it{only}"
        if len(case["culprits"]) == 1
        else f"  {by} → {name}: {verb} them{only}"
    )
    yield f"    {_counts(case)}{_experiment(case['experiment'])}"
    confirmed = [carrier for carrier in case["carriers"] if carrier["confirmed"]]
    for carrier in confirmed:
        yield f"    carried by {_carrier(carrier)}; undone, the usual result is back"
    if not confirmed:
        for carrier in case["carriers"][:MAX_CARRIERS]:
            yield f"    left behind: {_carrier(carrier)}"
        more = len(case["carriers"]) + case["more_carriers"] - MAX_CARRIERS
        if more > 0:
            yield f"    left behind: {more} more (--json PATH has them)"
    if case["carriers_note"]:
        yield f"    {one_line(case['carriers_note'], 300)}"
    if case["cleaned_by_reset"] is not None:
        yield f"    the reset steps {'clean' if case['cleaned_by_reset'] else 'do NOT clean'} it"


def _counts(case: Mapping[str, Any]) -> str:
    fresh, shared = case["fresh"], case["shared"]
    parts = [f"fresh {fresh['passed']}/{fresh['judged']}", f"shared {shared['passed']}/{shared['judged']}"]
    if case["reset"] is not None:
        parts.append(f"with reset {case['reset']['passed']}/{case['reset']['judged']}")
    return "passed: " + ", ".join(parts)


def _experiment(experiment: Mapping[str, Any] | None) -> str:
    if experiment is None:
        return ""
    alone, after = experiment["alone"], experiment["after"]
    return (
        f"; again alone {alone['passed']}/{alone['judged']}, right after it {after['passed']}/{after['judged']} "
        f"(p = {experiment['p']:.2g})"
    )


def _carrier(carrier: Mapping[str, Any]) -> str:
    name = one_line(carrier["name"], NAME_COLUMNS)
    if carrier["kind"] == "process":
        return f"a process left running: {name}"
    inside = "; ".join(_rows(each) for each in carrier["rows"])
    return f"{carrier['kind']} {name}, {carrier['how']}" + (f" ({inside})" if inside else "")


def _rows(change: Mapping[str, Any]) -> str:
    table = one_line(change["table"], 60)
    examples = " | ".join(one_line(each, 60) for each in change["examples"])
    told = f": {examples}" if examples else ""
    if change["how"] == "deleted":
        return f"table {table} deleted with {counted(change['deleted'], 'row')}"
    if change["how"] == "added":
        return f"table {table} added with {counted(change['added'], 'row')}{told}"
    parts = [f"{counted(change['added'], 'row')} added"] if change["added"] else []
    parts += [f"{counted(change['deleted'], 'row')} deleted"] if change["deleted"] else []
    return f"table {table}: {', '.join(parts)}{told}"


def _wrapped(line: str, width: int) -> list[str]:
    indent = len(line) - len(line.lstrip())
    return textwrap.wrap(
        line,
        max(40, width),
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [""]
