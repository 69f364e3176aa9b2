from __future__ import annotations

import gzip
import json
from typing import Any

import anthropic
import openai
import pytest

from aegis.faults import registry
from support.gateway_server import World
from support.http_upstream import HttpUpstream, event_stream, response, says
from support.storm import Storm, rule, storm
from support.storm_client import Client

CHUNKS = [
    b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%d"}}]}'
    % number
    for number in range(5)
]


def test_it_answers_for_the_upstream_which_hears_nothing_of_it(net: World) -> None:
    weather = storm(net, [rule("overloaded", on=(1,))])
    client = Client(weather)
    first, again = client.get(), client.get()
    assert (first.status_code, first.reason) == (503, "Service Unavailable")
    assert first.json()["error"]["code"] == "overloaded"
    assert again.status_code == 200
    assert len(weather.upstream.received) == 1
    assert [exchange.faults for exchange in weather.exchanges(2)] == [("overloaded",), ()]
    report = weather.report("overloaded")
    assert (report.matched, report.fired) == (2, 1)


@pytest.mark.parametrize("status", [500, 503, 599])
def test_the_status_is_a_parameter(net: World, status: int) -> None:
    weather = storm(net, [rule("overloaded", status=status)])
    assert Client(weather).get().status_code == status


def test_anthropic_says_529_to_the_byte(net: World) -> None:
    weather = storm(net, [rule("overloaded")])
    answer = Client(weather).post("/v1/messages", json={"model": "claude"})
    assert (answer.status_code, answer.reason) == (529, "Overloaded")
    request_id = answer.headers["request-id"]
    assert request_id.startswith("req_011C")
    assert answer.headers["x-should-retry"] == "true"
    assert answer.text == (
        '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},'
        f'"request_id":"{request_id}"}}'
    )


def test_openai_says_503(net: World) -> None:
    weather = storm(net, [rule("overloaded")])
    answer = Client(weather).post("/v1/responses", json={"model": "gpt-5"})
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "message": "Our servers are currently overloaded. Please try again later.",
        "type": "service_unavailable_error",
        "param": None,
        "code": "server_is_overloaded",
    }


def test_slack_says_it_in_a_200(net: World) -> None:
    weather = storm(net, [rule("overloaded", provider="slack")])
    answer = Client(weather).post("/api/chat.postMessage")
    assert answer.status_code == 200
    assert answer.json() == {"ok": False, "error": "service_unavailable"}


def streaming(net: World, **params: Any) -> Storm:
    upstream = HttpUpstream(event_stream([*CHUNKS, b"[DONE]"]))
    return storm(net, [rule("overloaded", in_stream=True, **params)], upstream)


def test_in_a_stream_the_error_follows_whole_events(net: World) -> None:
    weather = streaming(net, provider="anthropic", after_events=2)
    answer = Client(weather).post("/v1/messages", json={"stream": True})
    assert answer.status_code == 200
    events = answer.text.split("\n\n")
    assert events[:2] == [f"data: {chunk.decode()}" for chunk in CHUNKS[:2]]
    name, data = events[2].split("\n")
    assert name == "event: error"
    error = json.loads(data.removeprefix("data: "))
    assert error["error"] == {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    assert events[3:] == [""]


def test_a_stream_that_is_shorter_gets_the_error_at_its_end(net: World) -> None:
    weather = streaming(net, after_events=50)
    text = Client(weather).post("/chat/completions", json={"stream": True}).text
    assert text.count("data: ") == 7
    assert json.loads(text.rstrip().rpartition("data: ")[2])["error"]["code"] == "server_is_overloaded"


def test_a_coded_stream_is_ended_too(net: World) -> None:
    """Half an event at the stream's end is dropped: it would swallow the error."""
    text = b": ping\n\nevent: a\ndata: 1\n\ndata: 2\n\ndata: ha"
    coded = response(gzip.compress(text), Content_Type="text/event-stream", Content_Encoding="gzip")
    weather = storm(net, [rule("overloaded", in_stream=True, after_events=9)], HttpUpstream(says(coded)))
    answer = Client(weather).get()
    assert "Content-Encoding" not in answer.headers
    assert answer.text.startswith(": ping\n\nevent: a\ndata: 1\n\ndata: 2\n\nevent: error\ndata: {")


def test_the_official_client_of_openai_raises_in_the_middle(net: World) -> None:
    weather = streaming(net, after_events=2)
    client = openai.OpenAI(
        api_key="sk-1",
        base_url=f"http://127.0.0.1:{weather.port}/v1",
        default_headers={"Host": "api.example"},
    )
    messages: Any = [{"role": "user", "content": "hi"}]
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    said: list[str | None] = []
    with pytest.raises(openai.APIError, match="currently overloaded"):
        said.extend(chunk.choices[0].delta.content for chunk in stream)
    assert said == ["0", "1"]
    assert len(weather.upstream.received) == 1


def test_the_official_client_of_anthropic_raises_in_the_middle(net: World) -> None:
    weather = streaming(net, provider="anthropic", after_events=0)
    client = anthropic.Anthropic(
        api_key="sk-1",
        base_url=f"http://127.0.0.1:{weather.port}",
        default_headers={"Host": "api.example"},
    )
    messages: Any = [{"role": "user", "content": "hi"}]
    stream = client.messages.create(model="m", max_tokens=9, messages=messages, stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(stream)
    assert len(weather.upstream.received) == 1


def test_what_is_no_event_stream_passes_and_is_no_hit(net: World) -> None:
    upstream = HttpUpstream(says(response(b'{"ok": 1}', Content_Type="application/json")))
    weather = storm(net, [rule("overloaded", in_stream=True)], upstream)
    assert Client(weather).get().json() == {"ok": 1}
    report = weather.report("overloaded")
    assert (report.matched, report.fired) == (1, 0)
    assert report.notes == ("1 answer was no event stream and passed unchanged",)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"in_stream": True, "status": 503}, "no status of its own"),
        ({"after_events": 2}, "needs in_stream"),
        ({"status": 429}, "from 500 to 599"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        registry.get("overloaded").read(params)
