"""Traffic of a trial as a script: what was sent when, what came of it, and what the rules say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aegis.sandbox.base import Sandbox
from aegis.scoring import registry
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.resilience import RULES
from aegis.trace import Body, Exchange, Trace, TurnRecord, build_trace
from aegis.trace.faults import FaultReport
from support import wire
from support.scoring import case

CRM = "crm.example"
CHAT = "/v1/chat/completions"


def sent(
    id: int,
    at_s: float,
    status: int | None = 200,
    *,
    path: str = "/orders/1042",
    host: str = CRM,
    method: str = "GET",
    body: Any = None,
    answer: Any = None,
    took_s: float = 0.1,
    headers: Mapping[str, str] | None = None,
    answered: Mapping[str, str] | None = None,
    retry: int | None = None,
    error: str | None = None,
    withheld: Any = None,
    credential: str | None = "token-1",
    **more: Any,
) -> Exchange:
    """One request. `headers` are the request's, `answered` the response's; `retry` is what the official SDKs of OpenAI
    and Anthropic count."""
    asked = dict(headers or {})
    if retry is not None:
        asked["x-stainless-retry-count"] = str(retry)
    kind = "application/json" if not isinstance(answer, str) else "text/event-stream"
    told = {"Content-Type": kind, **(answered or {})}
    return Exchange(
        id=id,
        kind="http",
        scheme="https",
        host=host,
        port=443,
        method=method,
        path=path,
        request_headers=tuple(asked.items()),
        request_body=None if body is None else wire.body(body),
        status=status,
        response_headers=() if status is None else tuple(told.items()),
        response_body=None if answer is None else wire.body(answer),
        started_s=at_s,
        ended_s=at_s + took_s,
        error=error,
        credential=credential,
        withheld=None if withheld is None else Body(1, text=json.dumps(withheld)),
        **more,
    )


def tried(
    starts_s: Sequence[float], statuses: Sequence[int | None], first_id: int = 1, **more: Any
) -> list[Exchange]:
    """One request, sent at these times with these ends."""
    pairs = enumerate(zip(starts_s, statuses, strict=True), first_id)
    return [sent(id, at_s, status, **more) for id, (at_s, status) in pairs]


def by_sdk(
    starts_s: Sequence[float], statuses: Sequence[int | None], first_id: int = 1, **more: Any
) -> list[Exchange]:
    """A model call and its retries by the official SDK, which numbers them."""
    call: dict[str, Any] = {
        "path": CHAT,
        "host": "api.openai.com",
        "method": "POST",
        "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]},
        **more,
    }
    pairs = enumerate(zip(starts_s, statuses, strict=True))
    return [sent(first_id + n, at_s, status, retry=n, **call) for n, (at_s, status) in pairs]


def spaced(pauses_s: Sequence[float], *, start_s: float = 1.0, took_s: float = 0.1) -> list[float]:
    """Times of attempts that each took `took_s` and have these pauses between them."""
    starts = [start_s]
    for pause_s in pauses_s:
        starts.append(starts[-1] + took_s + pause_s)
    return starts


def fault(kind: str, *, id: str = "", **more: Any) -> FaultReport:
    return FaultReport(id=id or kind, kind=kind, **{"matched": 1, "fired": 1, **more})


def score(
    exchanges: Sequence[Exchange] | None,
    answer: str = "",
    config: Mapping[str, Any] | None = None,
    *,
    faults: Sequence[FaultReport] = (),
    user: str = "What about order 1042?",
    blobs: Mapping[str, bytes] | None = None,
    turns: Sequence[TurnRecord] = (),
) -> Score:
    given = dict(config or {})
    assert registry.check("resilience", given) == []
    stored = blobs or {}
    trace = Trace(turns=tuple(turns) or (TurnRecord(user, answer, 60.0),), duration_s=60.0)
    if exchanges is not None:
        trace = build_trace(trace, exchanges, stored.__getitem__, faults=faults)
    context = ScoreContext(case(), trace, cast("Sandbox", None), {}, stored.__getitem__)
    return asyncio.run(registry.get("resilience").score(given, context))  # type: ignore[arg-type]


def only(rule: str, exchanges: Sequence[Exchange], answer: str = "", **more: Any) -> Score:
    assert rule in RULES
    config = {"only": [rule], **more.pop("config", {})}
    return score(exchanges, answer, config, **more)


def kept(rule: str, exchanges: Sequence[Exchange], answer: str = "", **more: Any) -> str:
    """The reason for which the rule was kept; it must have had something to judge."""
    found = only(rule, exchanges, answer, **more)
    assert found.passed, found.reason
    assert found.reason.startswith(f"{rule}: "), found.reason
    return found.reason


def broken(rule: str, exchanges: Sequence[Exchange], answer: str = "", **more: Any) -> str:
    """The reason for which the rule was broken."""
    found = only(rule, exchanges, answer, **more)
    assert not found.passed, found.reason
    assert found.value == 0.0
    assert found.reason.startswith(f"the rule is broken: {rule}: "), found.reason
    assert found.reason.isprintable()
    return found.reason.removeprefix(f"the rule is broken: {rule}: ")


def idle(rule: str, exchanges: Sequence[Exchange], answer: str = "", **more: Any) -> bool:
    """Whether the rule had nothing to judge."""
    found = only(rule, exchanges, answer, **more)
    assert found.passed, found.reason
    return "nothing was tested" in found.reason
