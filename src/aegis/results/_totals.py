"""What a run's trials add up to, from the rows of the ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MAX_DENIED = 1000
"""Entries of `denied`; an agent that tries for ever must not fill the document."""

_JUDGED = ("input_tokens", "output_tokens", "usd")

Row = Mapping[str, Any]


def denied(results: Iterable[Row]) -> list[dict[str, Any]]:
    """What was refused, each host, port and reason once, in how many trials and how often; what hit the most trials
    first. Beyond `MAX_DENIED` kinds, the rest is one entry without a host."""
    merged: dict[tuple[str, int, str], list[int]] = {}
    for result in results:
        seen = set()
        for item in result.get("denied") or ():
            key = (str(item["host"]), int(item["port"]), str(item["reason"]))
            if key not in merged and len(merged) >= MAX_DENIED - 1:
                key = ("", 0, "further refusals")
            entry = merged.setdefault(key, [0, 0])
            entry[0] += item["count"]
            entry[1] += key not in seen
            seen.add(key)
    ordered = sorted(merged.items(), key=lambda found: (-found[1][1], -found[1][0], found[0]))
    return [
        {"host": host, "port": port, "reason": reason, "count": count, "trials": trials}
        for (host, port, reason), (count, trials) in ordered
    ]


def prices(results: Iterable[Row]) -> dict[str, str] | None:
    """Which prices the costs were made with: package and version; None when nothing was priced. A run that was resumed
    after an update has several versions, joined by commas."""
    written = dict.fromkeys(result["prices"] for result in results if result.get("prices"))
    if not written:
        return None
    pairs = [text.rpartition(" ") for text in written]
    return {"package": pairs[-1][0], "version": ", ".join(version for _, _, version in pairs)}


def judge(results: Iterable[Row]) -> dict[str, Any] | None:
    """What judging by models took; None when no model judged. A sum with an unknown part is unknown (None)."""
    costs = [score["cost"] for result in results for score in result.get("scores") or () if score.get("cost")]
    if not costs:
        return None
    asked = sum(cost.get("samples", 0) - cost.get("cached", 0) for cost in costs)
    return {"model_calls": asked, **{name: _sum(cost.get(name) for cost in costs) for name in _JUDGED}}


def simulator(results: Iterable[Row]) -> dict[str, Any] | None:
    """What playing users by models took; None when no model played one. As in `judge`."""
    costs = [result["simulator"] for result in results if result.get("simulator")]
    if not costs:
        return None
    asked = sum(cost["model_calls"] for cost in costs)
    return {"model_calls": asked, **{name: _sum(cost.get(name) for cost in costs) for name in _JUDGED}}


def _sum(values: Iterable[Any]) -> Any:
    numbers = list(values)
    if None in numbers:
        return None
    total = sum(numbers)
    return round(total, 10) if isinstance(total, float) else total
