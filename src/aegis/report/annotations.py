"""A run as remarks at the lines of its suite: workflow commands for GitHub, a Code Quality report for GitLab.

GitHub shows 10 errors, 10 warnings and 10 notices a step, and 50 remarks a job; what comes after them is dropped
without a word, so the last one of a kind says how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aegis.report import comparison as words
from aegis.report.text import counted, one_line
from aegis.results import show

Document = Mapping[str, Any]
Kind = Literal["error", "warning", "notice"]

LIMIT = 10
MAX_TITLE = 100
MAX_MESSAGE_LINE = 400
_SEVERITY = {"error": "critical", "warning": "minor", "notice": "info"}


@dataclass(frozen=True, slots=True)
class _Remark:
    kind: Kind
    check: str
    """What it is about, in one word: `regression`."""
    case: str | None
    title: str
    lines: Sequence[str]


def github(document: Document, limit: int = LIMIT) -> list[str]:
    """Workflow commands, each one line for standard output. Regressions are errors, and so are failing cases where
    these decide (a threshold, no comparison, `--fail-on new-failure`); other failing cases, what could not be judged
    and drift are warnings, what got better is a notice. At most `limit` of a kind, the most important first. Raises
    `ValueError` for a limit below 1."""
    if limit < 1:
        raise ValueError(f"the limit must be at least 1, not {limit}")
    places = _places(document)
    remarks = list(_remarks(document))
    commands = []
    for kind in ("error", "warning", "notice"):
        found = [remark for remark in remarks if remark.kind == kind]
        shown = found if len(found) <= limit else found[: limit - 1]
        commands += [_command(remark, places.get(remark.case or "")) for remark in shown]
        if len(shown) < len(found):
            text = (
                f"{len(found) - len(shown)} more like this: the summary and the run document have all of them"
            )
            commands.append(f"::{kind} title={_property('aegis: and more')}::{_data(text)}")
    return commands


def gitlab_codequality(document: Document) -> list[dict[str, Any]]:
    """The same as the content of a Code Quality report (JSON). GitLab wants a path and a line of each: line 1 of
    `aegis.toml` for what has no place of its own."""
    places = _places(document)
    prefix = (document["git"] or {}).get("prefix") or ""
    issues = []
    for remark in _remarks(document):
        path, line = places.get(remark.case or "") or (f"{prefix}aegis.toml", 1)
        identity = "\0".join((document["suite"], remark.check, remark.title))
        issues.append(
            {
                "description": f"{remark.title}: {'; '.join(remark.lines)}",
                "check_name": f"aegis-{remark.check}",
                "fingerprint": hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest(),
                "severity": _SEVERITY[remark.kind],
                "location": {"path": path, "lines": {"begin": line}},
            }
        )
    return issues


def _places(document: Document) -> dict[str, tuple[str, int]]:
    """Case → path from the repository's root, and line."""
    prefix = (document["git"] or {}).get("prefix") or ""
    return {
        item["case"]: (one_line(f"{prefix}{item['file']}"), item["line"] or 1)
        for item in document["cases"]
        if item["file"] is not None
    }


def _remarks(document: Document) -> Iterator[_Remark]:
    """The most important first within each kind; of each title one, since GitLab tells them apart by it."""
    baseline = document.get("baseline") or {}
    comparison = baseline.get("comparison")
    reasons = {(row.case, row.variant): row.why for row in show.case_rows(document)}
    regressed = {(item["case"], item["variant"]) for item in document["regressions"]}
    for item in document["regressions"]:
        why = reasons.get((item["case"], item["variant"]), "")
        yield _about("error", "regression", item, "got worse", item["text"], why)
    if comparison is not None and (overall := comparison["overall"]) is not None and overall["worse"]:
        told = (words.overall_text(overall),)
        yield _Remark("error", "regression", None, "the suite as a whole got worse", told)
    yield from _failing(document, regressed)
    if baseline.get("problem") is not None:
        lines = _lines(baseline["problem"], baseline["fix"] or "")
        yield _Remark("warning", "baseline", None, f"no comparison with {_short(baseline['asked'])}", lines)
    if comparison is None:
        return
    cases = comparison["cases"]
    for item in cases:
        if item["status"] == "suspect":
            yield _about("warning", "suspect", item, "may have got worse", item["text"])
    for item in words.unjudged(cases):
        # What it passed too seldom for is a matter of the suite, and the same in every run.
        if item["gap"]["blocks"]:
            yield _about("warning", "unjudged", item, "could not be judged", item["gap"]["why"])
    yield from _drift(comparison["drift"])
    for item in cases:
        if item["status"] == "improved":
            yield _about("notice", "improvement", item, "got better", item["text"])


def _failing(document: Document, regressed: set[tuple[str, str]]) -> Iterator[_Remark]:
    decisive = _decisive(document)
    rows = {(row.case, row.variant): row for row in show.case_rows(document)}
    for key, trials in _grouped(document, ("failed", "timeout")).items():
        if key not in regressed:
            text = f"{len(trials)} of {counted(rows[key].trials, 'trial')} failed"
            item = {"case": key[0], "variant": key[1]}
            kind: Kind = "error" if decisive is None or key in decisive else "warning"
            yield _about(kind, "failure", item, "failed", text, show.reason(trials[0]))
    if document.get("baseline") is None:
        for key, trials in _grouped(document, ("error", "cancelled")).items():
            text = f"{len(trials)} of {counted(rows[key].trials, 'trial')} not judged"
            item = {"case": key[0], "variant": key[1]}
            yield _about("warning", "unjudged", item, "could not be judged", text, show.reason(trials[0]))


def _grouped(document: Document, outcomes: Sequence[str]) -> dict[tuple[str, str], list[Document]]:
    """(case, variant) → its trials with one of these outcomes."""
    found: dict[tuple[str, str], list[Document]] = {}
    for trial in document["trials"]:
        if trial["outcome"] in outcomes:
            found.setdefault((trial["case"], trial["variant"]), []).append(trial)
    return found


def _decisive(document: Document) -> set[tuple[str, str]] | None:
    """The cases whose failing counts against the run by itself; None: all of them."""
    if document["verdict"] == "PASS":
        return set()
    comparison = (document.get("baseline") or {}).get("comparison")
    if comparison is None or document["verdict"] == "BELOW_THRESHOLD":
        return None
    if "new-failure" in comparison["policy"]["fail_on"]:
        return {(item["case"], item["variant"]) for item in comparison["new_failures"]}
    return set()


def _drift(findings: Sequence[Document]) -> Iterator[_Remark]:
    """One for each case."""
    for name, found in words.drifted(findings):
        case = found[0]["case"]
        lines = _lines(*(words.finding_text(finding) for finding in found[:5]))
        if len(found) > 5:
            lines = (*lines, f"and {len(found) - 5} more")
        yield _Remark("warning", "drift", case, f"{_short(name)}: drift", lines)


def _about(kind: Kind, check: str, item: Document, what: str, *lines: str) -> _Remark:
    return _Remark(kind, check, item["case"], f"{_short(words.label(item))}: {what}", _lines(*lines))


def _lines(*texts: str) -> tuple[str, ...]:
    return tuple(one_line(text, MAX_MESSAGE_LINE) for text in texts if text)


def _short(name: str) -> str:
    return one_line(name, MAX_TITLE)


def _command(remark: _Remark, place: tuple[str, int] | None) -> str:
    where = f"file={_property(place[0])},line={place[1]}," if place is not None else ""
    return f"::{remark.kind} {where}title={_property(remark.title)}::{_data(chr(10).join(remark.lines))}"


def _data(text: str) -> str:
    """As `escapeData` of GitHub's toolkit (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """As `escapeProperty` there."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
