"""An instruction that the gateway adds to model requests: in every format, and as the providers' clients send it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.faults.rewrites import prompts
from aegis.gateway.replay import Recording
from aegis.suite.model import FaultRule
from support import wire
from support.fuzzing import examples
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.storm import HOST, Storm, rule, storm

PROMPT = "rewrite/system-prompt"
TEXT = "Answers end with a line."
PART = {"type": "text", "text": TEXT}


def prompt() -> FaultRule:
    return rule(PROMPT, id="prompt", match={"call": "model"}, text=TEXT)


def answering(value: Any) -> HttpUpstream:
    return HttpUpstream(says(response(json.dumps(value).encode(), Content_Type="application/json")))


def post(weather: Storm, path: str, body: Any, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{weather.port}{path}"
    return requests.post(
        url, data=data, headers={"Host": HOST, "Content-Type": "application/json", **headers}, timeout=60
    )


def arrived(weather: Storm) -> Any:
    return json.loads(weather.upstream.received[-1].body)


USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be kind."}
GEMINI = "/v1beta/models/g:generateContent"


@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        (
            "/v1/chat/completions",
            {"messages": [USER]},
            {"messages": [{"role": "system", "content": TEXT}, USER]},
        ),
        (
            "/v1/chat/completions",
            {"messages": [SYSTEM, USER]},
            {"messages": [{"role": "system", "content": f"Be kind.\n\n{TEXT}"}, USER]},
        ),
        (
            "/openai/deployments/x/chat/completions",
            {"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}]}, USER]},
            {"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}, PART]}, USER]},
        ),
        ("/v1/responses", {"input": "Hi"}, {"input": "Hi", "instructions": TEXT}),
        (
            "/v1/responses",
            {"input": "Hi", "instructions": "Be kind."},
            {"input": "Hi", "instructions": f"Be kind.\n\n{TEXT}"},
        ),
        (
            "/v1/responses",
            {"input": [SYSTEM, USER], "instructions": None},
            {"input": [{**SYSTEM, "content": f"Be kind.\n\n{TEXT}"}, USER], "instructions": None},
        ),
        (
            "/v1/responses",
            {"input": [{"role": "developer", "content": [{"type": "input_text", "text": "a"}]}]},
            {
                "input": [
                    {
                        "role": "developer",
                        "content": [
                            {"type": "input_text", "text": "a"},
                            {"type": "input_text", "text": TEXT},
                        ],
                    }
                ]
            },
        ),
        ("/v1/messages", {"messages": [USER]}, {"messages": [USER], "system": TEXT}),
        (
            "/v1/messages",
            {"messages": [USER], "system": "Be kind."},
            {"messages": [USER], "system": f"Be kind.\n\n{TEXT}"},
        ),
        (
            "/v1/messages",
            {
                "messages": [USER],
                "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            },
            {
                "messages": [USER],
                "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, PART],
            },
        ),
        (
            "/model/m/invoke",
            {"anthropic_version": "bedrock-2023-05-31", "messages": [USER]},
            {"anthropic_version": "bedrock-2023-05-31", "messages": [USER], "system": TEXT},
        ),
        ("/model/m/converse", {"messages": []}, {"messages": [], "system": [{"text": TEXT}]}),
        (GEMINI, {"contents": []}, {"contents": [], "systemInstruction": {"parts": [{"text": TEXT}]}}),
        (
            GEMINI,
            {"contents": [], "system_instruction": {"parts": [{"text": "a"}]}},
            {"contents": [], "system_instruction": {"parts": [{"text": "a"}, {"text": TEXT}]}},
        ),
        (
            GEMINI,
            {"contents": [], "systemInstruction": {"parts": {"text": "a"}}},
            {"contents": [], "systemInstruction": {"parts": [{"text": "a"}, {"text": TEXT}]}},
        ),
    ],
)
def test_it_stands_where_the_format_has_its_instructions(
    net: World, path: str, sent: Any, expected: Any
) -> None:
    weather = storm(net, [prompt()], answering({}))
    assert post(weather, path, sent).status_code == 200
    assert arrived(weather) == expected
    [exchange] = weather.exchanges(1)
    assert exchange.rewrites == ("prompt",)
    assert exchange.request_body is not None
    assert json.loads(exchange.request_body.text or "") == sent, "the trace holds what the agent sent"


@pytest.mark.parametrize(
    ("path", "sent", "headers"),
    [
        ("/v1/embeddings", {"input": "Hi"}, {}),
        ("/v1/completions", {"prompt": "Hi"}, {}),
        ("/v1/chat/completions", {"messages": "Hi"}, {}),
        ("/v1/chat/completions", [1], {}),
        ("/v1/chat/completions", b"\xff{", {}),
        ("/v1/messages", {"messages": [], "system": 5}, {}),
        ("/model/m/converse", {"messages": []}, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}),
        ("/model/m/invoke", {"prompt": "Hi"}, {}),
        ("/orders", {"messages": [USER]}, {}),
    ],
)
def test_other_requests_arrive_as_they_were_sent(net: World, path: str, sent: Any, headers: Any) -> None:
    weather = storm(net, [prompt()], answering({}))
    post(weather, path, sent, **headers)
    assert weather.upstream.received[-1].body == (
        sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    )
    assert weather.exchanges(1)[0].rewrites == ()


def test_long_coded_and_chunked_requests(net: World) -> None:
    weather = storm(net, [prompt()], answering({}))
    long = {"messages": [SYSTEM, {"role": "user", "content": "x" * 3_000_000}], "temperature": 0.70}
    sent = json.dumps(long).replace("0.7", "0.70").encode()
    post(weather, "/v1/chat/completions", sent)
    post(weather, "/v1/chat/completions", gzip.compress(sent), **{"Content-Encoding": "gzip"})
    url = f"http://127.0.0.1:{weather.port}/v1/chat/completions"
    requests.post(url, data=iter([sent[:1000], sent[1000:]]), headers={"Host": HOST}, timeout=60)
    for received in weather.upstream.received:
        assert json.loads(received.body)["messages"][0]["content"] == f"Be kind.\n\n{TEXT}"
        assert b'"temperature":0.70' in received.body
        assert int(received.headers["content-length"]) == len(received.body)
        assert "content-encoding" not in received.headers
    assert [item.rewrites for item in weather.exchanges(3)] == [("prompt",)] * 3


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_openai_client(net: World, api: str) -> None:
    openai = pytest.importorskip("openai")
    answer = wire.chat("Hello.") if api == "chat" else wire.response([wire.SAID])
    weather = storm(net, [prompt()], answering(answer))
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{weather.port}/v1",
        api_key="sk-test",
        max_retries=0,
        default_headers={"Host": HOST},
    )
    if api == "chat":
        client.chat.completions.create(model="m", messages=[SYSTEM, USER])
        assert arrived(weather)["messages"] == [{**SYSTEM, "content": f"Be kind.\n\n{TEXT}"}, USER]
    else:
        client.responses.create(model="m", instructions="Be kind.", input="Hi")
        assert arrived(weather)["instructions"] == f"Be kind.\n\n{TEXT}"
    assert weather.exchanges(1)[0].rewrites == ("prompt",)


def test_the_anthropic_client(net: World) -> None:
    anthropic = pytest.importorskip("anthropic")
    weather = storm(net, [prompt()], answering(wire.message([{"type": "text", "text": "Hello."}])))
    client = anthropic.Anthropic(
        base_url=f"http://127.0.0.1:{weather.port}",
        api_key="sk-test",
        max_retries=0,
        default_headers={"Host": HOST},
    )
    for system in ("Be kind.", [{"type": "text", "text": "Be kind."}]):
        client.messages.create(model="m", max_tokens=9, system=system, messages=[USER])
    assert json.loads(weather.upstream.received[0].body)["system"] == f"Be kind.\n\n{TEXT}"
    assert arrived(weather)["system"] == [{"type": "text", "text": "Be kind."}, PART]
    assert [item.rewrites for item in weather.exchanges(2)] == [("prompt",)] * 2


def test_a_replay_finds_the_request_that_the_agent_sent(net: World) -> None:
    weather = storm(net, [prompt()], answering({"choices": [1]}))
    body = {"messages": [USER], "model": "m"}
    assert post(weather, "/v1/chat/completions", body).json() == {"choices": [1]}
    recording = Recording(tuple(weather.exchanges(1)), weather.server.blobs.__getitem__)
    again = storm(net, [prompt()], answering({}), gateway={"replay": lambda name: recording})
    assert post(again, "/v1/chat/completions", body).json() == {"choices": [1]}
    assert again.upstream.received == []
    assert again.exchanges(1)[0].rewrites == ("prompt",)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "role", "content", "system", "input", "contents", "parts", "systemInstruction"]
            ),
            inner | st.sampled_from(["system", "developer"]),
            max_size=4,
        )
    ),
    max_leaves=10,
)
PATHS = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    GEMINI,
    "/model/m/converse",
    "/x:rawPredict",
]


@settings(max_examples=examples(500), deadline=None)
@given(st.sampled_from(PATHS), JSON)
def test_whatever_is_sent_the_text_is_in_it_or_nothing_changes(path: str, value: Any) -> None:
    before = json.dumps(value)
    done = prompts.instruct(path, value, TEXT)
    assert (TEXT in json.dumps(value)) is done
    if not done:
        assert json.dumps(value) == before
