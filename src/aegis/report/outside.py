"""What a run had to do with the outside world, as lines below its table: what models cost, and what was refused.
Everything in them may be an agent's or a remote host's: whoever prints them makes them safe."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.report.money import money
from aegis.report.text import counted, listed

MAX_DENIED_LINES = 10
MAX_FAULT_LINES = 10

_NOT_ALLOWED = "is not in network.allow"
_TOTALS = ("model_calls", "input_tokens", "output_tokens", "usd")


def consumed(document: Mapping[str, Any]) -> Iterator[str]:
    """What the agents' model calls took, and apart from it what judging and what playing users took. Nothing when there
    were none."""
    usages = [trial["usage"] for trial in document["trials"]]
    if any(usage["model_calls"] for usage in usages):
        prices = document.get("prices")
        source = f" ({prices['package']} {prices['version']})" if prices else ""
        seen = [usage for usage in usages if usage["model_calls"] is not None]
        yield f"agents: {_amounts({name: _sum(seen, name) for name in _TOTALS})}{source}"
    judge = document.get("judge")
    if judge:
        yield f"judges: {_amounts(judge)}"
    if simulator := document.get("simulator"):
        yield f"simulated users: {_amounts(simulator)}"


def replay_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """That the run was answered by another one, when it was."""
    if run := document.get("replay_of"):
        yield (
            f"REPLAY of run {run}: its recording answered instead of the network. "
            "This result is no baseline and cannot be compared."
        )


def part_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Which parts of a scorer failed, such as rules of `resilience`, the most frequent first, each with its first
    evidence in full."""
    broken: dict[tuple[str, str], list[str]] = {}
    for trial in document["trials"]:
        for score in trial["scores"]:
            for part in score["parts"]:
                if part["passed"] is False:
                    told = f"{trial['case']}/{trial['number']}: {part['reason']}"
                    broken.setdefault((score["scorer"], part["name"]), []).append(told)
    for (scorer, name), found in sorted(broken.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"{scorer}: {name} broken in {counted(len(found), 'trial')}; {found[0]}"


def fault_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Which faults the trials met, and which of them never came: a test that did not meet its weather proves
    nothing."""
    met: dict[str, list[int]] = {}
    missed: dict[str, list[str]] = {}
    why: dict[str, set[str]] = {}
    for trial in document["trials"]:
        kinds: set[str] = set()
        for fault in trial["faults"]:
            if fault["fired"]:
                entry = met.setdefault(fault["kind"], [0, 0])
                entry[0] += fault["hits"]
                entry[1] += fault["kind"] not in kinds
                kinds.add(fault["kind"])
            else:
                missed.setdefault(fault["id"], []).append(trial["case"])
                why.setdefault(fault["id"], set()).add(fault["note"])
    if met:
        told = (f"{kind} ×{hits} in {counted(trials, 'trial')}" for kind, (hits, trials) in met.items())
        yield f"faults: {', '.join(told)}"
    for name, cases in list(missed.items())[:MAX_FAULT_LINES]:
        note = f": {why[name].pop()}" if len(why[name]) == 1 else ""
        yield f"never fired: {name} in {counted(len(cases), 'trial')} ({listed(cases)}){note}"
    if len(missed) > MAX_FAULT_LINES:
        yield f"… and {len(missed) - MAX_FAULT_LINES} more faults never fired (all of them: --json PATH)"


def denied_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What was refused: usually the missing line of the suite."""
    denied: Sequence[Mapping[str, Any]] = document.get("denied") or ()
    for item in denied[:MAX_DENIED_LINES]:
        yield _denied(item)
    if len(denied) > MAX_DENIED_LINES:
        yield f"… and {len(denied) - MAX_DENIED_LINES} more refusals (all of them: --json PATH)"


def _denied(item: Mapping[str, Any]) -> str:
    host = f"[{item['host']}]" if ":" in item["host"] else item["host"]
    place = f"{host}:{item['port']}" if item["host"] else "some connections"
    often = f"({counted(item['count'], 'time')} in {counted(item['trials'], 'trial')})"
    if item["reason"].endswith(_NOT_ALLOWED):
        if _is_internal(item["host"]):
            return f"not allowed: {place} {often}, an internal address: allow it only if the agent is meant to reach it"
        return f"not allowed: {place} {often} — add it to network.allow"
    return f"refused: {place} {often}: {item['reason']}"


def _amounts(total: Mapping[str, Any]) -> str:
    def tokens(name: str) -> str:
        return "unknown" if total[name] is None else f"{total[name]:,}"

    calls = counted(total["model_calls"], "model call")
    return f"{calls}, {tokens('input_tokens')} + {tokens('output_tokens')} tokens, {money(total['usd'])}"


def _sum(usages: Sequence[Mapping[str, Any]], name: str) -> Any:
    """None when a part is unknown."""
    values = [usage[name] for usage in usages]
    return None if None in values else sum(values)


def _is_internal(host: str) -> bool:
    """Whether it is an address of a private network, of a host itself, or of a cloud's metadata service."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
