from __future__ import annotations

from typing import Any

import pytest

from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client


@pytest.mark.parametrize(
    ("provider", "status", "part"),
    [
        ("generic", 403, {"error": "insufficient_scope"}),
        ("github", 403, {"message": "Resource not accessible by integration", "status": "403"}),
        ("slack", 200, {"ok": False, "error": "missing_scope", "needed": "chat:write"}),
        ("anthropic", 403, {"type": "error"}),
    ],
)
def test_it_refuses_in_the_form_of_the_provider(
    net: World, provider: str, status: int, part: dict[str, Any]
) -> None:
    weather = storm(net, [rule("forbidden", provider=provider)])
    answer = Client(weather, "tok").get()
    assert answer.status_code == status
    assert part.items() <= answer.json().items()
    assert weather.upstream.received == [] or weather.report("forbidden").permanent


def test_a_standard_challenge_says_what_is_missing(net: World) -> None:
    answer = Client(storm(net, [rule("forbidden")]), "tok").post("/orders")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


def test_the_key_is_masked_and_the_model_named(net: World) -> None:
    stripe = Client(storm(net, [rule("forbidden", provider="stripe")]), "rk_test_abcdefghijklmnop")
    message = stripe.get().json()["error"]["message"]
    assert message.startswith("The provided key 'rk_test_**********klmnop' does not have")
    openai = Client(storm(net, [rule("forbidden")]), "sk-1")
    error = openai.post("/v1/responses", json={"model": "gpt-9"}).json()["error"]
    assert error["message"].endswith("does not have access to model `gpt-9`")
