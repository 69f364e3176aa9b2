from __future__ import annotations

import datetime
import email.utils
import time
from typing import Any

import openai
import pytest

from aegis.faults import registry
from aegis.faults.plan.weather import Weather
from support.faults import seen
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.storm import KEY, rule, storm
from support.storm_client import Client, Clock

CHAT = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",\
"message":{"role":"assistant","content":"hello"}}]}'
)


def test_a_picked_match_empties_the_bucket_for_the_time_that_it_tells(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="2s")])
    clock, client = Clock(weather), Client(weather, "tok")
    first = client.get()
    assert (first.status_code, first.reason) == (429, "Too Many Requests")
    assert first.headers["Retry-After"] == "2"
    assert first.json() == {
        "error": {"code": "rate_limited", "message": "Too many requests, please try again later."}
    }
    clock.now_s = 0.5
    early = client.get("/another/path")
    assert (early.status_code, early.headers["Retry-After"]) == (429, "2")
    clock.now_s = 1.25
    assert client.get().headers["Retry-After"] == "1"
    clock.now_s = 2.0
    assert client.get().status_code == 200
    assert len(weather.upstream.received) == 1
    report = weather.report("rate-limit")
    assert (report.matched, report.fired, report.displaced) == (4, 3, 0)
    assert report.notes == ("2 early retries were refused again",)
    assert not report.permanent


def test_each_credential_has_a_bucket_of_its_own_and_none_is_one_too(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1, 3), retry_after="10s")])
    Clock(weather)
    one, other, nobody = Client(weather, "one"), Client(weather, "other"), Client(weather)
    assert [one.get().status_code, other.get().status_code] == [429, 200]
    assert [nobody.get().status_code, nobody.get().status_code] == [429, 429]
    assert [one.get().status_code, other.get().status_code] == [429, 200]


def test_who_does_not_wait_waits_longer(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="2s", extend=True)])
    clock, client = Clock(weather), Client(weather)
    client.get()
    clock.now_s = 1.5
    assert client.get().headers["Retry-After"] == "2"
    clock.now_s = 3.0
    assert client.get().status_code == 429
    clock.now_s = 5.0
    assert client.get().status_code == 200


def test_a_bucket_lets_a_burst_through_and_refills_evenly(net: World) -> None:
    weather = storm(net, [rule("rate-limit", requests=3, window="6s")])
    clock, client = Clock(weather), Client(weather)
    assert [client.get().status_code for _ in range(4)] == [200, 200, 200, 429]
    clock.now_s = 1.0
    refused = client.get()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    clock.now_s = 2.0
    assert [client.get().status_code for _ in range(2)] == [200, 429]
    clock.now_s = 60.0
    assert [client.get().status_code for _ in range(4)] == [200, 200, 200, 429]
    report = weather.report("rate-limit")
    assert (report.matched, report.fired) == (11, 4)
    assert report.notes == ("1 early retry was refused again",)
    assert not report.permanent


def test_a_bucket_may_stay_shut_longer_than_until_its_next_token(net: World) -> None:
    weather = storm(net, [rule("rate-limit", requests=10, window="10s", retry_after="5s")])
    clock, client = Clock(weather), Client(weather)
    assert [client.get().status_code for _ in range(11)][-1] == 429
    clock.now_s = 4.0
    assert client.get().headers["Retry-After"] == "1"
    clock.now_s = 5.0
    assert [client.get().status_code for _ in range(6)] == [200] * 5 + [429]


def test_a_bucket_counts_only_what_the_rule_picks(net: World) -> None:
    weather = storm(net, [rule("rate-limit", first=3, requests=1, window="60s")])
    Clock(weather)
    client = Client(weather)
    assert [client.get().status_code for _ in range(4)] == [200, 200, 200, 429]


def test_without_on_and_without_a_bucket_it_never_ends(net: World) -> None:
    weather = storm(net, [rule("rate-limit")])
    clock, client = Clock(weather), Client(weather)
    client.get()
    clock.now_s = 5.0
    assert client.get().status_code == 429
    assert weather.report("rate-limit").permanent


def test_a_limit_is_no_hit_of_a_rule_whose_match_another_fault_answers(net: World) -> None:
    rules = [rule("server-error", on=(1,)), rule("rate-limit", on=(1,), retry_after="9s")]
    weather = storm(net, rules)
    Clock(weather)
    client = Client(weather)
    assert [client.get().status_code for _ in range(2)] == [500, 429]
    report = weather.report("rate-limit")
    assert (report.fired, report.displaced, report.notes) == (1, 1, ())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("seconds", {"Retry-After": "2"}),
        ("ms", {"Retry-After-Ms": "1500", "Retry-After": "2"}),
        ("none", {}),
        ("provider", {"Retry-After": "2"}),
    ],
)
def test_the_wait_is_told_in_the_form_that_was_asked_for(
    net: World, form: str, expected: dict[str, str]
) -> None:
    weather = storm(net, [rule("rate-limit", retry_after="1500ms", form=form)])
    Clock(weather)
    headers = Client(weather).get().headers
    assert {name: headers[name] for name in headers if name.lower().startswith("retry")} == expected


def test_a_date_is_never_too_early(net: World) -> None:
    weather = storm(net, [rule("rate-limit", retry_after="30s", form="http-date")])
    before = datetime.datetime.now(datetime.UTC)
    told = Client(weather).get().headers["Retry-After"]
    assert told.endswith(" GMT")
    assert email.utils.parsedate_to_datetime(told) >= before + datetime.timedelta(seconds=29)


def test_dates_are_those_of_a_machine_on_another_day(net: World) -> None:
    shown = datetime.datetime(2028, 2, 29, 12, tzinfo=datetime.UTC)
    for form, header in (("http-date", "Retry-After"), ("provider", "X-RateLimit-Reset")):
        weather = storm(net, [rule("rate-limit", retry_after="30s", form=form, provider="github")])
        weather.weather.shift_date(shown.timestamp() - time.time())
        told = Client(weather).get().headers[header]
        at = email.utils.parsedate_to_datetime(told).timestamp() if form == "http-date" else float(told)
        assert 29 <= at - shown.timestamp() < 120


def test_openai_is_told_to_the_header(net: World) -> None:
    weather = storm(net, [rule("rate-limit", retry_after="6m", requests=3, window="18m")])
    Clock(weather)
    client = Client(weather, "sk-1")
    for _ in range(3):
        client.post("/v1/chat/completions", json={"model": "gpt-5"})
    answer = client.post("/v1/chat/completions", json={"model": "gpt-5"})
    assert answer.status_code == 429
    names = ("limit-requests", "remaining-requests", "reset-requests", "remaining-tokens", "reset-tokens")
    told = [answer.headers[f"x-ratelimit-{name}"] for name in names]
    assert told == ["3", "0", "6m0s", "1999999", "0s"]
    assert answer.headers["retry-after-ms"] == "360000"
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("requests", None, "rate_limit_exceeded")
    assert error["message"].startswith("Rate limit reached for gpt-5 in organization org-")
    assert "Limit 3, Used 3, Requested 1. Please try again in 6m0s." in error["message"]
    assert answer.text.startswith('{\n    "error": {\n        "message"')


def test_the_tokens_of_openai_run_out_too(net: World) -> None:
    weather = storm(net, [rule("rate-limit", retry_after="6596ms", limit="tokens")])
    Clock(weather)
    answer = Client(weather).post("/v1/responses", json={"model": "gpt-5"})
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    assert answer.headers["x-ratelimit-reset-tokens"] == "6.596s"
    assert answer.json()["error"]["type"] == "tokens"


def test_anthropic_is_told_to_the_header(net: World) -> None:
    weather = storm(net, [rule("rate-limit", retry_after="20s")])
    before = datetime.datetime.now(datetime.UTC)
    answer = Client(weather).post("/v1/messages", json={"model": "claude"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "20")
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert answer.headers["anthropic-ratelimit-input-tokens-remaining"] == "400000"
    reset = datetime.datetime.fromisoformat(answer.headers["anthropic-ratelimit-requests-reset"])
    assert reset >= before + datetime.timedelta(seconds=18)
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "rate_limit_error")
    assert body["request_id"] == answer.headers["request-id"]


def test_github_has_two_limits(net: World) -> None:
    rules = [
        rule("rate-limit", on=(1,), provider="github", retry_after="60s"),
        rule("rate-limit", id="second", on=(2,), provider="github", limit="secondary", retry_after="60s"),
    ]
    weather = storm(net, rules)
    primary = Client(weather, "one").get()
    secondary = Client(weather, "two").get()
    assert (primary.status_code, secondary.status_code) == (403, 403)
    assert primary.headers["x-ratelimit-remaining"] == "0"
    assert int(primary.headers["x-ratelimit-reset"]) >= time.time() + 30
    assert "Retry-After" not in primary.headers
    assert secondary.headers["Retry-After"] == "60"
    assert "x-ratelimit-remaining" not in secondary.headers
    assert secondary.json()["message"].startswith("You have exceeded a secondary rate limit.")
    assert secondary.headers["X-GitHub-Request-Id"] in secondary.json()["message"]


def test_stripe_and_slack_say_it_their_way(net: World) -> None:
    for provider in ("stripe", "slack"):
        weather = storm(net, [rule("rate-limit", provider=provider, retry_after="30s")])
        answer = Client(weather).post("/v1/charges")
        assert answer.status_code == 429
        if provider == "stripe":
            assert answer.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
            assert "Retry-After" not in answer.headers
            assert answer.json()["error"]["code"] == "rate_limit"
        else:
            assert answer.headers["Retry-After"] == "30"
            assert answer.text == '{"ok":false,"error":"ratelimited"}'


def test_a_lock_timeout_of_stripe_is_to_be_tried_again(net: World) -> None:
    weather = storm(net, [rule("rate-limit", provider="stripe", limit="secondary")])
    answer = Client(weather).post("/v1/charges")
    assert answer.json()["error"]["code"] == "lock_timeout"
    assert answer.headers["Stripe-Should-Retry"] == "true"


def test_the_official_client_waits_and_gets_through(net: World) -> None:
    upstream = HttpUpstream(says(response(CHAT, Content_Type="application/json")))
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="300ms")], upstream)
    client = openai.OpenAI(
        api_key="sk-1",
        base_url=f"http://127.0.0.1:{weather.port}/v1",
        default_headers={"Host": "api.example"},
    )
    said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].message.content == "hello"
    assert [exchange.status for exchange in weather.exchanges(2)] == [429, 200]
    assert weather.report("rate-limit").notes == ()


def test_the_same_trial_gets_the_same_bytes_in_every_run(net: World) -> None:
    def bodies() -> list[tuple[str, dict[str, str]]]:
        weather = storm(net, [rule("rate-limit", retry_after="2s")])
        Clock(weather)
        client = Client(weather, "tok")
        answers = [client.post("/v1/chat/completions", json={"model": "m"}) for _ in range(2)]
        return [(answer.text, dict(answer.headers)) for answer in answers]

    first, again = bodies(), bodies()
    assert first == again
    assert first[0][1]["x-request-id"] != first[1][1]["x-request-id"]


def test_a_head_request_gets_no_body_and_the_connection_goes_on(net: World) -> None:
    weather = storm(net, [rule("rate-limit", on=(1,), retry_after="1s")])
    clock, client = Clock(weather), Client(weather)
    refused = client.session.head(client.url, timeout=60)
    assert (refused.status_code, refused.content) == (429, b"")
    clock.now_s = 1.0
    assert client.get().status_code == 200


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"window": "1m"}, "it needs requests"),
        ({"requests": 0}, "a whole number from 1"),
        ({"retry_after": 2}, "a duration"),
        ({"form": "minutes"}, "unknown form"),
        ({"provider": "opneai"}, "did you mean 'openai'"),
        ({"retry": "1s"}, "unknown key"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        registry.get("rate-limit").read(params)


def test_any_number_of_credentials_does_not_fill_the_memory() -> None:
    weather = Weather([rule("rate-limit", requests=2, window="1s")], KEY)
    fault = weather._active[0].fault
    for number in range(5000):
        weather.use_clock(lambda at=float(number): at)  # type: ignore[misc]
        fault.takes(seen(headers={"Authorization": f"Bearer {number}"}), True)
    assert len(fault._buckets) <= 1001  # type: ignore[attr-defined]
