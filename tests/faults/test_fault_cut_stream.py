from __future__ import annotations

import asyncio
import gzip
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
import requests
from mcp import MCPError

from aegis.faults import events
from aegis.faults.cut_stream import CutStream
from aegis.gateway.failures import Cut
from support import wire
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, chunk, event_stream, response, says
from support.mcp_storm import mcp_storm
from support.raw_client import ask, connect, read_all, read_until
from support.storm import HOST, Storm, rule, storm
from support.wild_tcp import ask_and_end, ask_inside_tls

GET = b"GET /events HTTP/1.1\r\nHost: api.example\r\n\r\n"
ONCE = GET[:-2] + b"Connection: close\r\n\r\n"
NUMBERS = [b"one", b"two", b"three", b"four", b"five"]
HOWS = ("clean", "inside-event", "in-chunk", "reset", "ragged")


def sent(text: str) -> HttpUpstream:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [f"{part}\n\n".encode() for part in text.split("\n\n") if part]
    return HttpUpstream(says(head + b"".join(map(chunk, pieces)) + chunk(b"")))


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


def numbers(*names: bytes) -> bytes:
    return b"".join(chunk(b"data: " + name + b"\n\n") for name in names)


@pytest.mark.parametrize(
    ("how", "last", "end"),
    [
        ("clean", chunk(b""), None),
        ("inside-event", chunk(b"data: th") + chunk(b""), None),
        ("in-chunk", b"d\r\ndata: th", "end"),
        ("ragged", None, "end"),
    ],
)
def test_the_bytes_of_each_way(net: World, how: str, last: bytes | None, end: str | None) -> None:
    weather = storm(net, [rule("cut-stream", how=how, at_event=3)], HttpUpstream(event_stream(NUMBERS)))
    data, ended = ask_and_end(weather.port, ONCE if end is None else GET)
    assert ended == "end"
    if last is None:
        assert b"chunked" not in data
        assert body_of(data) == b"data: one\n\ndata: two\n\ndata: th"
    else:
        assert body_of(data) == numbers(b"one", b"two") + last
    (exchange,) = weather.exchanges(1)
    assert exchange.faults == ("cut-stream",)
    assert exchange.error == (None if end is None else "injected: the stream ends inside event 3")


def test_a_reset_after_half_of_the_event(net: World) -> None:
    weather = storm(net, [rule("cut-stream", how="reset", at_event=2)], HttpUpstream(event_stream(NUMBERS)))
    data, how = ask_and_end(weather.port, GET)
    assert how == "reset"
    assert body_of(data) in (b"", numbers(b"one"), numbers(b"one") + chunk(b"data: t"))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_half_of_an_event_is_cut_in_its_data(net: World, end: bytes) -> None:
    stream = end.join([b"event: a", b"id: 1", b"data: 123456", b"", b""])
    weather = storm(
        net,
        [rule("cut-stream", how="inside-event", at_event=1)],
        HttpUpstream(says(response(stream, Content_Type="text/event-stream"))),
    )
    assert requests.get(f"http://127.0.0.1:{weather.port}", headers={"Host": HOST}, timeout=60).content == (
        end.join([b"event: a", b"id: 1", b"data: 123"])
    )


@pytest.mark.parametrize(("how", "end"), [("ragged", "ragged"), ("clean", "end"), ("in-chunk", "end")])
def test_only_ragged_lacks_its_close_notify(net: World, how: str, end: str) -> None:
    weather = storm(net, [rule("cut-stream", how=how, at_event=2)], HttpUpstream(event_stream(NUMBERS)))
    data, ended = ask_inside_tls(weather.tls_port, ONCE, net.ca_file(weather.server), HOST)
    assert b"data: one" in data
    assert b"two" not in data
    assert ended == end


def test_a_clean_cut_keeps_the_connection(net: World) -> None:
    weather = storm(net, [rule("cut-stream", at_event=2, on=(1,))], HttpUpstream(event_stream(NUMBERS)))
    with connect(weather.port) as sock:
        sock.sendall(GET)
        first = read_until(sock, b"\r\n0\r\n\r\n")
        sock.sendall(ONCE)
        again = read_all(sock)
    assert body_of(first) == numbers(b"one") + chunk(b"")
    assert body_of(again) == numbers(*NUMBERS) + chunk(b"")


def test_events_pass_as_they_come(net: World) -> None:
    go = asyncio.Event()

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.target == "/go":
            go.set()
            writer.write(response(b"gone"))
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(chunk(b": hello\n\ndata: o"))
        writer.write(chunk(b"ne\n\n"))
        await writer.drain()
        await go.wait()
        writer.write(numbers(b"two", b"three") + chunk(b""))

    weather = storm(net, [rule("cut-stream", match={"path": ("/events",)}, at_event=3)], HttpUpstream(answer))
    with connect(weather.port) as sock:
        sock.sendall(ONCE)
        # Upstream sends nothing more until this has arrived.
        begun = read_until(sock, b"one\n\n\r\n")
        assert requests.get(f"http://127.0.0.1:{weather.port}/go", headers={"Host": HOST}, timeout=60).ok
        rest = read_all(sock)
    assert body_of(begun + rest) == chunk(b": hello\n\n") + numbers(b"one", b"two") + chunk(b"")


@pytest.mark.parametrize("form", ["length", "gzip", "close"])
@pytest.mark.parametrize("how", HOWS)
def test_streams_in_other_forms(net: World, form: str, how: str) -> None:
    stream = b"data: one\r\n\r\nid: 7\ndata: two\n\ndata: three\n\n"
    head = {"Content_Type": "text/event-stream"}
    if form == "length":
        data = response(stream, **head)
    elif form == "gzip":
        data = response(gzip.compress(stream), Content_Encoding="gzip", **head)
    else:
        data = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream
    weather = storm(
        net, [rule("cut-stream", how=how, at_event=2)], HttpUpstream(says(data, close=form == "close"))
    )
    got, _ = ask_and_end(weather.port, ONCE[:-2] + b"Accept-Encoding: gzip\r\n\r\n")
    text = got.decode()
    assert "content-length" not in text.lower()
    assert "content-encoding" not in text.lower()
    assert "three" not in text
    if how != "reset":
        assert "data: one\r\n\r\n" in text
        assert ("id: 7" in text) is (how != "clean")


def complete(weather: Storm, **more: Any) -> Any:
    http = httpx.Client(headers={"Host": HOST}, timeout=60)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{weather.port}/v1", api_key="k", http_client=http)
    return client.chat.completions.create(model="m", messages=[], stream=True, **more)


@pytest.mark.parametrize("how", ["clean", "inside-event", "ragged"])
def test_openai_returns_the_partial_text_as_a_success(net: World, how: str) -> None:
    weather = storm(net, [rule("cut-stream", how=how, at_event=3)], sent(wire.CHAT_STREAM))
    text = "".join(piece.choices[0].delta.content or "" for piece in complete(weather))
    assert text == "Let me "
    assert len(weather.upstream.received) == 1


@pytest.mark.parametrize("how", ["in-chunk", "reset"])
def test_openai_raises_and_does_not_try_again(net: World, how: str) -> None:
    weather = storm(net, [rule("cut-stream", how=how, at_event=3)], sent(wire.CHAT_STREAM))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, openai.APIError)):
        list(complete(weather))
    assert len(weather.upstream.received) == 1


@pytest.mark.parametrize("how", ["clean", "inside-event", "ragged"])
def test_anthropic_returns_the_partial_text_as_a_success(net: World, how: str) -> None:
    weather = storm(net, [rule("cut-stream", how=how, at_event=5)], sent(wire.MESSAGE_STREAM))
    http = httpx2.Client(headers={"Host": HOST}, timeout=60)
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{weather.port}", api_key="k", http_client=http)
    with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        message = stream.get_final_message()
    assert message.content[0].text == "Let me "  # type: ignore[union-attr]
    assert message.stop_reason is None
    assert len(weather.upstream.received) == 1


ENDINGS = {
    "chat": (wire.CHAT_STREAM, '"finish_reason": "tool_calls"'),
    "responses": (wire.response_events(), "response.completed"),
    "messages": (wire.MESSAGE_STREAM, "message_delta"),
    "gemini": (wire.events(*wire.GEMINI_CHUNKS), '"finishReason"'),
    "done": (wire.events({"a": 1}, "[DONE]"), "[DONE]"),
}


@pytest.mark.parametrize("format", ENDINGS)
def test_the_event_that_ends_an_answer_never_arrives(net: World, format: str) -> None:
    stream, mark = ENDINGS[format]
    weather = storm(net, [rule("cut-stream", at_event=1000)], sent(stream))
    got = ask(weather.port, ONCE).decode()
    at = stream.rindex("\n\n", 0, stream.index(mark)) + 2
    assert "".join(line for line in got.split("\r\n") if line.startswith(("data", "event"))) == stream[:at]
    assert weather.report("cut-stream").fired == 1


def test_without_a_number_it_varies_and_is_the_same_in_every_run(net: World) -> None:
    many = HttpUpstream(event_stream([b"x%d" % number for number in range(40)]))

    def counts() -> list[int]:
        weather = storm(net, [rule("cut-stream")], many)
        return [ask(weather.port, ONCE).count(b"data: ") for _ in range(12)]

    found = counts()
    assert found == counts()
    assert all(3 <= count <= 11 for count in found)
    assert len(set(found)) > 2


@pytest.mark.parametrize(
    ("upstream", "why"),
    [
        (HttpUpstream(event_stream(NUMBERS)), "the stream ended before event 9"),
        (HttpUpstream(says(response(b"{}"))), "the response is no event stream"),
        (
            HttpUpstream(says(response(b"?", Content_Type="text/event-stream", Content_Encoding="br"))),
            "the event stream's content coding cannot be undone",
        ),
    ],
)
def test_what_cannot_be_cut_passes_and_is_no_hit(net: World, upstream: HttpUpstream, why: str) -> None:
    plain = storm(net, [], upstream)
    weather = storm(net, [rule("cut-stream", at_event=9)], upstream)
    assert ask(weather.port, ONCE) == ask(plain.port, ONCE)
    weather.exchanges(1)
    report = weather.report("cut-stream")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


@pytest.mark.parametrize("how", ["clean", "inside-event", "in-chunk"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_answer_of_an_mcp_tool_is_lost_though_the_tool_has_run(net: World, how: str, mode: str) -> None:
    hit = rule("cut-stream", match={"tool": ("lookup_order",)}, how=how)
    with mcp_storm(net, [hit]) as world:
        with pytest.raises((MCPError, BaseExceptionGroup)) as raised:
            world.call("lookup_order", 7, mode=mode)
        assert "SSE stream ended without a response" in _texts(raised.value)
        assert world.seen == ["looking"]
        assert world.shop.calls == [("lookup_order", 7)]
        assert world.report("cut-stream").fired == 1


def _texts(error: BaseException) -> str:
    inner = "".join(map(_texts, error.exceptions)) if isinstance(error, BaseExceptionGroup) else ""
    return f"{error} {inner}"


def test_a_parameter_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="at_event"):
        CutStream.read({"at_event": 0})


# The events themselves


async def _pieces(*pieces: bytes, cut: bool = False) -> Any:
    for piece in pieces:
        yield piece
    if cut:
        raise Cut("gone")


def blocks(*pieces: bytes) -> list[tuple[bytes, str | None]]:
    async def run() -> list[tuple[bytes, str | None]]:
        return [(block, event and event.data) async for block, event in events.blocks(_pieces(*pieces))]

    return asyncio.run(run())


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_stream_is_split_whatever_its_line_ends_and_pieces(end: bytes, size: int) -> None:
    stream = end.join([b": hi", b"", b"event: a", b"data: 1", b"data: 2", b"", b"data: 3", b"", b"data: 4"])
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = blocks(*pieces)
    assert b"".join(block for block, _ in found) == stream
    assert [data for _, data in found if data is not None] == ["1\n2", "3"]
    assert found[0][1] is None
    assert found[-1][0].strip() == b"data: 4"


def test_what_broke_off_upstream_is_passed_on_to_the_byte() -> None:
    async def run() -> bytes:
        got = b""
        try:
            async for block, _ in events.blocks(_pieces(b"data: 1\n\nda", cut=True)):
                got += block
        except Cut:
            return got + b" and the cut"
        return got

    assert asyncio.run(run()) == b"data: 1\n\nda and the cut"


def test_an_event_without_an_end_is_not_held_for_ever() -> None:
    part = b"x" * (3 * 1024 * 1024)
    found = blocks(b"data: ", part, part, part, b"\n\ndata: 2\n\n")
    assert len(found[0][0]) > events.MAX_BLOCK_BYTES
    assert found[0][1] is None
    assert found[-1] == (b"data: 2\n\n", "2")


def test_an_event_is_given_other_data() -> None:
    block = b"event: a\r\nid: 4\r\ndata: {\r\ndata: }\r\n\r\n"
    assert events.with_data(block, b"1\n2") == b"event: a\nid: 4\ndata: 1\ndata: 2\n\n"
