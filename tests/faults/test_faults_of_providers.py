from __future__ import annotations

import datetime
import importlib
import json

import pytest

from aegis.faults import providers
from aegis.faults.providers.base import At, Limit, letters
from aegis.faults.providers.openai import duration, masked
from support.faults import hit, seen
from support.storm import KEY

NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("method", "url", "name"),
    [
        ("GET", "https://api.openai.com/v1/models", "openai"),
        ("POST", "https://eu.api.openai.com/v1/responses", "openai"),
        ("POST", "https://models.internal/v1/chat/completions", "openai"),
        ("GET", "https://api.anthropic.com/v1/models", "anthropic"),
        ("POST", "https://proxy.internal/anthropic/v1/messages?beta=true", "anthropic"),
        ("GET", "https://api.github.com/repos/a/b", "github"),
        ("POST", "https://github.com/login/oauth/access_token", "github"),
        ("GET", "https://git.internal/api/v3/repos/a/b", "github"),
        ("POST", "https://api.stripe.com/v1/charges", "stripe"),
        ("POST", "https://slack.com/api/chat.postMessage", "slack"),
        ("GET", "https://crm.example/orders/1042", "generic"),
        ("GET", "https://notslack.com/api/x", "generic"),
        ("GET", "https://api.openai.com.evil.example/v1/models", "generic"),
    ],
)
def test_whose_form_it_is_is_told_by_host_and_path(method: str, url: str, name: str) -> None:
    assert providers.find("auto", seen(method, url)).name == name
    assert providers.find("stripe", seen(method, url)).name == "stripe"


@pytest.mark.parametrize("name", providers.NAMES)
def test_every_form_of_every_provider_is_json_and_the_same_every_time(name: str) -> None:
    provider = providers.find(name, seen())
    limits = [Limit(2.0, NOW, kind) for kind in ("requests", "tokens", "secondary")]
    for credential in (None, "Bearer abcdefghijklmnopqrstuvwxyz", "Basic c2tfdGVzdF8xMjM0NTY3ODkwMTIzNDo="):
        at = At(seen(headers={"Authorization": credential} if credential else {}), hit())

        def replies(at: At = at) -> list[providers.Reply]:
            return [
                *(provider.rate_limited(at, limit) for limit in limits),
                provider.quota(at, "credits"),
                provider.quota(at, "spend-limit"),
                provider.overloaded(at),
                provider.server_error(at),
                provider.unauthorized(at, "expired"),
                provider.unauthorized(at, "unknown"),
                provider.unauthorized(at, "missing"),
                provider.refresh_refused(at, None),
                provider.forbidden(at),
            ]

        assert replies() == replies()
        for reply in replies():
            assert 200 <= reply.status <= 599
            assert json.loads(reply.body) == reply.value
            if credential:
                secret = credential.split(" ")[1]
                assert secret.encode() not in reply.body
        event = provider.overloaded_event(at)
        assert event.endswith(b"\n\n")
        assert event.count(b"\n\n") == 1


@pytest.mark.parametrize("name", [*providers.NAMES, "balancers"])
def test_every_provider_names_its_sources_and_their_day(name: str) -> None:
    text = importlib.import_module(f"aegis.faults.providers.{name}").__doc__ or ""
    assert "ompared on 2026-" in text
    assert "https://" in text


def test_ids_of_an_account_stay_and_ids_of_a_request_don_t() -> None:
    one, two = At(seen(), hit(1)), At(seen(), hit(2))
    assert one.text("request", 20) != two.text("request", 20)
    assert one.account("organization", 24) == two.account("organization", 24)
    assert len(one.uuid("organization")) == 36


def test_letters_come_from_the_whole_alphabet() -> None:
    text = letters(KEY.draw, "x", 4000, "abcdefghij")
    assert len(text) == 4000
    assert all(300 < text.count(letter) < 500 for letter in "abcdefghij")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "1ms"),
        (0.174, "174ms"),
        (1, "1s"),
        (6.596, "6.596s"),
        (20, "20s"),
        (360, "6m0s"),
        (59.9996, "1m0s"),
        (3602, "1h0m2s"),
        (-1, "0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_keys_are_masked() -> None:
    assert masked("sk-proj-0123456789abcdwxyz") == "sk-proj-" + "*" * 14 + "wxyz"
    assert masked("short") == "sh***"
    assert masked("") == ""


def test_a_wait_is_rounded_up_and_not_beyond() -> None:
    assert Limit(2.0000000001, NOW).whole_s == 2
    assert Limit(2.01, NOW).whole_s == 3
    assert Limit(0.0, NOW).retry_after("seconds") == (("Retry-After", "0"),)
