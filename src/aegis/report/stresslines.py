"""What stress cost, and what of it was not run, as lines below the table of a run. Everything in them may be a suite's
or an agent's: whoever prints them makes them safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.report.text import counted, listed

MAX_REFUSED_LINES = 10


def stress_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What each kind of stress cost, the dearest first, and which variants were not run, by their reasons."""
    stress = document.get("stress")
    if not stress:
        return
    for effect in sorted(stress["effects"], key=_cost):
        yield f"{effect['variant']}: {_effect(effect)}"
    yield from _refused(stress["refused"])


def _cost(effect: Mapping[str, Any]) -> float:
    """Those without a figure last."""
    if effect["own_oracle"]:
        return 1.0 if effect["broken"] else 1.5
    return 2.0 if effect["change"] is None else float(effect["change"])


def _effect(effect: Mapping[str, Any]) -> str:
    trials, unreached = effect["trials"], effect["unreached"]
    if effect["own_oracle"] and effect["rate"] is not None:
        where = f"; failed in {listed(effect['broken'])}" if effect["broken"] else ""
        rate = round(100 * effect["rate"])
        return f"{rate} % pass what it expects itself ({counted(effect['cases'], 'case')}){where}"
    if effect["change"] is None:
        if unreached and unreached == trials:
            return (
                f"reached nothing in {counted(trials, 'trial')}: the gateway saw nothing that it could change"
            )
        return f"nothing to compare, no case was judged both ways{_missed(effect)}"
    # The difference of what is shown, so that the three figures fit together.
    before, after = round(100 * effect["reference_rate"]), round(100 * effect["rate"])
    low, high = (round(100 * bound) for bound in effect["interval"])
    points = after - before
    moved = counted(abs(points), "point")
    cost = f"costs {moved}" if points < 0 else f"gains {moved}" if points else "costs nothing"
    where = f" in {listed(effect['broken'])}" if effect["broken"] else ""
    cases = counted(effect["cases"], "case")
    return (
        f"{cost} ({before} % → {after} %; 95 % interval {low:+} to {high:+}, {cases}){where}{_missed(effect)}"
    )


def _missed(effect: Mapping[str, Any]) -> str:
    unreached = effect["unreached"]
    if not unreached:
        return ""
    return f"; the rewrite reached nothing in {unreached} of {counted(effect['trials'], 'trial')}, which do not count"


def _refused(refused: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each reason: what would break a case before what does not apply to it, what most cases have in
    common first."""
    found: dict[tuple[str, bool, str], list[str]] = {}
    for item in refused:
        key = item["variant"], item["rejected"], item["reason"]
        found.setdefault(key, []).append(item["case"])
    # Levels of one transform that were refused alike are one line.
    alike: dict[tuple[str, bool, str, tuple[str, ...]], list[str]] = {}
    for (variant, rejected, reason), names in found.items():
        group = variant.partition(".")[0], rejected, reason, tuple(names)
        alike.setdefault(group, []).append(variant)
    lines = sorted(alike.items(), key=lambda item: (not item[0][1], -len(item[0][3])))
    for (_, rejected, reason, cases), variants in lines[:MAX_REFUSED_LINES]:
        why = "would break what the case expects" if rejected else "does not apply"
        yield f"not run: {', '.join(variants)} in {_where(cases)} {why}: {reason}"
    hidden = sum(len(variants) * len(group[3]) for group, variants in lines[MAX_REFUSED_LINES:])
    if hidden:
        yield f"… and {hidden} more variants not run (all of them: --json PATH)"


def _where(cases: Sequence[str]) -> str:
    return cases[0] if len(cases) == 1 else f"{len(cases)} cases ({listed(cases)})"
