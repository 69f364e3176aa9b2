from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
import requests

from aegis.faults import registry
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, response
from support.storm import HOST, Storm, rule, storm
from support.storm_client import Client, Clock

FORM = {"grant_type": "refresh_token", "refresh_token": "r-1"}


def refresh(client: Client, **form: str) -> requests.Response:
    return client.post("/oauth/token", data=form or FORM)


def new_token(client: Client) -> str:
    answer = refresh(client)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    client.use(token)
    return token


def sent(weather: Storm) -> list[str | None]:
    """The credentials that upstream was sent."""
    return [received.headers.get("authorization") for received in weather.upstream.received]


class Agent:
    """Works through its orders; at a 401 it refreshes once and sends the request once more."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def work(self, orders: int) -> list[int]:
        found = []
        for number in range(1, orders + 1):
            answer = self.client.get(f"/orders/{number}")
            if answer.status_code == 401:
                assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
                new_token(self.client)
                answer = self.client.get(f"/orders/{number}")
            found.append(answer.status_code)
        return found


def test_a_token_expires_mid_run_and_one_refresh_gets_the_agent_through(net: World) -> None:
    weather = storm(net, [rule("token-expired", match={"host": (HOST,)}, after=3)])
    client = Client(weather, "old")
    assert Agent(client).work(6) == [200] * 6
    exchanges = weather.exchanges(8)
    assert [(item.path, item.status) for item in exchanges] == [
        ("/orders/1", 200),
        ("/orders/2", 200),
        ("/orders/3", 200),
        ("/orders/4", 401),
        ("/oauth/token", 200),
        ("/orders/4", 200),
        ("/orders/5", 200),
        ("/orders/6", 200),
    ]
    assert [item.faults for item in exchanges] == [(), (), (), ("token-expired",), (), (), (), ()]
    # Upstream knows nothing of all that: it is sent what was good before.
    assert sent(weather) == ["Bearer old"] * 6
    report = weather.report("token-expired")
    assert (report.matched, report.fired) == (7, 1)
    assert report.notes == ("a new token was issued once",)
    assert report.params["refresh"] == {"path": "/oauth/token", "method": "POST"}
    assert not report.permanent


def test_the_same_with_a_secret_as_the_credential(net: World) -> None:
    """The agent holds a placeholder; upstream gets the value before the refresh and after it."""
    value = "sk-live-4f9a8c7e6d5b4a39281706f5"
    weather = storm(
        net,
        [rule("token-expired", match={"host": (HOST,)}, after=1)],
        secrets={"CRM_TOKEN": (HOST,)},
        gateway={"secret_values": {"CRM_TOKEN": value}},
    )
    placeholder = weather.server.session.environment()["CRM_TOKEN"]
    assert value not in placeholder
    client = Client(weather, placeholder)
    assert Agent(client).work(3) == [200, 200, 200]
    assert sent(weather) == [f"Bearer {value}"] * 3
    client.use(placeholder)
    assert client.get().status_code == 401
    recorded = "".join(str(item) for item in weather.exchanges(6))
    assert value not in recorded


def test_the_refusal_is_that_of_the_standard(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,))])
    client = Client(weather, "old")
    expired = client.get()
    assert expired.status_code == 401
    text = "The access token expired"
    assert expired.headers["WWW-Authenticate"] == f'Bearer error="invalid_token", error_description="{text}"'
    assert expired.json() == {"error": "invalid_token", "error_description": text}
    client.use("made-up")
    assert 'error_description="The access token is invalid"' in client.get().headers["WWW-Authenticate"]
    client.use(None)
    missing = client.get()
    assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert weather.upstream.received == []
    notes = weather.report("token-expired").notes
    assert notes == (
        "the refresh endpoint POST api.example/oauth/token was never called",
        "a token that nobody issued was refused once",
        "a request without a credential was refused once",
    )


@pytest.mark.parametrize(
    ("provider", "status", "part"),
    [
        ("github", 401, '"message":"Bad credentials"'),
        ("stripe", 401, '"code": "api_key_expired"'),
        ("anthropic", 401, '"message":"OAuth token has expired. Please obtain a new token'),
        ("openai", 401, '"message": "Incorrect API key provided: sk_live_****************wxyz.'),
        ("slack", 200, '"error":"token_expired"'),
    ],
)
def test_providers_refuse_in_their_own_form(net: World, provider: str, status: int, part: str) -> None:
    weather = storm(net, [rule("token-expired", on=(1,), provider=provider)])
    answer = Client(weather, "sk_live_0123456789abcdefwxyz").get()
    assert answer.status_code == status
    assert part in answer.text


def test_only_the_new_token_is_honoured_after_the_refresh(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,))])
    client = Client(weather, "old")
    client.get()
    token = new_token(client)
    assert len(token) == 40
    assert client.get().status_code == 200
    for wrong in ("old", "made-up", None):
        client.use(wrong)
        assert client.get().status_code == 401
    client.use(token)
    assert client.get().status_code == 200


def test_the_token_endpoint_answers_as_the_standard_says(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,))])
    client = Client(weather, "old")
    client.get()
    answer = refresh(client, **FORM, scope="orders")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    body = answer.json()
    assert (body.pop("access_token") != "old", body) == (
        True,
        {"token_type": "Bearer", "expires_in": 3600, "scope": "orders"},
    )
    assert weather.upstream.received == []


def test_the_same_trial_is_issued_the_same_tokens(net: World) -> None:
    def tokens() -> list[str]:
        client = Client(storm(net, [rule("token-expired", on=(1,))]), "old")
        client.get()
        return [new_token(client) for _ in range(2)]

    first = tokens()
    assert tokens() == first
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"data": {"refresh_token": "r"}}, 400, "invalid_request"),
        ({"data": {"grant_type": "refresh_token"}}, 400, "invalid_request"),
        ({"data": {"grant_type": "password", "username": "u"}}, 400, "unsupported_grant_type"),
        ({"data": "grant_type=refresh_token&grant_type=x&refresh_token=r"}, 400, "invalid_request"),
        ({"data": {"grant_type": "client_credentials"}}, 401, "invalid_client"),
        ({"data": b"\xff\xfe"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
    ],
)
def test_a_wrong_refresh_gets_the_right_error(
    net: World, body: dict[str, Any], status: int, error: str
) -> None:
    weather = storm(net, [rule("token-expired", on=(1,))])
    client = Client(weather, "old")
    client.get()
    answer = client.post("/oauth/token", **body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert client.get().status_code == 401
    assert weather.report("token-expired").notes == (
        "the refresh endpoint POST api.example/oauth/token was called once and issued no token",
        f"the refresh endpoint refused once: {error}",
    )


@pytest.mark.parametrize(
    "request_body",
    [
        {"json": {"grant_type": "refresh_token", "refresh_token": "r"}},
        {"json": {"refresh_token": "r"}},
        {"data": {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}},
        {"data": {"grant_type": "client_credentials"}, "auth": ("client", "secret")},
    ],
)
def test_a_refresh_may_be_written_in_several_ways(net: World, request_body: dict[str, Any]) -> None:
    weather = storm(net, [rule("token-expired", on=(1,))])
    client = Client(weather, "old")
    client.get()
    client.use(None)
    answer = client.post("/oauth/token", **request_body)
    assert answer.status_code == 200, answer.text
    client.use(answer.json()["access_token"])
    assert client.get().status_code == 200
    assert sent(weather) == ["Bearer old"]


def test_refresh_tokens_may_be_rotated(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,), rotate=True)])
    client = Client(weather, "old")
    client.get()
    following = refresh(client).json()["refresh_token"]
    reused = refresh(client)
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert refresh(client, grant_type="refresh_token", refresh_token=following).status_code == 200


def test_the_endpoint_is_a_parameter_and_so_is_the_place_of_the_token(net: World) -> None:
    endpoint = {"host": HOST, "path": "/v2/session/*", "method": "put"}
    weather = storm(net, [rule("token-expired", on=(1,), refresh=endpoint, token="data.session.token")])
    client = Client(weather, "old")
    client.get()
    assert refresh(client).status_code == 401  # nothing special here
    answer = client.session.put(f"{client.url}/v2/session/renew", json={"refresh_token": "r"}, timeout=60)
    client.use(answer.json()["data"]["session"]["token"])
    assert client.get().status_code == 200


def test_picks_apart_from_each_other_let_it_expire_again(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(2, 5))])
    client = Client(weather, "old")
    assert Agent(client).work(6) == [200] * 6
    statuses = [item.status for item in weather.exchanges(10)]
    assert statuses == [200, 401, 200, 200, 200, 401, 200, 200, 200, 200]
    assert weather.report("token-expired").notes == ("a new token was issued 2 times",)
    assert sent(weather) == ["Bearer old"] * 6


def test_a_new_token_may_be_good_for_a_few_requests_only(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,), uses=2)])
    assert Agent(Client(weather, "old")).work(5) == [200] * 5
    assert weather.report("token-expired").notes == ("a new token was issued 3 times",)


def test_a_new_token_lives_as_long_as_it_says(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(1,), expires_in="30s")])
    clock, client = Clock(weather), Client(weather, "old")
    client.get()
    assert refresh(client).json()["expires_in"] == 30
    new_token(client)
    clock.now_s = 29.0
    assert client.get().status_code == 200
    clock.now_s = 30.0
    assert client.get().status_code == 401
    assert weather.report("token-expired").notes == (
        "the refresh endpoint POST api.example/oauth/token was not called after the last expiry",
        "a new token was issued 2 times",
    )


def test_it_may_expire_after_a_time(net: World) -> None:
    weather = storm(net, [rule("token-expired", after_s=10.0)])
    clock, client = Clock(weather), Client(weather, "old")
    assert client.get().status_code == 200
    clock.now_s = 11.0
    assert Agent(client).work(3) == [200, 200, 200]
    assert weather.report("token-expired").fired == 1


def test_who_refreshes_ahead_of_time_meets_no_401(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(4,))])
    client = Client(weather, "old")
    client.get()
    token = new_token(client)
    assert client.get().status_code == 200
    client.use("old")
    assert client.get().status_code == 200  # it had not expired yet
    client.use(token)
    assert client.get().status_code == 401  # the fourth match: now
    client.use("old")
    assert client.get().status_code == 401
    new_token(client)
    assert client.get().status_code == 200
    assert sent(weather) == ["Bearer old"] * 4


def test_an_agent_that_begins_with_the_token_endpoint(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(2,))])
    client = Client(weather)
    first = new_token(client)
    assert Agent(client).work(3) == [200, 200, 200]
    # There was nothing before: what was issued goes through as it is.
    assert sent(weather)[0] == f"Bearer {first}"


def test_keys_in_other_headers_expire_too(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(2,))])
    client = Client(weather)
    for expected in (200, 401):
        assert client.get(headers={"X-Api-Key": "old"}).status_code == expected
    token = new_token(client)
    client.use(None)
    assert client.get(headers={"X-Api-Key": token}).status_code == 200
    client.use(token)
    assert client.get().status_code == 200
    seen = [
        (item.headers.get("x-api-key"), item.headers.get("authorization"))
        for item in weather.upstream.received
    ]
    assert seen == [("old", None)] * 3


def test_another_credential_that_was_used_before_is_left_alone(net: World) -> None:
    weather = storm(net, [rule("token-expired", on=(3,))])
    client, other = Client(weather, "old"), Client(weather, "partner")
    assert [client.get().status_code, other.get().status_code] == [200, 200]
    assert [client.get().status_code, other.get().status_code] == [401, 200]


def test_model_calls_are_left_alone_unless_their_host_is_named(net: World) -> None:
    weather = storm(net, [rule("token-expired", after=0)])
    assert Client(weather, "sk-1").post("/v1/chat/completions", json={}).status_code == 200
    assert weather.report("token-expired").matched == 0
    named = storm(net, [rule("token-expired", match={"host": (HOST,)})])
    assert Client(named, "sk-1").post("/v1/chat/completions", json={}).status_code == 401


class TokenServer:
    """An upstream that issues tokens itself and honours the last one."""

    def __init__(self, *, coding: bool = False) -> None:
        self.token = "old"
        self.coding = coding

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.target == "/oauth/token":
            self.token = f"real-{self.token}"
            body = json.dumps({"access_token": self.token, "token_type": "Bearer"}).encode()
            coded = {"Content_Encoding": "gzip"} if self.coding else {}
            writer.write(response(gzip.compress(body) if self.coding else body, **coded))
            return
        good = request.headers.get("authorization") == f"Bearer {self.token}"
        writer.write(response(b"{}", status="200 OK" if good else "401 Unauthorized"))


@pytest.mark.parametrize("coding", [False, True])
def test_the_real_endpoint_may_issue_the_token(net: World, coding: bool) -> None:
    upstream = HttpUpstream(TokenServer(coding=coding))
    weather = storm(net, [rule("token-expired", on=(2,), mint=False)], upstream)
    client = Client(weather, "old")
    assert [client.get().status_code, client.get().status_code] == [200, 401]
    assert new_token(client) == "real-old"
    assert client.get().status_code == 200
    assert sent(weather)[-1] == "Bearer real-old"
    client.use("made-up")
    assert client.get().status_code == 401
    assert len(upstream.received) == 3


def test_a_real_endpoint_that_fails_issues_nothing(net: World) -> None:
    async def broken(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b'{"access_token": "x"}', status="500 Internal Server Error"))

    weather = storm(net, [rule("token-expired", on=(1,), mint=False)], HttpUpstream(broken))
    client = Client(weather, "old")
    client.get()
    assert refresh(client).status_code == 500
    client.use("x")
    assert client.get().status_code == 401
    assert weather.report("token-expired").notes[0] == (
        "the refresh endpoint POST api.example/oauth/token was called once and issued no token"
    )


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"token": "tokens[0]"}, "names only"),
        ({"token": "a..b"}, "a JSON path"),
        ({"mint": False, "rotate": True}, "the real endpoint decides"),
        ({"refresh": {"url": "https://a.b"}}, "unknown key"),
        ({"refresh": {}}, "needs"),
        ({"uses": 0}, "a whole number from 1"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        registry.get("token-expired").read(params)
