"""Tool calls seen in several ways, and what they did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aegis.trace import Exchange, ToolCall, Trace, TurnRecord, build_trace
from support import wire
from support.recorder import no_blobs

CHAT = "/v1/chat/completions"
CRM = "crm.example"


def asking(
    id: int,
    at: float,
    tools: Sequence[tuple[str, str, Any]] = (),
    told: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> Exchange:
    """A model call from `at` to `at + 1` that asks for tools, and brings results as (id, content)."""
    messages = [{"role": "tool", "tool_call_id": i, "content": content} for i, content in told]
    answer = wire.chat(None if tools else "Done.", tools)
    return wire.exchange(
        CHAT, {"model": "m", "messages": messages}, answer, id=id, started_s=at, ended_s=at + 1, **more
    )


def cut_off(id: int, at: float) -> Exchange:
    """A model call whose stream ends when it has asked for `lookup` as `a`."""
    asked = wire.events(wire.chat_chunk(wire.chat_piece(0, '{"order": 1}', id="a", name="lookup")))
    return replace(
        asking(id, at),
        response_headers=(("Content-Type", "text/event-stream"),),
        response_body=wire.body(asked),
        error="upstream-cut: closed",
    )


def calling(id: int, at: float, path: str, body: Any = None, host: str = CRM) -> Exchange:
    return wire.exchange(path, body, {"ok": True}, id=id, started_s=at, ended_s=at + 0.1, host=host)


def mcp(id: int, at: float, name: str, arguments: Any, text: str = "fine", **result: Any) -> Exchange:
    request = {
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    content = {"content": [{"type": "text", "text": text}], **result}
    answer = {"jsonrpc": "2.0", "id": id, "result": content}
    return wire.exchange("/mcp", request, answer, id=id, started_s=at, ended_s=at + 0.1, host="tools.example")


def tools(
    exchanges: Sequence[Exchange], reported: Sequence[ToolCall] = (), turns: int = 0
) -> tuple[ToolCall, ...]:
    driver = Trace(tool_calls=tuple(reported), turns=tuple(TurnRecord("u", "a", 10.0) for _ in range(turns)))
    return build_trace(driver, exchanges, no_blobs).tool_calls


def test_one_call_seen_three_ways_is_one() -> None:
    reported = [ToolCall("crm__lookup", {"order": 1}, "from the agent")]
    exchanges = [
        asking(1, 1, [("a", "crm__lookup", {"order": 1})]),
        mcp(2, 3, "lookup", {"order": 1}),
        asking(3, 4, told=[("a", "as told")]),
    ]
    [call] = tools(exchanges, reported)
    assert call == ToolCall(
        "crm__lookup",
        {"order": 1},
        "as told",
        seen=("agent", "model", "mcp"),
        id="a",
        asked_in=1,
        answered_in=3,
        exchanges=(2,),
        started_s=2.0,
        ended_s=4.0,
    )


def test_calls_that_only_look_alike_are_several() -> None:
    reported = [
        ToolCall("lookup", {"order": 9}),
        ToolCall("lookup", {"order": 1}),
        ToolCall("lookup", {"order": 1}),
    ]
    exchanges = [
        asking(1, 1, [("a", "lookup", {"order": 1}), ("b", "lookup", {"order": 2})]),
        mcp(2, 3, "lookup", {"order": 3}),
        mcp(3, 3.5, "look", {"order": 2}),
        asking(4, 5, told=[("a", "1"), ("b", "2")]),
    ]
    seen = [(call.name, call.arguments["order"], call.seen) for call in tools(exchanges, reported)]
    assert sorted(seen) == [
        ("look", 2, ("mcp",)),
        ("lookup", 1, ("agent",)),
        ("lookup", 1, ("agent", "model")),
        ("lookup", 2, ("model",)),
        ("lookup", 3, ("mcp",)),
        ("lookup", 9, ("agent",)),
    ]


def test_a_report_with_more_or_fewer_arguments_is_the_same_call() -> None:
    reported = [ToolCall("search", {"q": "x", "limit": 10}, "r"), ToolCall("now", None), ToolCall("rate", {})]
    exchanges = [asking(1, 1, [("a", "search", {"q": "x"}), ("b", "now", {}), ("c", "rate", {"of": "EUR"})])]
    merged = tools(exchanges, reported)
    assert [(call.name, call.seen) for call in merged] == [
        ("search", ("agent", "model")),
        ("now", ("agent", "model")),
        ("rate", ("agent", "model")),
    ]
    assert (merged[0].arguments, merged[0].result) == ({"q": "x"}, "r")


def test_a_call_of_an_answer_that_broke_off_counts_when_it_was_run() -> None:
    cut = cut_off(1, 1)
    again = asking(2, 3, [("b", "lookup", {"order": 1})])
    assert [call.id for call in tools([cut, again])] == ["b"]
    assert [call.id for call in tools([cut], [ToolCall("lookup", {"order": 1})])] == ["a"]
    assert [call.id for call in tools([cut, asking(2, 3, told=[("a", "x")])])] == ["a"]


def test_a_call_that_is_asked_for_again_with_its_id_after_the_answer_broke_off_is_one() -> None:
    """As servers do that give equal requests equal ids: what was run is what came whole."""
    whole = asking(3, 5, [("a", "lookup", {"order": 1})])
    [call] = tools([cut_off(1, 1), cut_off(2, 3), whole, asking(4, 7, told=[("a", "fine")])])
    assert (call.asked_in, call.answered_in, call.result) == (3, 4, "fine")


def test_ids_that_are_used_again() -> None:
    exchanges = [
        asking(1, 1, [("call_0", "lookup", {"order": 1})]),
        asking(2, 3, [("call_0", "lookup", {"order": 2})], [("call_0", "one")]),
        asking(3, 5, [("call_0", "lookup", {"order": 3})], [("call_0", "one"), ("call_0", "two")]),
        # A conversation that begins anew.
        asking(4, 7, told=[("call_0", "three")]),
    ]
    assert [call.result for call in tools(exchanges)] == ["one", "two", "three"]
    assert [call.answered_in for call in tools(exchanges)] == [2, 3, 4]


def test_results_without_ids_are_matched_by_name_and_order() -> None:
    path = "/v1beta/models/g:generateContent"

    def part(order: int) -> dict[str, Any]:
        return {"functionCall": {"name": "lookup", "args": {"order": order}}}

    def told(order: int) -> dict[str, Any]:
        return {"functionResponse": {"name": "lookup", "response": {"paid": order}}}

    sent = [told(1), told(2)]
    exchanges = [
        wire.exchange(path, {"contents": []}, wire.gemini([part(1), part(2)]), started_s=1, ended_s=2),
        wire.exchange(
            path, {"contents": [{"parts": sent}]}, wire.gemini([part(3)]), id=2, started_s=3, ended_s=4
        ),
        wire.exchange(
            path,
            {
                "contents": [
                    {"parts": [*sent, {"functionResponse": {"name": "lookup", "response": {"error": "no"}}}]}
                ]
            },
            wire.gemini([{"text": "Done."}]),
            id=3,
            started_s=5,
            ended_s=6,
        ),
    ]
    calls = tools(exchanges)
    assert [(call.result, call.is_error) for call in calls] == [
        ({"paid": 1}, False),
        ({"paid": 2}, False),
        ({"error": "no"}, True),
    ]


def test_what_a_call_did() -> None:
    exchanges = [
        calling(1, 0.5, "/before"),
        asking(2, 1, [("a", "lookup", {"order": 1042}), ("b", "mail", {"to": "kim@example.com"})]),
        calling(3, 3, "/orders/1042"),
        calling(4, 3.1, "/send", {"rcpt": "kim@example.com"}),
        calling(5, 3.2, "/token"),
        replace(calling(6, 3.3, "/x", host="evil.example"), kind="denied"),
        asking(7, 4, [("c", "rate", {})], [("a", "1"), ("b", "2")]),
        calling(8, 6, "/rates"),
        mcp(9, 6.1, "other", {}),
        asking(10, 7, told=[("c", "3")]),
        calling(11, 9, "/after"),
    ]
    did = {call.name: call.exchanges for call in tools(exchanges)}
    # Where the arguments do not tell, any of the calls at that time may have made it.
    assert did == {"lookup": (3, 5, 6), "mail": (4, 5, 6), "rate": (8,), "other": (9,)}


def test_a_call_whose_result_nobody_sends_back() -> None:
    exchanges = [
        asking(1, 1, [("a", "final_answer", {"text": "x"})]),
        calling(2, 3, "/save"),
        asking(3, 5),
        calling(4, 7, "/later"),
    ]
    [call] = tools(exchanges)
    assert (call.result, call.answered_in, call.exchanges) == (None, None, (2,))


def test_calls_that_only_the_agent_reported_keep_their_place() -> None:
    reported = [
        ToolCall("first"),
        ToolCall("seen", {"n": 1}, turn=0),
        ToolCall("between", turn=0),
        ToolCall("late", turn=1),
    ]
    exchanges = [asking(1, 1, [("a", "seen", {"n": 1})]), asking(2, 12, [("b", "unreported", {})])]
    merged = tools(exchanges, reported, turns=2)
    assert [call.name for call in merged] == ["first", "seen", "between", "late", "unreported"]
    assert [call.turn for call in merged] == [0, 0, 0, 1, 1]


def test_exchanges_are_ordered_by_their_beginning() -> None:
    second, first = asking(2, 3, told=[("a", "x")]), asking(1, 1, [("a", "lookup", {})])
    trace = build_trace(Trace(), [second, first], no_blobs)
    assert [item.id for item in trace.exchanges] == [1, 2]
    assert trace.tool_calls[0].result == "x"


def test_mcp_answers_that_come_another_way() -> None:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "lookup", "arguments": {}},
    }
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "structuredContent": {"paid": 1}}}
    noise = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
    accepted = wire.exchange("/messages", request, None, status=202)
    accepted = replace(accepted, response_body=None)
    stream = wire.exchange(
        "/sse", None, wire.events("/messages", noise, answer), id=2, method="GET", started_s=0.1
    )
    [call] = tools([stream, accepted])
    assert (call.result, call.is_error, call.seen) == ({"paid": 1}, False, ("mcp",))
    [lost] = tools([accepted])
    assert (lost.name, lost.result) == ("lookup", None)


def test_mcp_refusals() -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "lookup"}}
    for answer, status, words in (
        (
            {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}},
            200,
            "no such tool",
        ),
        ({"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "bad"}}, 400, "bad"),
        ({"detail": "x"}, 503, "HTTP 503"),
    ):
        [call] = tools([wire.exchange("/mcp", request, answer, status=status)])
        assert (call.result, call.is_error) == (words, True)


def test_mcp_batches() -> None:
    def request(id: Any, name: str) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": {}}}

    def answer(id: Any, text: str) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}

    exchange = wire.exchange(
        "/mcp", [request(1, "a"), request("1", "b")], [answer("1", "of b"), answer(1, "of a")]
    )
    assert [(call.name, call.result) for call in tools([exchange])] == [("a", "of a"), ("b", "of b")]


def test_a_trace_survives_being_stored() -> None:
    exchanges = [asking(1, 1, [("a", "lookup", {"order": 1})]), asking(2, 3, told=[("a", "x")])]
    driver = Trace(
        turns=(TurnRecord("u", "a", 1.0),), tool_calls=(ToolCall("other", result=[1]),), exit="exit code 0"
    )
    trace = build_trace(driver, exchanges, no_blobs)
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


def test_a_call_reported_under_the_models_id_is_that_call_whatever_it_is_called() -> None:
    reported = [
        ToolCall("execute", {"cmd": "rm"}, "done", id="toolu_2", permission="allow_once"),
        ToolCall("execute", {"cmd": "ls"}, id="elsewhere"),
    ]
    exchanges = [asking(1, 1, [("toolu_1", "Read", {"path": "a"}), ("toolu_2", "Bash", {"command": "rm"})])]
    calls = [
        (call.name, call.seen, call.id, call.permission, call.result) for call in tools(exchanges, reported)
    ]
    assert calls == [
        ("Read", ("model",), "toolu_1", "", None),
        ("Bash", ("agent", "model"), "toolu_2", "allow_once", "done"),
        ("execute", ("agent",), "elsewhere", "", None),
    ]


def test_a_trace_that_was_stored_before_there_was_a_gateway() -> None:
    old = {
        "turns": [{"user": "u", "answer": "a", "duration_s": 1.0}],
        "tool_calls": [{"name": "x", "arguments": {}, "result": None, "turn": 0}],
        "stderr_tail": "",
        "stdout_tail": "",
        "exit": "exit code 0",
        "duration_s": 1.0,
    }
    trace = Trace.from_json(old)
    assert (trace.recorded, trace.usage, trace.tool_calls[0].seen) == (False, None, ("agent",))


def test_turns_begin_when_their_messages_were_sent() -> None:
    trace = Trace(
        turns=(
            TurnRecord("a", "", 1.0, started_s=2.0),
            TurnRecord("b", "", 1.0),
            TurnRecord("c", "", 0.5, 9.0),
        )
    )
    assert trace.turn_times_s == ((2.0, 3.0), (3.0, 4.0), (9.0, 9.5))
    assert Trace.from_json(trace.to_json()) == trace
