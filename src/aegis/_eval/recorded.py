"""What the runs of a suite that are recorded here have shown of its tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from aegis._eval.coverage import Recorded
from aegis.results import Ledger
from aegis.trace import Body, Exchange, Trace
from aegis.trace.modelrequests import asks_a_model
from aegis.trace.providers import provider_of
from aegis.trace.tokens import estimate

MAX_RUNS = 5
MAX_TRIALS = 200
"""Traces that are read, of the newest runs: a suite may have thousands."""


def largest_result(folder: Path, suite: str, cases: Iterable[str]) -> Recorded:
    """The largest result that a tool gave in the newest runs of the suite, in a case that it still has. `folder` is the
    ledger's, and need not exist."""
    if not (folder / "ledger.db").exists():
        return Recorded(runs=0)
    wanted = frozenset(cases)
    with Ledger(folder) as ledger:
        runs = [run.run_id for run in ledger.summaries(suite, limit=MAX_RUNS)]
        found = [
            Recorded(len(runs), tokens, case, run_id)
            for run_id, case, trace in islice(_traces(ledger, runs, wanted), MAX_TRIALS)
            for tokens in result_tokens(trace, ledger.blobs.get)
        ]
    return max(found, key=lambda item: item.tokens or 0, default=Recorded(len(runs)))


def _traces(ledger: Ledger, runs: Iterable[str], cases: frozenset[str]) -> Iterator[tuple[str, str, Trace]]:
    for run_id in runs:
        for trial in ledger.trials(run_id):
            digest = (trial.result or {}).get("trace")
            if digest and trial.case in cases:
                yield run_id, trial.case, Trace.from_json(json.loads(ledger.blobs.get(digest)))


def result_tokens(trace: Trace, blob: Callable[[str], bytes]) -> Iterator[int]:
    """About how many tokens each result has that a tool gave: what calls were told, and what hosts that are no model's
    answered to them."""
    for call in trace.tool_calls:
        if call.result is not None:
            yield estimate(_text(call.result))
    for exchange in trace.exchanges:
        body = exchange.response_body
        if body is not None and _is_tool(exchange):
            yield _tokens(body, blob)


def _is_tool(exchange: Exchange) -> bool:
    path = exchange.path.partition("?")[0]
    if exchange.kind not in ("http", "mcp-stdio") or asks_a_model(exchange.method, path):
        return False
    return provider_of(exchange.host, "") == "unknown" and (
        exchange.status is None or 200 <= exchange.status < 300
    )


def _tokens(body: Body, blob: Callable[[str], bytes]) -> int:
    if body.text is not None:
        return estimate(body.text)
    if body.blob is None:
        return 0
    try:
        return estimate(blob(body.blob).decode())
    except UnicodeDecodeError:
        return 0  # no text: nothing that a model reads


def _text(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
