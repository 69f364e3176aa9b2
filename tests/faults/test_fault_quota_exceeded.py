from __future__ import annotations

import openai
import pytest

from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client


def test_openai_says_429_that_no_waiting_cures(net: World) -> None:
    weather = storm(net, [rule("quota-exceeded")])
    answer = Client(weather).post("/v1/chat/completions", json={"model": "m"})
    assert answer.status_code == 429
    assert not [name for name in answer.headers if name.lower().startswith(("retry", "x-ratelimit"))]
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "credit_balance_exhausted")
    assert error["message"].startswith("You exceeded your current quota")
    assert weather.report("quota-exceeded").permanent


def test_anthropic_tells_credits_from_the_spending_limit(net: World) -> None:
    rules = [
        rule("quota-exceeded", id="credits", on=(1,)),
        rule("quota-exceeded", id="spend", on=(2,), cause="spend-limit"),
    ]
    client = Client(storm(net, rules))
    credits, spend = (client.post("/v1/messages", json={}) for _ in range(2))
    assert (credits.status_code, credits.json()["error"]["type"]) == (402, "billing_error")
    assert spend.status_code == 429
    error = spend.json()["error"]
    assert error["type"] == "rate_limit_error"
    assert error["details"] == {"error_code": "enforced_spend_limit_reached"}
    assert "retry-after" not in spend.headers
    assert "x-should-retry" not in spend.headers


@pytest.mark.parametrize(
    ("provider", "status"), [("generic", 402), ("github", 402), ("stripe", 402), ("slack", 200)]
)
def test_others_say_it_in_their_own_shape(net: World, provider: str, status: int) -> None:
    weather = storm(net, [rule("quota-exceeded", provider=provider)])
    answer = Client(weather).get()
    assert answer.status_code == status
    assert ("error" in answer.json()) is (provider != "github")


def test_the_official_client_asks_three_times_for_nothing(net: World) -> None:
    weather = storm(net, [rule("quota-exceeded", provider="openai")])
    client = openai.OpenAI(
        api_key="sk-1",
        base_url=f"http://127.0.0.1:{weather.port}/v1",
        default_headers={"Host": "api.example"},
    )
    with pytest.raises(openai.RateLimitError) as caught:
        client.responses.create(model="m", input="hi")
    assert caught.value.code == "credit_balance_exhausted"
    assert weather.report("quota-exceeded").fired == 3
