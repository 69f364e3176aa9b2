"""A run's traces as OpenTelemetry spans, one trial at a time: no more than one trace is in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aegis.results import Ledger
from aegis.trace import Trace
from aegis.trace.otel import TrialName, to_otlp
from aegis.trace.otlp_http import send


def send_all(url: str, document: Mapping[str, Any], ledger: Ledger) -> int:
    """Send every trial of the run that left a trace, those that confirm included; returns how many spans. Sending one
    again gives the same spans. Raises `InfrastructureError` when the collector takes one no more; the rest is not tried
    then."""
    sent = 0
    for entry in (*document["trials"], *document.get("confirmations", ())):
        if entry["trace"]:
            trace = Trace.from_json(json.loads(ledger.blobs.get(entry["trace"])))
            count, _ = send_trial(url, document, entry, trace, agent_started_at(ledger, document, entry))
            sent += count
    return sent


def send_trial(
    url: str, document: Mapping[str, Any], entry: Mapping[str, Any], trace: Trace, start: datetime
) -> tuple[int, str]:
    """Send one trial's; returns how many spans, and the URL that took them. Raises `UsageError` and
    `InfrastructureError`."""
    name = TrialName(
        run_id=document["run_id"],
        suite=document["suite"],
        case=entry["case"],
        variant=entry["variant"],
        number=entry["number"],
        outcome=entry["outcome"],
        reason=entry["reason"],
    )
    payload = to_otlp(trace, name, started_at=start)
    place = send(url, payload)
    return len(payload["resourceSpans"][0]["scopeSpans"][0]["spans"]), place


def agent_started_at(ledger: Ledger, document: Mapping[str, Any], entry: Mapping[str, Any]) -> datetime:
    """Second 0 of a trial's trace; where the ledger doesn't know it, when its attempt began."""
    attempts = ledger.attempts(document["run_id"], entry["case"], entry["variant"], entry["number"])
    chosen = next((attempt for attempt in attempts if attempt.final), attempts[-1] if attempts else None)
    if chosen is None:
        return datetime.fromisoformat(document["started_at"])
    return datetime.fromisoformat((chosen.result or {}).get("agent_started_at") or chosen.started_at)
