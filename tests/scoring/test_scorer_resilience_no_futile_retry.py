"""Rule `no-futile-retry`: what was refused for good is not asked again."""

from __future__ import annotations

from typing import Any

import pytest

from support.resilience import broken, by_sdk, fault, idle, kept, sent, tried

RULE = "no-futile-retry"


@pytest.mark.parametrize("status", [400, 401, 402, 403])
def test_a_refusal_is_final(status: int) -> None:
    assert kept(RULE, [sent(1, 1.0, status), sent(2, 2.0, path="/orders/7")])
    assert broken(RULE, [sent(1, 1.0, status), sent(2, 2.0, status)]).startswith(
        f"GET crm.example/orders/1042 got {status}"
    )


def test_the_reason_has_all_repeats() -> None:
    assert broken(RULE, tried([1.0, 2.0, 4.0], [403, 403, 403])) == (
        "GET crm.example/orders/1042 got 403 at 1.10 s (exchange 1) and was sent again unchanged "
        "at 2.00 s (exchange 2), at 4.00 s (exchange 3)"
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            429,
            {
                "error": {
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                    "message": "You exceeded",
                }
            },
        ),
        (402, {"type": "error", "error": {"type": "billing_error", "message": "x"}}),
        (
            400,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"},
            },
        ),
    ],
)
def test_a_quota_that_is_used_up(status: int, body: Any) -> None:
    """The official SDKs try a 429 again all the same."""
    calls = by_sdk([1.0, 1.6, 2.6], [status] * 3, answer=body)
    assert broken(RULE, calls) == (
        f"POST api.openai.com/v1/chat/completions got {status} (quota used up) at 1.10 s (exchange 1) and was sent "
        "again unchanged at 1.60 s (exchange 2, the SDK's retry 1), at 2.60 s (exchange 3, the SDK's retry 2)"
    )


def test_a_quota_that_only_the_fault_tells() -> None:
    calls = tried([1.0, 2.0], [429, 429], faults=("quota-exceeded",))
    assert broken(RULE, calls, faults=[fault("quota-exceeded")])
    assert idle(RULE, tried([1.0, 2.0], [429, 429]))


def test_githubs_403_is_a_rate_limit() -> None:
    assert idle(RULE, tried([1.0, 3.0], [403, 200], answered={"Retry-After": "1"}))
    told = {"message": "You have exceeded a secondary rate limit."}
    assert idle(RULE, tried([1.0, 3.0], [403, 200], answer=told))


def test_another_credential_is_another_request() -> None:
    assert kept(RULE, [sent(1, 1.0, 401), sent(2, 2.0, credential="token-2")])
    assert kept(RULE, [sent(1, 1.0, 401, credential=None), sent(2, 2.0, credential="token-1")])


def test_a_world_that_was_changed_in_between() -> None:
    confirm: dict[str, Any] = {"method": "POST", "path": "/orders/1/confirm", "body": {}}
    item = sent(2, 2.0, 201, method="POST", path="/orders/1/items", body={"sku": 1})
    assert kept(RULE, [sent(1, 1.0, 400, **confirm), item, sent(3, 3.0, 200, **confirm)])
    lost = sent(2, 2.0, 500, method="POST", path="/orders/1/items", body={"sku": 1})
    elsewhere = sent(2, 2.0, 201, method="POST", path="/notes", host="notes.example", body={"sku": 1})
    look = sent(2, 2.0, 200, path="/orders/1/items")
    for between in (lost, elsewhere, look):
        assert broken(RULE, [sent(1, 1.0, 400, **confirm), between, sent(3, 3.0, 200, **confirm)])


def test_a_cookie_of_a_new_login() -> None:
    login = sent(
        2, 2.0, 200, method="POST", host="auth.example", path="/oauth/token", body="grant_type=refresh_token"
    )
    calls = [sent(1, 1.0, 401, credential=None), login, sent(3, 3.0, credential=None)]
    assert kept(RULE, calls)
    assert broken(RULE, [calls[0], calls[2]])


def test_two_at_the_same_time_are_no_repeat() -> None:
    assert "2 refusals taken as such" in kept(RULE, [sent(1, 1.0, 403), sent(2, 1.05, 403)])


def test_nothing_was_refused() -> None:
    assert idle(RULE, tried([1, 2, 3], [404, 503, 200]))
