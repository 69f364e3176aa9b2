"""A run as Markdown: for the summary of a step on GitHub, and for one comment on a pull request that is kept up to
date. The verdict comes first, then what a reviewer has to know, then the rest folded away.

Limits: a step's summary may have 1 MiB (docs.github.com, "Workflow commands"), a comment's body 65,536 characters
(the API refuses more).
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.report import comparison as words
from aegis.report.mdtext import Section, cell, code, fit, prose
from aegis.report.outside import consumed
from aegis.report.tally import duration
from aegis.report.text import counted
from aegis.results import show, verdict

Document = Mapping[str, Any]

SUMMARY_BYTES = 1_024_000
COMMENT_BYTES = 64_000
MIN_BYTES = 16_000
"""A smaller limit might not hold the verdict with its baseline."""

_ICONS = {"PASS": "✅", "REGRESSED": "❌", "BELOW_THRESHOLD": "❌", "INCONCLUSIVE": "⚠️"}
_SAID = {
    "PASS": "passed",
    "REGRESSED": "got worse",
    "BELOW_THRESHOLD": "is below its threshold",
    "INCONCLUSIVE": "could not be judged",
}
_MORE = "the run document has all of it"
_NOTES = 5
_REPRODUCED = 10
"""Cases that the command to run again names."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]|-(?=-)")
"""What could end an HTML comment, or hide in one."""
_MARKER_CHARS = 200
_FINDING_CHARS = 400


def summary(document: Document, *, max_bytes: int = SUMMARY_BYTES) -> str:
    """A run document as Markdown for `$GITHUB_STEP_SUMMARY`. Never more than `max_bytes` of UTF-8: whole rows are left
    out, and counted. Raises `ValueError` below `MIN_BYTES`."""
    return _page(document, "", max_bytes)


def comment(document: Document, *, max_bytes: int = COMMENT_BYTES) -> str:
    """The same as the body of a comment, whose first line is `marker(suite)`, so that the next run finds and replaces
    it."""
    return _page(document, marker(document["suite"]) + "\n", max_bytes)


def marker(suite: str) -> str:
    """The hidden first line of the comment about a suite: `<!-- aegis:production-v2 -->`. Different suites have
    different ones, whatever their names."""
    name = _NOT_PLAIN.sub(_percent, suite)
    if len(name) > _MARKER_CHARS:
        name = f"~{hashlib.sha256(suite.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"<!-- aegis:{name} -->"


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _page(document: Document, first_line: str, max_bytes: int) -> str:
    if max_bytes < MIN_BYTES:
        raise ValueError(f"max_bytes must be at least {MIN_BYTES:,}, not {max_bytes:,}")
    top = first_line + "".join(_top(document))
    return fit(top, list(_sections(document)), "".join(_bottom(document)), max_bytes, _MORE)


def _top(document: Document) -> Iterator[str]:
    word = document["verdict"]
    yield f"## {_ICONS[word]} {word}: {code(document['suite'], 100)} {_SAID[word]}\n\n"
    counts = document["counts"]
    judged = counts["passed"] + counts["failed"] + counts["timeout"]
    rate = f" ({verdict.percent(counts['passed'], judged)})" if judged else ""
    needed = document["fail_under"]
    threshold = "" if needed is None else f", {verdict.format_percent(needed)} needed"
    unjudged = counts["error"] + counts["cancelled"]
    missing = f", **{counted(unjudged, 'trial')} not judged**" if unjudged else ""
    yield f"{counts['passed']:,} of {counted(counts['planned'], 'trial')} passed{rate}{threshold}{missing}.\n\n"
    if document["isolation"]["driver"] == "process":
        yield "**No isolation:** trials ran as plain processes and could see each other.\n\n"
    if document["replay_of"]:
        yield f"**Replay** of run {code(document['replay_of'], 100)}: no baseline, and not comparable.\n\n"
    baseline = document.get("baseline")
    if baseline is not None:
        yield from _baseline(baseline)


def _baseline(baseline: Document) -> Iterator[str]:
    if baseline["problem"] is not None:
        fix = f" Fix: {code(baseline['fix'])}" if baseline["fix"] else ""
        asked = code(baseline["asked"], 100)
        yield f"⚠️ **No comparison** with {asked}: {prose(baseline['problem'])}.{fix}\n\n"
    found = baseline["comparison"]
    if found is not None:
        overall = found["overall"]
        worse = "**Worse as a whole**: " if overall and overall["worse"] else ""
        told = f": {worse}{words.overall_text(overall).replace('<', '&lt;')}" if overall else ""
        yield f"Baseline {code(baseline['asked'], 100)}: {words.where(baseline, _mark)}.\n"
        yield f"{counted(found['compared'], 'case')} compared{told}.\n\n"
    notes = [f"- {prose(note)}\n" for note in baseline["notes"]]
    notes += [
        f"- Passed over: {words.passed_over(item, _mark)}{prose(item['why'])}\n"
        for item in baseline["skipped"]
    ]
    if notes:
        rest = f"- … and {len(notes) - _NOTES} more\n" if len(notes) > _NOTES else ""
        yield "".join(notes[:_NOTES]) + rest + "\n"


def _sections(document: Document) -> Iterator[Section]:
    baseline = document.get("baseline") or {}
    found = baseline.get("comparison")
    if found is not None:
        cases = found["cases"]
        yield _table("Regressions", "regressions", document["regressions"])
        yield _table("May have got worse, not confirmed", "suspects", _with(cases, "suspect"))
        yield Section(
            "cases that could not be judged",
            "### Could not be judged\n\n",
            [f"- {_name(case)}: {prose(case['gap']['why'])}\n" for case in words.unjudged(cases)],
            "\n",
        )
        yield Section(
            "cases that failed for the first time",
            "### Failed for the first time\n\n",
            [f"- {_name(key)}\n" for key in found["new_failures"]],
            "\n",
        )
    yield _failing(document)
    if found is not None:
        yield _drift(found["drift"])
        yield _table("Better", "cases that got better", _with(cases, "improved"), fold=True)
        yield _table(
            "Cleared: looked worse, and trying again did not confirm it",
            "cleared cases",
            _with(cases, "cleared"),
            fold=True,
        )
        yield _folded(
            "Flaky before",
            "flaky cases",
            [(case, prose(words.flaky(case))) for case in cases if case["flaky"]],
        )
        for what, keys in words.apart(found):
            yield _folded(what.capitalize(), what, [(key, "") for key in keys])


def _with(cases: Sequence[Document], status: str) -> list[Document]:
    return [case for case in cases if case["status"] == status]


def _table(title: str, what: str, cases: Sequence[Document], *, fold: bool = False) -> Section:
    """Rates and p-values; the surest first, as they come."""
    head = "| case | before | now | tried again | p |\n|---|---|---|---|---|\n"
    rows = []
    for case in cases:
        rates = " | ".join(_of(case[name]) for name in ("before", "now", "confirmation"))
        rows.append(f"| {cell(words.label(case))} | {rates} | {_p(case)} |\n")
    if fold:
        return Section(what, f"{_details(title, len(rows))}{head}", rows, "\n</details>\n\n")
    return Section(what, f"### {title}\n\n{head}", rows, "\n")


def _of(tally: Document | None) -> str:
    if tally is None:
        return ""
    lost = f", {tally['lost']} lost" if tally["lost"] else ""
    return f"{tally['passed']} of {tally['judged']}{lost}"


def _p(case: Document) -> str:
    p = case["adjusted_p"]
    return "" if p is None else words.probability(p).removeprefix("= ").replace("<", "&lt;")


def _failing(document: Document) -> Section:
    rows = []
    for row in show.case_rows(document):
        if row.passed < row.trials:
            rows.append(f"- {code(row.label)} {row.passed} of {row.trials}: {code(row.why)}\n")
    return Section(
        "failing cases", _details("Cases that did not always pass", len(rows)), rows, "\n</details>\n\n"
    )


def _drift(findings: Sequence[Document]) -> Section:
    groups = words.drifted(findings)
    rows = []
    for name, found in groups:
        lines = [f"- {code(name)}\n"]
        lines += [f"  - {code(words.finding_text(finding), _FINDING_CHARS)}\n" for finding in found[:10]]
        if len(found) > 10:
            lines.append(f"  - … and {len(found) - 10} more\n")
        rows.append("".join(lines))
    untested = sum(finding["grade"] == "untested" for finding in findings)
    tail = (
        f"\n{counted(untested, 'further difference')} with too few trials to tell from chance.\n"
        if untested
        else ""
    )
    return Section("cases that drifted", _details("Drift", len(rows)), rows, f"{tail}\n</details>\n\n")


def _folded(title: str, what: str, rows: Sequence[tuple[Document, str]]) -> Section:
    listed = [f"- {_name(key)}{': ' if text else ''}{text}\n" for key, text in rows]
    return Section(what, _details(title, len(listed)), listed, "\n</details>\n\n")


def _details(title: str, number: int) -> str:
    """The head of a folded part; the title is ours. After the empty line Markdown is read again."""
    return f"<details><summary>{title} ({number:,})</summary>\n\n"


def _bottom(document: Document) -> Iterator[str]:
    parts = [f"Run {code(document['run_id'], 100)} took {duration(document['duration_s'])}"]
    for line in consumed(document):
        who, _, amounts = line.partition(": ")
        # Two dollar signs would make a formula of what is between them.
        parts.append(f"{who}: {prose(amounts.replace('$', 'USD '))}")
    if (cost := (document.get("baseline") or {}).get("confirmed")) is not None:
        parts.append(f"confirming: {words.confirmed(cost).replace('$', 'USD ')}")
    yield f"{'; '.join(parts)}.\n\n"
    if command := reproduce(document):
        what = "what got worse" if document["regressions"] else "what did not pass"
        yield f"To run {what} again:\n\n```sh\n{command}\n```\n"


def reproduce(document: Document) -> str | None:
    """The command that runs the regressed, or else the failing, cases again; None when there are none. Cases whose
    names could mean something to a shell, or to `-k`, are left out."""
    regressed = [item["case"] for item in document["regressions"]]
    failing = [row.case for row in show.case_rows(document) if row.passed < row.trials]
    cases = [name for name in dict.fromkeys(regressed or failing) if _ID.fullmatch(name)]
    cases = [name for name in cases if name.lower() not in ("and", "or", "not")]
    if not cases or not _ID.fullmatch(document["suite"]):
        return None
    command = ["aegis", "eval", "run", "-s", document["suite"], "-k", " or ".join(cases[:_REPRODUCED])]
    baseline = document.get("baseline")
    if baseline is not None and _REF.fullmatch(baseline["asked"]):
        command += ["--baseline", baseline["asked"]]
    return shlex.join(command)


def _mark(text: str) -> str:
    return code(text, 100)


def _name(key: Document) -> str:
    return code(words.label(key))
