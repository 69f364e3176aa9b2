"""What a scorer is given, without an agent having run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aegis.llm import AnswerCache
from aegis.sandbox.base import Processes, Readiness, Sandbox, ServiceSpec
from aegis.scoring.base import ScoreContext
from aegis.suite.model import Case, Expectation, Turn
from aegis.trace import Exchange, ToolCall, Trace, TurnRecord, build_trace


def case(*expectations: tuple[str, Any]) -> Case:
    expect = tuple(Expectation(scorer=name, config=config) for name, config in expectations)
    return Case(id="one", turns=(Turn(user="hi"),), expect=expect)


def context(
    answer: str = "",
    sandbox: Sandbox | None = None,
    *,
    tool_calls: int = 0,
    duration_s: float = 1.0,
    check_files: Mapping[str, bytes] | None = None,
    exchanges: Sequence[Exchange] | None = None,
    blobs: Mapping[str, bytes] | None = None,
    answers: AnswerCache | None = None,
    services: Sequence[ServiceSpec] = (),
    before: Any = None,
    processes: Processes | None = None,
) -> ScoreContext:
    """A trace of one turn; without a sandbox, for scorers that look at the trace only. With `exchanges`, a gateway
    recorded it."""
    trace = Trace(
        turns=(TurnRecord("hi", answer, duration_s),),
        tool_calls=tuple(ToolCall(f"call-{i}") for i in range(tool_calls)),
        duration_s=duration_s,
    )
    stored = {} if blobs is None else blobs
    if exchanges is not None:
        trace = build_trace(trace, exchanges, stored.__getitem__)
    machine = cast("Sandbox", sandbox)
    return ScoreContext(
        case(),
        trace,
        machine,
        check_files or {},
        stored.__getitem__,
        answers,
        tuple(services),
        before,
        processes,
    )


def service(name: str, kind: str = "", port: int | None = None, **exports: str) -> ServiceSpec:
    return ServiceSpec(name, "true", Readiness(tcp=port), port=port, exports=exports, kind=kind)
