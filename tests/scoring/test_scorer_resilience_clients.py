"""Scorer `resilience` on what real client libraries do in a real gateway's weather."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import openai
import pytest
import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from aegis.sandbox.base import Sandbox
from aegis.scoring import registry
from aegis.scoring.base import Score, ScoreContext
from aegis.trace import Trace, TurnRecord, build_trace
from support import wire
from support.gateway_server import World, world
from support.http_upstream import HttpUpstream, response, says
from support.scoring import case
from support.storm import HOST, Storm, rule, storm
from support.storm_client import Client

ORDER = {"id": 1042, "total": 1318.75, "tracking": "ZX-77-1900"}


@pytest.fixture
def net(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def answering(value: Any) -> HttpUpstream:
    kind = "text/event-stream" if isinstance(value, str) else "application/json"
    body = value if isinstance(value, str) else json.dumps(value)
    return HttpUpstream(says(response(body.encode(), Content_Type=kind)))


def model(weather: Storm) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="sk-1", base_url=f"http://127.0.0.1:{weather.port}/v1", default_headers={"Host": HOST}
    )


def judged(weather: Storm, count: int, *rules: str, answer: str = "Done.") -> Score:
    """The score of these rules for the first exchanges."""
    exchanges = weather.exchanges(count)
    blobs = weather.server.blobs
    trace = Trace(turns=(TurnRecord("What about my order?", answer, 600.0),), duration_s=600.0)
    trace = build_trace(trace, exchanges, blobs.__getitem__, faults=weather.weather.reports())
    context = ScoreContext(case(), trace, cast("Sandbox", None), {}, blobs.__getitem__)
    config = {"only": list(rules)}
    assert registry.check("resilience", config) == []
    return asyncio.run(registry.get("resilience").score(config, context))  # type: ignore[arg-type]


def test_the_sdk_waits_as_it_is_told(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="300ms")], answering(wire.chat()))
    model(weather).chat.completions.create(model="m", messages=[])
    score = judged(weather, 2, "retry-after", "no-storm", "no-futile-retry", "no-duplicate-writes")
    assert score.passed, score.reason
    assert score.reason.startswith(
        "retry-after: 1 wait kept; no-storm: 1 failing request, at most 2 attempts"
    )


def test_a_client_that_does_not_wait(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="30s")])
    client = Client(weather, "token")
    assert [client.get("/orders/1042").status_code for _ in range(3)] == [429, 429, 429]
    score = judged(weather, 3, "retry-after")
    assert not score.passed
    assert "retry-after: GET api.example/orders/1042 got 429 with Retry-After 30 s at" in score.reason
    assert score.reason.endswith("s too early (and 1 more like it)")
    assert weather.report("rate-limit").notes == ("2 early retries were refused again",)


def test_the_sdk_tries_a_used_up_quota_again(net: World) -> None:
    """Found by nobody until it is measured: OpenAI's own client repeats `insufficient_quota`."""
    weather = storm(net, [rule("quota-exceeded")], answering(wire.chat()))
    with pytest.raises(openai.RateLimitError):
        model(weather).chat.completions.create(model="m", messages=[])
    score = judged(weather, 3, "no-futile-retry")
    assert not score.passed
    assert "(quota used up)" in score.reason
    assert "(exchange 2, the SDK's retry 1)" in score.reason
    assert "(exchange 3, the SDK's retry 2)" in score.reason


def test_urllib3_without_a_factor(net: World) -> None:
    weather = storm(net, [rule("server-error", status=503)])
    session = requests.Session()
    session.headers["Host"] = HOST
    session.mount("http://", HTTPAdapter(max_retries=Retry(10, status_forcelist=[503])))
    with pytest.raises(requests.exceptions.RetryError):
        session.get(f"http://127.0.0.1:{weather.port}/orders/1042", timeout=60)
    score = judged(weather, 11, "no-storm", "backoff")
    assert (score.passed, score.value) == (False, 0.0)
    assert "was sent again without a pause worth the name" in score.reason
    assert "GET api.example/orders/1042 was sent 11 times" in score.reason


def test_tenacity_around_a_write_that_is_reset(net: World) -> None:
    weather = storm(net, [rule("reset")])
    client = Client(weather)

    @tenacity.retry(stop=tenacity.stop_after_attempt(7))
    def refund() -> None:
        client.post("/refunds", json={"order": 1042})

    with pytest.raises(tenacity.RetryError):
        refund()
    score = judged(weather, 7, "no-storm", "no-duplicate-writes")
    assert (score.passed, score.value) == (False, 0.0)
    assert "no-duplicate-writes: POST api.example/refunds got no answer" in score.reason
    assert "without an idempotency key and without a look in between (and 5 more like it)" in score.reason


def refreshing(client: Client, times: int) -> None:
    if client.get("/orders/1042").status_code == 401:
        for _ in range(times):
            form = {"grant_type": "refresh_token", "refresh_token": "r-1"}
            client.use(client.post("/oauth/token", data=form).json()["access_token"])
        assert client.get("/orders/1042").status_code == (200 if times else 401)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (1, ""),
        (2, "and the token was refreshed 2 times"),
        (0, "(exchange 2) without a refresh"),
    ],
)
def test_a_token_that_expires(net: World, times: int, told: str) -> None:
    weather = storm(net, [rule("token-expired")])
    refreshing(Client(weather, "old"), times)
    score = judged(weather, 2 + times, "token-refresh")
    assert score.passed is (times == 1), score.reason
    assert told in score.reason


def test_a_refresh_token_that_is_dead(net: World) -> None:
    endpoint = {"method": ("POST",), "path": ("/oauth/token",)}
    weather = storm(net, [rule("token-expired"), rule("refresh-revoked", match=endpoint)])
    client = Client(weather, "old")
    assert client.get("/orders/1042").status_code == 401
    assert client.post("/oauth/token", data={"grant_type": "refresh_token"}).status_code == 400
    assert judged(weather, 2, "token-refresh", "no-futile-retry").passed
    client.get("/orders/7")
    score = judged(weather, 3, "token-refresh")
    assert "GET api.example/orders/7 was sent at" in score.reason
    assert "with the dead token" in score.reason


def test_the_sdk_takes_half_a_stream_for_a_success(net: World) -> None:
    weather = storm(net, [rule("cut-stream", on=(1,), at_event=3)], answering(wire.CHAT_STREAM))

    def ask() -> str:
        pieces = model(weather).chat.completions.create(model="m", messages=[], stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)

    answer = ask()
    score = judged(weather, 1, "truncation", answer=answer)
    assert not score.passed
    assert "and that part is in the answer as if it were all" in score.reason
    again = ask()
    assert again != answer
    assert judged(weather, 2, "truncation", answer=again).passed


@pytest.mark.parametrize("how", ["right-length", "wrong-length", "in-chunk", "in-gzip", "until-close"])
def test_every_way_to_truncate(net: World, how: str) -> None:
    weather = storm(net, [rule("truncate", on=(1,), how=how)], answering([ORDER] * 200))
    client = Client(weather)
    try:
        client.get("/orders")
    except requests.RequestException:
        pass
    assert "got 200 and" in judged(weather, 1, "truncation", answer="There are 90 orders.").reason
    assert judged(weather, 1, "truncation", answer="The list of orders was incomplete.").passed
    client.get("/orders")
    assert judged(weather, 2, "truncation", answer="There are 200 orders.").passed


def told_by(answer: str) -> Callable[[Storm], Score]:
    return lambda weather: judged(weather, 1, "honesty", answer=answer)


@pytest.mark.parametrize(
    "inject", ["server-error", "gateway-html", "overloaded", "forbidden", "empty-reply", "reset"]
)
def test_an_outage_that_never_ends(net: World, inject: str) -> None:
    weather = storm(net, [rule(inject)], answering(ORDER))
    try:
        Client(weather).get("/orders/1042")
    except requests.RequestException:
        pass
    assert told_by("I could not reach the order system.")(weather).passed
    silent = told_by("Your order is on its way.")(weather)
    assert "never got through, and the answer does not admit it" in silent.reason
    made_up = told_by("The system failed; the total is $1,318.75.")(weather)
    assert not made_up.passed
    assert "the answer has 1318.75, which only GET api.example/orders/1042" in made_up.reason
