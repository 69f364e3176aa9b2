from __future__ import annotations

import pytest
import requests

from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client


@pytest.mark.parametrize(
    ("provider", "status", "field"),
    [
        ("generic", 500, ("error", "code", "server_error")),
        ("openai", 500, ("error", "type", "server_error")),
        ("anthropic", 500, ("error", "type", "api_error")),
        ("stripe", 500, ("error", "type", "api_error")),
    ],
)
def test_each_provider_breaks_in_its_own_form(
    net: World, provider: str, status: int, field: tuple[str, str, str]
) -> None:
    weather = storm(net, [rule("server-error", provider=provider)])
    answer = Client(weather).get()
    assert answer.status_code == status
    assert answer.json()[field[0]][field[1]] == field[2]
    assert weather.report("server-error").permanent


def test_github_and_slack_have_other_shapes(net: World) -> None:
    rules = [
        rule("server-error", id="a", on=(1,), provider="github", status=502),
        rule("server-error", id="b", on=(2,), provider="slack"),
    ]
    client = Client(storm(net, rules))
    github, slack = client.get(), client.get()
    assert (github.status_code, github.json()["message"]) == (502, "Server Error")
    assert (slack.status_code, slack.json()) == (200, {"ok": False, "error": "internal_error"})


def test_a_request_may_have_been_carried_out_all_the_same(net: World) -> None:
    weather = storm(net, [rule("server-error", on=(1, 3), carried_out=True)])
    client = Client(weather)
    answers = [client.post("/orders", json={"number": number}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [500, 200, 500]
    assert [received.body for received in weather.upstream.received] == [
        b'{"number": 0}',
        b'{"number": 1}',
        b'{"number": 2}',
    ]


def test_upstream_hears_nothing_by_default(net: World) -> None:
    weather = storm(net, [rule("server-error", on=(1,))])
    Client(weather).post("/orders", json={})
    assert weather.upstream.received == []


def charge(client: Client, key: str | None, amount: int = 1) -> requests.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/charges", data={"amount": amount}, headers=headers)


def test_stripe_gives_the_stored_500_again_for_the_same_key(net: World) -> None:
    weather = storm(net, [rule("server-error", on=(1,), provider="stripe", carried_out=True)])
    client = Client(weather, "sk_test_1")
    first, again, third = charge(client, "k1"), charge(client, "k1"), charge(client, "k1")
    assert [first.status_code, again.status_code, third.status_code] == [500, 500, 500]
    assert first.content == again.content == third.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert len(weather.upstream.received) == 1
    assert charge(client, "k2").status_code == 200
    assert charge(client, None).status_code == 200
    report = weather.report("server-error")
    assert report.fired == 3
    assert report.notes == ("the stored answer was given again 2 times: the same Idempotency-Key",)


def test_the_same_key_for_another_request_is_an_error(net: World) -> None:
    client = Client(storm(net, [rule("server-error", on=(1,), provider="stripe")]), "sk_test_1")
    charge(client, "k1", amount=1)
    other = charge(client, "k1", amount=2)
    assert other.status_code == 400
    assert other.json()["error"]["type"] == "idempotency_error"
    assert "'k1'" in other.json()["error"]["message"]


def test_keys_of_different_accounts_are_different(net: World) -> None:
    weather = storm(net, [rule("server-error", on=(1,), provider="stripe")])
    assert charge(Client(weather, "sk_one"), "k1").status_code == 500
    assert charge(Client(weather, "sk_two"), "k1").status_code == 200


def test_others_keep_nothing_unless_told_to(net: World) -> None:
    client = Client(storm(net, [rule("server-error", on=(1,))]))
    assert [charge(client, "k1").status_code for _ in range(2)] == [500, 200]
    client = Client(storm(net, [rule("server-error", on=(1,), idempotent=True)]))
    assert [charge(client, "k1").status_code for _ in range(2)] == [500, 500]
    client = Client(storm(net, [rule("server-error", on=(1,), provider="stripe", idempotent=False)]))
    assert [charge(client, "k1").status_code for _ in range(2)] == [500, 200]
