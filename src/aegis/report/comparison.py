"""How a run compares with its baseline, in lines for a terminal: the last thing that a person reads before a merge.

Everything that a suite or an agent wrote is made safe in here (text.py); whoever prints the lines prints them as they
are, since some are indented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aegis.regression.stats.passk import all_pass
from aegis.report.money import money
from aegis.report.tally import duration
from aegis.report.text import counted, one_line

Document = Mapping[str, Any]
Mark = Callable[[str], str]
Line = tuple[str, str]
"""A line, and its style in the words of rich."""

MAX_CASES = 20
"""Of a kind that are shown one by one."""
MAX_OTHERS = 5
"""Of those that are good to know: cleared, better, flaky, new."""
MAX_FINDINGS = 5
"""Differences that are shown of one case."""

_ORDER = ("always", "significant", "untested")


def comparison_lines(document: Document) -> Iterator[Line]:
    """Of a run document; nothing when no baseline was asked for."""
    if (baseline := document.get("baseline")) is not None:
        yield from baseline_lines(baseline)
        if baseline["comparison"] is not None:
            yield from compared_lines(baseline["comparison"], document["regressions"])
        if baseline["confirmed"] is not None:
            yield f"confirming: {confirmed(baseline['confirmed'])}", ""


def baseline_lines(baseline: Document) -> Iterator[Line]:
    """What was compared with, and what was passed over on the way to it; or why there is nothing."""
    if baseline["problem"] is not None:
        yield f"no comparison with {_safe(baseline['asked'])}: {_safe(baseline['problem'])}", "yellow"
        if baseline["fix"]:
            yield f"  fix: {_safe(baseline['fix'])}", "yellow"
    if baseline["comparison"] is not None:
        yield f"baseline {_safe(baseline['asked'])}: {_safe(where(baseline))}", ""
    yield from _few([f"  note: {_safe(note)}" for note in baseline["notes"]], MAX_OTHERS, "notes", "yellow")
    skipped = [
        f"  passed over: {_safe(passed_over(item))} {_safe(item['why'])}" for item in baseline["skipped"]
    ]
    yield from _few(skipped, MAX_OTHERS, "results that cannot be the baseline", "dim")


def compared_lines(
    comparison: Document,
    regressions: Sequence[Document],
    *,
    everything: bool = False,
    more: str = "--json PATH",
) -> Iterator[Line]:
    """What the comparison found, worst first. `everything`: nothing is left out; `more`: what shows what is."""
    cases = comparison["cases"]

    def few(lines: Iterable[str], most: int, what: str, style: str = "") -> Iterator[Line]:
        listed = list(lines)
        return _few(listed, len(listed) if everything else most, what, style, more)

    def status(name: str) -> list[Document]:
        return [case for case in cases if case["status"] == name]

    yield from few(
        (f"REGRESSED  {_safe(case['text'])}" for case in regressions), MAX_CASES, "regressed", "bold red"
    )
    if (overall := comparison["overall"]) is not None:
        yield _overall(comparison, overall), "bold red" if overall["worse"] else ""
    else:
        yield f"{counted(comparison['compared'], 'case')} compared", ""
    waiting = (f"may have got worse, not confirmed  {_safe(case['text'])}" for case in status("suspect"))
    yield from few(waiting, MAX_CASES, "may have got worse", "yellow")
    yield from few(
        (f"not judged  {_name(case)}: {_safe(case['gap']['why'])}" for case in unjudged(cases)),
        MAX_CASES,
        "could not be judged",
        "yellow",
    )
    if comparison["new_failures"]:
        yield f"failed for the first time: {_names(comparison['new_failures'], everything)}", "red"
    yield from few((f"cleared  {_safe(case['text'])}" for case in status("cleared")), MAX_OTHERS, "cleared")
    better = (f"better  {_safe(case['text'])}" for case in status("improved"))
    yield from few(better, MAX_OTHERS, "better", "green")
    flaky_ones = (f"flaky  {_name(case)}: {flaky(case)}" for case in cases if case["flaky"])
    yield from few(flaky_ones, MAX_OTHERS, "flaky", "dim")
    for name, keys in apart(comparison):
        yield f"{name}: {_names(keys, everything)}", "dim"
    yield from _drift(comparison["drift"], everything=everything, more=more)
    if is_quiet(comparison, regressions):
        yield "no difference: no case got worse or better, and nothing was done differently", "green"


def where(baseline: Document, mark: Mark = str) -> str:
    """`run 2026… of 9fceb02 (main), 3 commits behind the merge base 1a2b3c4; trials of 2 more runs added`. What comes
    from outside goes through `mark` and is not made safe otherwise."""
    base = baseline["comparison"]["base"]
    text = side(base, mark)
    if baseline["source"] not in (None, "ledger"):
        text += f" (from {'a file' if baseline['source'] == 'file' else 'git'})"
    if (behind := baseline["behind"]) is not None:
        merge_base = baseline["merge_base"]
        there = f"the merge base {mark(merge_base[:7])}" if merge_base else "the commit that was named"
        text += f", {counted(behind, 'commit')} behind {there}" if behind else f", at {there}"
    if base["pooled"]:
        text += f"; trials of {counted(len(base['pooled']), 'more run')} added"
    return text


def side(base: Document, mark: Mark = str) -> str:
    """`run 20261120-090000-b4se of 9fceb02 (main), 21 of 24 trials passed`; `mark` as in `where`."""
    text = f"run {mark(base['run_id'])}"
    if base["commit"]:
        text += f" of {mark(base['commit'][:7])}"
    if base["branch"]:
        text += f" ({mark(base['branch'])})"
    if base["dirty"]:
        text += " with uncommitted changes"
    return f"{text}, {base['passed']} of {counted(base['planned'], 'trial')} passed"


def passed_over(item: Document, mark: Mark = str) -> str:
    """`run 20261121-… of 1a2b3c4: `; what follows is its `why`."""
    commit = f" of {mark(item['commit'][:7])}" if item["commit"] else ""
    return f"run {mark(item['run_id'])}{commit}: "


def confirmed(cost: Document) -> str:
    """`2 cases tried again, 20 trials, $0.0123, 42 s of trials`."""
    spent = money(cost["usd"])
    cases = counted(cost["cases"], "case")
    return f"{cases} tried again, {counted(cost['trials'], 'trial')}, {spent}, {duration(cost['duration_s'])} of trials"


def unjudged(cases: Sequence[Document]) -> list[Document]:
    """Those with a gap, what keeps the run from passing first."""
    found = [case for case in cases if case["gap"] is not None]
    return sorted(found, key=lambda case: not case["gap"]["blocks"])


def flaky(case: Document) -> str:
    """`passed 17 of 20 before; all of 3 trials pass with a chance of 60 %`."""
    before, k = case["before"], case["now"]["judged"] + case["now"]["lost"]
    text = f"passed {before['passed']} of {before['judged']} before"
    chance = all_pass(before["passed"], before["judged"], k) if k > 1 else None
    return text if chance is None else f"{text}; all of {k} trials pass with a chance of {100 * chance:.0f} %"


def apart(comparison: Document) -> list[tuple[str, Sequence[Document]]]:
    """(what, cases) of those that there is nothing to compare with."""
    return [
        (what, comparison[key])
        for key, what in (
            ("new", "new cases"),
            ("changed", "changed cases, not compared"),
            ("removed", "removed cases"),
        )
        if comparison[key]
    ]


def drifted(findings: Sequence[Document]) -> list[tuple[str, list[Document]]]:
    """(case, or `suite`; its findings) of what is drift: cases with something that is always shown first."""
    groups: dict[str, list[Document]] = {}
    for finding in findings:
        if finding["grade"] != "untested":
            groups.setdefault("suite" if finding["case"] is None else label(finding), []).append(finding)
    for found in groups.values():
        found.sort(key=lambda finding: _ORDER.index(finding["grade"]))
    return sorted(groups.items(), key=lambda item: _ORDER.index(item[1][0]["grade"]))


def label(key: Document) -> str:
    """`refund`, `refund (bloated-tools)`. Not made safe."""
    return str(key["case"]) if key["variant"] == "baseline" else f"{key['case']} ({key['variant']})"


def probability(p: float) -> str:
    """`= 0.032`, `< 0.0001`; to be put after a `p`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}" if p < 0.01 else f"= {p:.2f}"


def is_quiet(comparison: Document, regressions: Sequence[Document]) -> bool:
    """Whether there is no difference at all that could be more than chance."""
    told = ("new", "removed", "changed", "new_failures")
    return (
        comparison["compared"] > 0
        and not regressions
        and not any(comparison[name] for name in told)
        and not any(case["status"] != "steady" or case["gap"] for case in comparison["cases"])
        and not (comparison["overall"] or {}).get("worse")
        and all(finding["grade"] == "untested" for finding in comparison["drift"])
    )


def overall_text(overall: Document) -> str:
    """`95.0 % before, 91.7 % now (p = 0.32)`."""
    before, now = (f"{100 * overall[name]:.1f} %" for name in ("before", "now"))
    return f"{before} before, {now} now (p {probability(overall['p'])})"


def _overall(comparison: Document, overall: Document) -> str:
    told = f"{counted(comparison['compared'], 'case')} compared: {overall_text(overall)}"
    return f"WORSE AS A WHOLE  {told}" if overall["worse"] else told


def _drift(findings: Sequence[Document], *, everything: bool, more: str) -> Iterator[Line]:
    groups = drifted(findings)
    most = len(groups) if everything else MAX_CASES
    for name, found in groups[:most]:
        yield f"drift  {_safe(name)}", "cyan"
        shown = found if everything else found[:MAX_FINDINGS]
        yield from ((f"  {_finding(finding)}", "") for finding in shown)
        if len(found) > len(shown):
            yield f"  … and {len(found) - len(shown)} more ({more})", "dim"
    if len(groups) > most:
        yield f"… and {len(groups) - most} more cases that drifted ({more})", "dim"
    untested = [finding for finding in findings if finding["grade"] == "untested"]
    if untested and everything:
        for finding in untested:
            name = "suite" if finding["case"] is None else _name(finding)
            yield f"untested  {name}: {_finding(finding)}", "dim"
    elif untested:
        told = counted(len(untested), "further difference")
        yield (
            f"{told}, with too few trials to tell {'it' if len(untested) == 1 else 'them'} from chance ({more})",
            "dim",
        )


def finding_text(finding: Document) -> str:
    """`tool calls: before lookup → refund (18 of 20); now refund (3 of 3) (p = 0.004)`. Not made safe."""
    sides = f"before {finding['before']}; now {finding['now']}" if finding["before"] else finding["now"]
    # Amounts have it in their text.
    p = finding["p"] if finding["case"] is not None else None
    return f"{finding['what']}: {sides}" + ("" if p is None else f" (p {probability(p)})")


def _finding(finding: Document) -> str:
    return one_line(finding_text(finding))


def _few(lines: Sequence[str], most: int, what: str, style: str, more: str = "--json PATH") -> Iterator[Line]:
    for line in lines[:most]:
        yield line, style
    if len(lines) > most:
        yield f"… and {len(lines) - most} more: {what} ({more})", style


def _names(keys: Sequence[Document], everything: bool) -> str:
    shown = keys if everything else keys[:MAX_OTHERS]
    names = ", ".join(_name(key) for key in shown)
    return names + (f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else "")


def _name(key: Document) -> str:
    return _safe(label(key))


def _safe(text: str) -> str:
    return one_line(str(text))
