"""What the unmodified clients of the providers send and receive, through a recording server, read back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aegis.trace import ModelCall, Trace, build_trace
from aegis.trace.calls import ToolRequest
from support import wire
from support.recorder import Recorder, Reply, Request, forward_to, no_blobs

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
httpx2 = pytest.importorskip("httpx2")
pytest.importorskip("mcp")

ASKED = ToolRequest("call_a", "lookup_order", {"order": 1042})
TOOL = {
    "type": "function",
    "function": {"name": "lookup_order", "parameters": {"type": "object", "properties": {}}},
}


def in_turn(*replies: Reply) -> Any:
    """A script that gives one answer after the other."""
    left = list(replies)
    return lambda request: left.pop(0)


def trace_of(recorder: Recorder) -> Trace:
    return build_trace(Trace(), recorder.exchanges, no_blobs)


def only_call(recorder: Recorder) -> ModelCall:
    [call] = trace_of(recorder).model_calls
    return call


def check_numbers(call: ModelCall) -> None:
    assert (call.input_tokens, call.output_tokens) == (1000, 100)
    assert (call.cached_tokens, call.reasoning_tokens) == (200, 40)
    assert call.usd == pytest.approx(0.000405)
    assert call.error is None
    assert not call.incomplete


def openai_client(recorder: Recorder) -> Any:
    return openai.OpenAI(base_url=f"{recorder.url}/v1", api_key="sk-test", max_retries=0)


def anthropic_client(recorder: Recorder) -> Any:
    return anthropic.Anthropic(base_url=recorder.url, api_key="sk-test", max_retries=0)


def test_openai_chat() -> None:
    with Recorder(in_turn(wire.plain(wire.chat("Hello."))), "api.openai.com") as recorder:
        client = openai_client(recorder)
        answer = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Hi"}]
        )
    assert answer.choices[0].message.content == "Hello."
    call = only_call(recorder)
    check_numbers(call)
    assert (call.format, call.provider, call.text) == ("openai-chat", "openai", "Hello.")
    assert (call.model_requested, call.model_answered) == ("gpt-5-mini", "gpt-5-mini-2025-08-07")
    assert (call.stop_reason, call.streamed, call.first_token_s) == ("stop", False, None)


def test_openai_chat_streamed_with_tools_and_their_results() -> None:
    script = in_turn(wire.streamed(wire.CHAT_STREAM), wire.plain(wire.chat("Refunded.")))
    messages: list[Any] = [{"role": "user", "content": "Refund 1042"}]
    with Recorder(script, "api.openai.com") as recorder:
        client = openai_client(recorder)
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            messages=messages,
            tools=[TOOL],
            stream=True,
            stream_options={"include_usage": True},
        )
        assert len(list(stream)) == 10
        calls = [("call_a", "lookup_order", '{"order": 1042}'), ("call_b", "get_policy", "{}")]
        asked = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]
        messages.append({"role": "assistant", "tool_calls": asked})
        messages.append({"role": "tool", "tool_call_id": "call_b", "content": "30 days"})
        messages.append(
            {"role": "tool", "tool_call_id": "call_a", "content": [{"type": "text", "text": "paid 42"}]}
        )
        client.chat.completions.create(model="gpt-5-mini", messages=messages, tools=[TOOL])
    trace = trace_of(recorder)
    first = trace.model_calls[0]
    check_numbers(first)
    assert first.text == "Let me look."
    assert first.tool_requests == (ASKED, ToolRequest("call_b", "get_policy", {}))
    assert (first.stop_reason, first.streamed) == ("tool_calls", True)
    assert first.first_token_s is not None
    assert first.duration_s is not None
    assert 0 <= first.first_token_s <= first.duration_s
    assert [(tool.name, tool.result, tool.answered_in) for tool in trace.tool_calls] == [
        ("lookup_order", "paid 42", 2),
        ("get_policy", "30 days", 2),
    ]
    assert trace.usage is not None
    assert (trace.usage.model_calls, trace.usage.tool_calls, trace.usage.input_tokens) == (2, 2, 2000)
    assert trace.usage.usd == pytest.approx(0.00081)
    assert (trace.usage.prices or "").startswith("genai-prices ")


def test_openai_chat_without_usage_in_the_stream() -> None:
    stream = wire.events(wire.chat_chunk({"content": "Hi."}), wire.chat_chunk({}, "stop"), "[DONE]")
    with Recorder(in_turn(wire.streamed(stream)), "api.openai.com") as recorder:
        client = openai_client(recorder)
        list(client.chat.completions.create(model="gpt-5-mini", messages=[], stream=True))
    call = only_call(recorder)
    assert (call.text, call.input_tokens, call.output_tokens, call.usd) == ("Hi.", None, None, None)
    assert not call.incomplete


def test_openai_chat_cut_in_the_middle() -> None:
    head = wire.CHAT_STREAM[: wire.CHAT_STREAM.index(": 1042}")]
    with Recorder(in_turn(wire.streamed(head, cut=True)), "api.openai.com") as recorder:
        client = openai_client(recorder)
        with pytest.raises((openai.APIError, httpx2.TransportError)):
            list(client.chat.completions.create(model="gpt-5-mini", messages=[], stream=True))
    call = only_call(recorder)
    assert call.incomplete
    assert call.text == "Let me look."
    assert call.tool_requests[0].arguments == '{"order"'
    assert call.error == "upstream-cut: the connection was closed"
    assert (call.output_tokens, call.usd) == (None, None)


def test_openai_refusing_for_its_limit() -> None:
    error = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
    with (
        Recorder(in_turn(wire.plain(error, 429)), "api.openai.com") as recorder,
        pytest.raises(openai.RateLimitError),
    ):
        openai_client(recorder).chat.completions.create(model="gpt-5-mini", messages=[])
    call = only_call(recorder)
    assert call.error == "429: Rate limit reached"
    assert (call.input_tokens, call.output_tokens, call.usd, call.incomplete) == (0, 0, 0.0, False)


def test_azure_openai() -> None:
    with Recorder(in_turn(wire.plain(wire.chat("Hello."))), "team.openai.azure.com") as recorder:
        client = openai.AzureOpenAI(
            azure_endpoint=recorder.url, api_key="k", api_version="2024-10-21", max_retries=0
        )
        client.chat.completions.create(model="our-mini", messages=[{"role": "user", "content": "Hi"}])
    call = only_call(recorder)
    assert (call.provider, call.model_requested) == ("azure.ai.openai", "our-mini")
    assert call.model_answered == "gpt-5-mini-2025-08-07"
    assert call.usd is not None


def test_openai_responses() -> None:
    reply = wire.plain(wire.response([wire.SAID, wire.CALLED, wire.SEARCHED]))
    final = wire.plain(wire.response([wire.SAID]))
    with Recorder(in_turn(reply, final), "api.openai.com") as recorder:
        client = openai_client(recorder)
        first = client.responses.create(model="gpt-5-mini", input="Refund 1042")
        assert first.output_text == "Let me look."
        told = {"type": "function_call_output", "call_id": "call_a", "output": "paid 42"}
        client.responses.create(model="gpt-5-mini", input=[told], previous_response_id=first.id)
    trace = trace_of(recorder)
    check_numbers(trace.model_calls[0])
    assert trace.model_calls[0].format == "openai-responses"
    assert trace.model_calls[0].text == "Let me look."
    assert [(tool.name, tool.arguments, tool.result, tool.seen) for tool in trace.tool_calls] == [
        ("lookup_order", {"order": 1042}, "paid 42", ("model",)),
        ("web_search", {"type": "search", "query": "refund law"}, None, ("provider",)),
    ]


@pytest.mark.parametrize("final", [True, False])
def test_openai_responses_streamed(final: bool) -> None:
    reply = wire.streamed(wire.response_events(final=final), cut=not final)
    with Recorder(in_turn(reply), "api.openai.com") as recorder:
        stream = openai_client(recorder).responses.create(model="gpt-5-mini", input="Refund", stream=True)
        with contextlib.suppress(Exception):
            list(stream)
    call = only_call(recorder)
    assert (call.text, call.tool_requests) == ("Let me look.", (ASKED,))
    assert call.incomplete is not final
    if final:
        check_numbers(call)
        assert call.stop_reason == "completed"
    assert call.first_token_s is not None


def test_anthropic() -> None:
    blocks = [{"type": "text", "text": "Let me look."}, wire.USE]
    script = in_turn(wire.plain(wire.message(blocks, "tool_use")), wire.plain(wire.message([])))
    messages: list[Any] = [{"role": "user", "content": "Refund 1042"}]
    with Recorder(script, "api.anthropic.com") as recorder:
        client = anthropic_client(recorder)
        client.messages.create(model="claude-x", max_tokens=100, messages=messages)
        messages.append({"role": "assistant", "content": blocks})
        text = [{"type": "text", "text": "no such order"}]
        told = {"type": "tool_result", "tool_use_id": "toolu_a", "content": text, "is_error": True}
        messages.append({"role": "user", "content": [told]})
        client.messages.create(model="claude-x", max_tokens=100, messages=messages)
    trace = trace_of(recorder)
    call = trace.model_calls[0]
    assert (call.input_tokens, call.output_tokens) == (1000, 100)
    assert (call.cached_tokens, call.cache_write_tokens) == (200, 100)
    assert call.usd == pytest.approx((700 * 3 + 100 * 3.75 + 200 * 0.3 + 100 * 15) / 1e6)
    assert (call.text, call.stop_reason) == ("Let me look.", "tool_use")
    [tool] = trace.tool_calls
    assert (tool.name, tool.arguments, tool.result) == ("lookup_order", {"order": 1042}, "no such order")
    assert tool.is_error


def test_anthropic_streamed() -> None:
    with Recorder(in_turn(wire.streamed(wire.MESSAGE_STREAM)), "api.anthropic.com") as recorder:
        client = anthropic_client(recorder)
        with client.messages.stream(model="claude-x", max_tokens=9, messages=[]) as stream:
            assert stream.get_final_message().stop_reason == "tool_use"
    call = only_call(recorder)
    assert (call.text, call.streamed, call.incomplete) == ("Let me look.", True, False)
    assert call.tool_requests == (ToolRequest("toolu_a", "lookup_order", {"order": 1042}),)
    assert (call.input_tokens, call.output_tokens, call.stop_reason) == (1000, 100, "tool_use")


def test_anthropic_overloaded_in_the_middle_of_a_stream() -> None:
    trouble = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stream = wire.events(*wire.MESSAGE_EVENTS[:5], trouble, named=True)
    with Recorder(in_turn(wire.streamed(stream)), "api.anthropic.com") as recorder:
        client = anthropic_client(recorder)
        with pytest.raises(anthropic.APIStatusError):
            list(client.messages.create(model="claude-x", max_tokens=9, messages=[], stream=True))
    call = only_call(recorder)
    assert (call.text, call.error, call.incomplete) == ("Let me look.", "Overloaded", True)
    assert (call.input_tokens, call.output_tokens) == (1000, None)


@contextlib.contextmanager
def mcp_server(*, json_response: bool) -> Iterator[int]:
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("orders")

    @server.tool()
    def lookup_order(order: int) -> str:
        """Look an order up."""
        if order < 0:
            raise ValueError("no such order")
        return f"order {order} was paid"

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(server.streamable_http_app(json_response=json_response), log_level="error")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield port
        finally:
            running.should_exit = True
            thread.join(30)


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_mcp_over_http(json_response: bool, mode: str) -> None:
    from mcp import Client

    async def use(url: str) -> None:
        async with Client(url, mode=mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["lookup_order"]
            await client.call_tool("lookup_order", {"order": 1042})
            failed = await client.call_tool("lookup_order", {"order": -1})
            assert failed.is_error

    with (
        mcp_server(json_response=json_response) as port,
        Recorder(forward_to(port), "crm.example") as recorder,
    ):
        asyncio.run(use(f"{recorder.url}/mcp"))
    tools = trace_of(recorder).tool_calls
    assert [(tool.name, tool.arguments, tool.is_error, tool.seen) for tool in tools] == [
        ("lookup_order", {"order": 1042}, False, ("mcp",)),
        ("lookup_order", {"order": -1}, True, ("mcp",)),
    ]
    assert tools[0].result == "order 1042 was paid"
    assert tools[1].result == "Error executing tool lookup_order"
    assert all(tool.exchanges and tool.ended_s is not None for tool in tools)


def test_a_request_is_recorded_as_it_was_sent() -> None:
    def script(request: Request) -> Reply:
        return Reply([request.body], content_type="text/plain")

    with Recorder(script, "files.example") as recorder:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", recorder.port)
        connection.request("POST", "/v1/files", b"\xff\xfe not json")
        assert connection.getresponse().read() == b"\xff\xfe not json"
        connection.close()
    assert trace_of(recorder).model_calls == ()
    assert [item.path for item in recorder.exchanges] == ["/v1/files"]
