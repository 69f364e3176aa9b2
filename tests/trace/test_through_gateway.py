"""What the gateway really records of an unmodified client, read as a trace."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest

from aegis.trace import Trace, TurnRecord, build_trace
from support import wire
from support.gateway_server import world
from support.recorder import Recorder

httpx = pytest.importorskip("httpx")
openai = pytest.importorskip("openai")


def test_a_trial_of_two_answers_one_tool_and_one_refusal(tmp_path: Path) -> None:
    cut = wire.CHAT_STREAM[: wire.CHAT_STREAM.index("call_a")]
    replies = [
        wire.streamed(wire.CHAT_STREAM),
        wire.plain({"paid": 42}),
        wire.plain(wire.chat("Done.")),
        wire.streamed(cut, cut=True),
    ]
    told = [{"role": "tool", "tool_call_id": "call_a", "content": "paid 42"}]
    with Recorder(lambda request: replies.pop(0)) as upstream, world(tmp_path) as net:
        server = net.gateway(
            allow=("api.openai.com", "crm.example"),
            routes={"api.openai.com": upstream.url, "crm.example": upstream.url},
        )
        trusted = ssl.create_default_context(cafile=net.ca_file(server))
        with httpx.Client(proxy=server.proxy(), verify=trusted) as http:
            client = openai.OpenAI(api_key="sk-test", http_client=http, max_retries=0)
            create = client.chat.completions.create
            list(create(model="gpt-5-mini", messages=[], stream=True))
            http.get("https://crm.example/orders/1042")
            with contextlib.suppress(httpx.HTTPError):
                http.get("https://evil.example/")
            create(model="gpt-5-mini", messages=told)
            with pytest.raises(openai.APIError):
                list(create(model="gpt-5-mini", messages=[], stream=True))
        exchanges = server.wait_for(5)
        driver = Trace(turns=(TurnRecord("Refund 1042", "Done.", 1.0),))
        trace = build_trace(driver, exchanges, server.blobs.__getitem__)
    first, second, broken = trace.model_calls
    assert (first.text, first.provider, first.input_tokens) == ("Let me look.", "openai", 1000)
    assert first.first_token_s is not None
    assert (second.text, second.streamed) == ("Done.", False)
    assert (broken.text, broken.incomplete, broken.output_tokens) == ("Let me look.", True, None)
    assert broken.error is not None
    lookup, policy = trace.tool_calls
    assert (lookup.name, lookup.arguments, lookup.result) == ("lookup_order", {"order": 1042}, "paid 42")
    crm = next(item.id for item in exchanges if item.host == "crm.example")
    assert crm in lookup.exchanges
    assert crm not in policy.exchanges
    assert trace.denied_hosts == ("evil.example:443",)
    assert trace.usage is not None
    assert (trace.usage.usd, trace.usage.known_usd, trace.usage.unread) == (None, pytest.approx(0.00081), 1)
