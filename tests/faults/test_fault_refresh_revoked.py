from __future__ import annotations

import pytest

from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client

MATCH = {"method": ("POST",), "path": ("/oauth/token",)}
FORM = {"grant_type": "refresh_token", "refresh_token": "r-1"}


def test_the_token_endpoint_knows_the_refresh_token_no_more(net: World) -> None:
    weather = storm(net, [rule("refresh-revoked", match=MATCH)])
    client = Client(weather)
    answer = client.post("/oauth/token", data=FORM)
    assert answer.status_code == 400
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "error": "invalid_grant",
        "error_description": "The refresh token is invalid, expired or revoked",
    }
    assert client.get().status_code == 200
    assert [received.method for received in weather.upstream.received] == ["GET"]


@pytest.mark.parametrize(
    ("provider", "error"), [("github", "bad_refresh_token"), ("slack", "invalid_refresh_token")]
)
def test_some_say_it_in_a_200(net: World, provider: str, error: str) -> None:
    weather = storm(net, [rule("refresh-revoked", match=MATCH, provider=provider)])
    answer = Client(weather).post("/oauth/token", data=FORM)
    assert (answer.status_code, answer.json()["error"]) == (200, error)


def test_the_text_is_a_parameter(net: World) -> None:
    text = "Token has been expired or revoked."
    weather = storm(net, [rule("refresh-revoked", match=MATCH, description=text)])
    assert Client(weather).post("/oauth/token", data=FORM).json()["error_description"] == text


def test_an_expired_token_stays_expired_when_its_refresh_is_refused(net: World) -> None:
    """The minted answer of token-expired does not win over it."""
    weather = storm(net, [rule("token-expired", on=(1,)), rule("refresh-revoked", match=MATCH)])
    client = Client(weather, "old")
    assert client.get().status_code == 401
    assert client.post("/oauth/token", data=FORM).json()["error"] == "invalid_grant"
    assert client.get().status_code == 401
    notes = weather.report("token-expired").notes
    assert notes == ("the refresh endpoint POST api.example/oauth/token was never called",)
