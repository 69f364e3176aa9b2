"""What is kept of a trace for comparison."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.regression.drift import observe, shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.scoring.base import Part, Score
from aegis.trace import Exchange, ModelCall, ToolCall, Trace, TurnRecord, Usage, build_trace
from support import wire
from support.fuzzing import examples
from support.recorder import no_blobs

CHAT = "/v1/chat/completions"


def exchange(
    id: int, method: str = "GET", host: str = "crm.example", path: str = "/orders/7", **more: Any
) -> Exchange:
    fields: dict[str, Any] = {"kind": "http", "scheme": "https", "port": 443, "status": 200, **more}
    return Exchange(id=id, host=host, method=method, path=path, **fields)


def recorded(*exchanges: Exchange, **more: Any) -> Trace:
    return Trace(recorded=True, exchanges=exchanges, **more)


def test_a_trace_as_the_gateway_saw_it() -> None:
    """Built by the code that builds real ones: a model asks for a tool, the tool writes, the model hears of it."""
    first = wire.exchange(
        CHAT,
        {"model": "m", "messages": []},
        wire.chat(None, [("a", "issue_refund", {"order": 7})]),
        id=1,
        started_s=0.0,
        ended_s=1.0,
    )
    refund = wire.exchange(
        "/refunds?trace=1", {"order": 7}, {"ok": True}, id=2, started_s=1.2, ended_s=1.3, host="crm.example"
    )
    told = [{"role": "tool", "tool_call_id": "a", "content": "ok"}]
    last = wire.exchange(
        CHAT, {"model": "m", "messages": told}, wire.chat("Done."), id=3, started_s=2.0, ended_s=3.0
    )
    trace = build_trace(
        Trace(turns=(TurnRecord("Refund it.", "Done.", 3.0),), duration_s=3.0),
        [first, refund, last],
        no_blobs,
    )
    found = observe.observe(trace, [])
    assert found.tools == (ToolUse("issue_refund", {"order": 7}, writes=True),)
    assert found.requests == (
        Request(first.host, "POST", CHAT, to_model=True),
        Request("crm.example", "POST", "/refunds"),
        Request(first.host, "POST", CHAT, to_model=True),
    )
    assert found.answer == "Done."
    assert found.latency_s == 3.0
    assert trace.usage is not None
    assert trace.usage.input_tokens is not None
    assert found.tokens == trace.usage.input_tokens + (trace.usage.output_tokens or 0)


@pytest.mark.parametrize(
    ("exchanges", "writes"),
    [
        ((), None),
        ((exchange(1), exchange(2, "HEAD")), False),
        ((exchange(1), exchange(2, "DELETE")), True),
        ((exchange(1, "POST", kind="denied", status=None),), True),
        ((exchange(1, "", kind="tcp", status=None),), None),
        ((exchange(1), exchange(2, "", kind="tls-passthrough", status=None)), None),
    ],
)
def test_whether_a_tool_writes_is_told_by_what_it_sent(
    exchanges: tuple[Exchange, ...], writes: bool | None
) -> None:
    call = ToolCall("tool", {}, exchanges=tuple(item.id for item in exchanges))
    (use,) = observe.observe(recorded(*exchanges, tool_calls=(call,)), []).tools
    assert use.writes is writes


def test_a_json_rpc_post_does_not_tell_what_the_tool_behind_it_does() -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "lookup"}}
    asked = wire.exchange("/mcp", body, {"jsonrpc": "2.0", "id": 1, "result": {}}, id=1, host="tools.example")
    call = ToolCall("lookup", seen=("mcp",), exchanges=(1,))
    assert observe.observe(recorded(asked, tool_calls=(call,)), []).tools[0].writes is None
    also = ToolCall("lookup", seen=("model", "mcp"), exchanges=(1, 2))
    assert (
        observe.observe(recorded(asked, exchange(2, "PUT"), tool_calls=(also,)), []).tools[0].writes is True
    )


def test_refused_connections_are_requests_and_programs_inside_are_no_hosts() -> None:
    denied = exchange(1, "", "evil.example", "", kind="denied", status=None, error="denied: not allowed")
    inside = exchange(2, "POST", "files", "/", kind="mcp-stdio")
    assert observe.observe(recorded(denied, inside), []).requests == (Request("evil.example"),)


def test_what_asks_a_model_s_host_for_a_model_is_the_model_s() -> None:
    trace = recorded(
        exchange(1, "POST", "llm.example", CHAT),
        exchange(2, "POST", "llm.example", "/v1/embeddings"),
        exchange(3, "POST", "llm.example", "/v1/files"),
        exchange(4, "POST", "survey.example", "/responses"),
        model_calls=(ModelCall(1, "openai-chat", "openai", "llm.example"),),
    )
    assert [item.to_model for item in observe.observe(trace, []).requests] == [True, True, False, False]


def test_all_turns_answers_count_and_what_was_waited_for_does_not() -> None:
    turns = (TurnRecord("a", "One.", 1), TurnRecord("b", "", 1), TurnRecord("c", "Two.", 1))
    found = observe.observe(Trace(turns=turns, duration_s=9.0, waited_s=2.5), [])
    assert (found.answer, found.latency_s, found.tokens, found.cost_usd) == ("One.\n\nTwo.", 6.5, None, None)


def test_tokens_that_are_not_known_are_none() -> None:
    known = Usage(input_tokens=10, output_tokens=3, usd=0.25)
    assert observe.observe(recorded(usage=known), []).tokens == 13
    assert observe.observe(recorded(usage=known), []).cost_usd == 0.25
    assert observe.observe(recorded(usage=Usage(input_tokens=10, output_tokens=None)), []).tokens is None


def test_rules_that_had_something_to_judge() -> None:
    scores = [
        Score("answer", True, 1.0, "", parts=(Part("other", False, ""),)),
        Score(
            "resilience",
            False,
            0.5,
            "",
            parts=(Part("backoff", True, ""), Part("honesty", False, ""), Part("no_storm", None, "")),
        ),
    ]
    assert observe.observe(Trace(), scores).rules == {"backoff": True, "honesty": False}


def test_a_change_behind_the_cut_of_a_long_argument_is_still_one() -> None:
    def call(text: str) -> Any:
        return observe.observe(Trace(tool_calls=(ToolCall("run", {"sql": text}),)), []).tools[0].arguments

    long = "select * from orders where id in (" + "1, " * 5_000
    assert len(call(long)["sql"]) < shorten.LONGEST + 20
    assert call(long + "2)") != call(long + "3)")
    ids = [f"{long} 00000000-0000-4000-8000-{number:012})" for number in (1, 2)]
    assert call(ids[0]) == call(ids[1])


def test_an_agent_that_never_stops_is_kept_in_bounds_and_what_it_reaches_is_not_lost() -> None:
    calls = tuple(ToolCall("poll", {"n": number}) for number in range(5_000))
    requests = [exchange(number, path=f"/orders/{number}") for number in range(5_000)]
    requests += [exchange(5_000, host="evil.example"), exchange(5_001, "DELETE")]
    found = observe.observe(recorded(*requests, tool_calls=calls), [])
    assert len(found.tools) == observe.MAX_CALLS + 1
    assert found.tools[-1] == ToolUse("… 4000 more", writes=False)
    assert found.requests[observe.MAX_REQUESTS :] == (
        Request("evil.example", "GET", "/orders/7"),
        Request("crm.example", "DELETE", "/orders/7"),
    )


def test_arguments_that_are_no_json_elsewhere() -> None:
    deep: Any = "end"
    for _ in range(2_000):
        deep = [deep]
    given_ = {"nan": float("nan"), "huge": 10**5_000, "deep": deep, "wide": ["x" * 90] * 1_000, 7: {"a": 1.5}}
    (use,) = observe.observe(Trace(tool_calls=(ToolCall("run", given_),)), []).tools
    assert isinstance(use.arguments, str)
    assert len(use.arguments) < shorten.LONGEST + 20
    small = {key: value for key, value in given_.items() if key not in ("wide", "deep")}
    (use,) = observe.observe(Trace(tool_calls=(ToolCall("run", small),)), []).tools
    assert use.arguments["nan"] == "nan"
    assert use.arguments["7"] == {"a": 1.5}
    assert use.arguments["huge"].startswith("0x")
    json.dumps(use.arguments, allow_nan=False)


texts = st.text("ab1-:. \n…#é", max_size=300) | st.text(max_size=60)


@given(texts, st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=examples(500), deadline=None)
def test_cutting_twice_is_cutting_once(text: str, one: int, two: int) -> None:
    longer, shorter = max(one, two), min(one, two)
    for cut in (shorten.answer, shorten.argument):
        once = cut(text, shorter)
        assert cut(cut(text, longer), shorter) == once
        assert cut(once, shorter) == once
        assert len(once) <= max(shorter + 10, 0)


def test_an_id_is_not_cut_in_two() -> None:
    text = "The refund for 00000000-0000-4000-8000-000000000001 is done."
    assert shorten.answer(text, 30) == "The refund for…"
    assert shorten.answer("word " * 10, 12) == "word word…"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
uses = st.builds(ToolUse, st.text(max_size=10), values, st.sampled_from([True, False, None]))


@given(values)
@settings(max_examples=examples(200), deadline=None)
def test_arguments_are_kept_as_json(value: Any) -> None:
    kept = shorten.arguments(value, shorten.LONGEST)
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert shorten.arguments(kept, shorten.LONGEST) == kept
    assert shorten.recut(kept, shorten.LONGEST) is kept


@given(
    st.builds(
        Behaviour,
        tools=st.lists(uses, max_size=3).map(tuple),
        requests=st.lists(
            st.builds(Request, st.text(max_size=9), st.text(max_size=5), st.text(max_size=9), st.booleans()),
            max_size=3,
        ).map(tuple),
        answer=st.text(),
        tokens=st.none() | st.integers(0),
        cost_usd=st.none() | st.floats(0, 100),
        latency_s=st.none() | st.floats(0, 1e6),
        rules=st.dictionaries(st.text(max_size=5), st.booleans(), max_size=2),
    )
)
@settings(max_examples=examples(100), deadline=None)
def test_the_ledgers_row_holds_it(behaviour: Behaviour) -> None:
    kept = json.loads(json.dumps(observe.to_json(behaviour)))
    assert repr(observe.from_json(kept)) == repr(observe.from_json(observe.to_json(behaviour)))
    assert repr(observe.from_json(observe.to_json(behaviour))) == repr(behaviour)
