"""A trace as lines for a terminal."""

from __future__ import annotations

from dataclasses import replace

from aegis.report.timeline import MAX_BODY_LINES, render
from aegis.trace import ToolCall, Trace, TurnRecord, build_trace
from aegis.trace.timeline import Row, money, rows
from support import wire
from support.recorder import no_blobs

ASK = wire.exchange(
    "/v1/chat/completions",
    {"model": "gpt-5-mini", "messages": []},
    wire.chat("Looking.", [("a", "lookup", {"order": 1042})]),
)
LOOKUP = wire.exchange(
    "/orders/1042", None, {"paid": 42}, id=2, method="GET", host="crm.example", started_s=2.5
)
LOOKUP = replace(LOOKUP, ended_s=2.6, faults=("slow-1",))
TELL = wire.exchange(
    "/v1/chat/completions",
    {"model": "ours", "messages": [{"role": "tool", "tool_call_id": "a", "content": "paid"}]},
    wire.chat("Done.", model="ours-7b"),
    id=3,
    host="llm.internal",
    started_s=3.0,
    ended_s=3.5,
)
DENIED = replace(
    LOOKUP, id=4, kind="denied", host="evil.example", method="", path="", started_s=3.6, faults=()
)
UNOPENED = replace(DENIED, id=5, kind="tls-passthrough", host="bank.example", started_s=3.7)
TRACE = build_trace(
    Trace(
        turns=(TurnRecord("Refund 1042\nplease", "It is paid.", 4.0),),
        tool_calls=(ToolCall("note", "x"),),
        duration_s=4.0,
        exit="exit code 1",
        stderr_tail="Traceback\nboom\n",
    ),
    [ASK, LOOKUP, TELL, DENIED, UNOPENED],
    no_blobs,
)


def test_a_trial_from_its_beginning_to_its_end() -> None:
    text = "\n".join(render(rows(TRACE)))
    order = [
        "0.000s  user    turn 1",
        "| Refund 1042",
        "| please",
        "1.000s  model   gpt-5-mini-2025-08-07 (asked for gpt-5-mini) at api.openai.com  [1.00 s]",
        "1,000 (200 cached) + 100 (40 thinking) tokens; $0.000405; stop: tool_calls",
        "| says: Looking.",
        '| asks for: lookup {"order": 1042}',
        '2.000s  tool    lookup {"order": 1042}  [1.00 s]',
        "seen by: model",
        "| result: paid",
        "2.500s  http    GET https://crm.example/orders/1042  [100 ms]",
        "200; 12 bytes; by lookup; fault: slow-1",
        "3.000s  model   ours-7b (asked for ours) at llm.internal",
        "cost unknown",
        "DENIED  evil.example:443",
        "tls     bank.example:443",
        "tool    note x",
        "4.000s  answer  turn 1  [4.00 s]",
        "| It is paid.",
        "2 model calls; 2 tool calls; 2,000 input tokens; 200 output tokens; "
        "cost unknown (ours-7b; at least $0.000405)",
        "refused (not in network.allow)",
        "evil.example:443",
        "passed through unopened",
        "the agent ended: exit code 1",
        "| standard error: Traceback",
        "boom",
    ]
    position = 0
    for part in order:
        assert part in text[position:], f"{part!r} after {text[:position][-200:]!r}"
        position = text.index(part, position) + len(part)


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    bad = "\x1b[2J\u202e\x07\r\nx"
    row = Row("tool", bad, 1.0, 2.0, (bad, bad), (("says", bad), (bad, bad)))
    assert all(line.isprintable() for line in render([row]))


def test_what_a_server_inside_the_sandbox_was_asked() -> None:
    asked = wire.exchange(
        "/tools/call", {"jsonrpc": "2.0"}, {"paid": 42}, id=9, host="crm.mcp-stdio", started_s=1.5
    )
    asked = replace(asked, kind="mcp-stdio", scheme="stdio", port=0, ended_s=1.6, faults=("late",))
    text = "\n".join(render(rows(replace(TRACE, exchanges=(asked,)))))
    assert "1.500s  mcp     crm.mcp-stdio/tools/call  [100 ms]" in text
    assert "12 bytes; fault: late" in text


def test_long_texts_are_cut() -> None:
    row = Row("tool", "t" * 9000, body=(("says", "y" * 90_000 + "\nz" * 500),))
    lines = render([row])
    assert len(lines) == MAX_BODY_LINES + 2
    assert max(map(len, lines)) < 500
    assert "461 more lines" in lines[-1]


def test_a_trace_of_the_agents_own_channel_only() -> None:
    text = "\n".join(render(rows(Trace(turns=(TurnRecord("hi", "", 1.0),), tool_calls=(ToolCall("x"),)))))
    assert "tool    x null" in text
    assert "totals" not in text
    assert render(rows(Trace())) == []


def test_money() -> None:
    assert [money(x) for x in (None, 0, 0.000405, 0.05, 1.5)] == [
        "cost unknown",
        "$0.00",
        "$0.000405",
        "$0.05",
        "$1.50",
    ]
