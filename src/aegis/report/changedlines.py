"""What the agents of failed trials changed in their machines, as lines below the table of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.report.trialdiff import summary
from aegis.results.show import BASELINE_VARIANT

MAX_LINES = 5


def changed_line(trial: Mapping[str, Any]) -> str:
    """`changed: 3 files (+outbox/1.json, ~orders.json, -notes.txt)`; "" where nothing was changed or is known of it."""
    changes = trial.get("changes")
    told = summary(changes) if changes else ""
    return f"changed: {told}" if told else ""


def changed_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """One for each trial that failed and changed something, the first few; and how to see it all."""
    found = []
    for trial in document["trials"]:
        if trial["outcome"] in ("failed", "timeout") and (line := changed_line(trial)):
            found.append((trial, line))
    for trial, line in found[:MAX_LINES]:
        variant = "" if trial["variant"] == BASELINE_VARIANT else f" ({trial['variant']})"
        yield f"{trial['case']}/{trial['number']}{variant} {line}"
    if found:
        first = found[0][0]
        more = f"… and {len(found) - MAX_LINES} more trials; " if len(found) > MAX_LINES else ""
        variant = "" if first["variant"] == BASELINE_VARIANT else f" --variant {first['variant']}"
        yield f"{more}all of it: aegis trial diff {document['run_id']}/{first['case']}/{first['number']}{variant}"
