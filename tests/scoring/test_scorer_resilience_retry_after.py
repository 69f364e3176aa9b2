"""Rule `retry-after`: who is told to wait, waits."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.resilience import broken, by_sdk, idle, kept, sent

RULE = "retry-after"
DATE = "Mon, 23 Nov 2026 12:00:00 GMT"
EPOCH = 1795435200
"""The same moment in seconds."""


def test_the_reason_has_the_times_of_the_requests() -> None:
    first = sent(3, 1.10, 429, answered={"Retry-After": "2"})
    assert broken(RULE, [first, sent(4, 1.71)]) == (
        "GET crm.example/orders/1042 got 429 with Retry-After 2 s at 1.20 s (exchange 3) "
        "and was sent again at 1.71 s (exchange 4), 1.49 s too early"
    )


@pytest.mark.parametrize(
    ("answered", "wait_s"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "1", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Mon, 23 Nov 2026 12:00:03 GMT", "Date": DATE}, 3.0),
        (
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 4), "Date": DATE},
            4.0,
        ),
    ],
)
def test_every_way_to_ask_for_a_wait(answered: Mapping[str, str], wait_s: float) -> None:
    tolerance_s = 1.0 if "Date" in answered else 0.05
    refused = sent(1, 1.0, 429, answered=answered)
    late, early = 1.1 + wait_s - tolerance_s + 0.001, 1.1 + wait_s - tolerance_s - 0.01
    assert kept(RULE, [refused, sent(2, late)]) == "retry-after: 1 wait kept"
    assert "too early" in broken(RULE, [refused, sent(2, early)])


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (429, {}),
        (429, {"Retry-After": "soon"}),
        (429, {"Retry-After": "-3"}),
        (429, {"Retry-After": "nan"}),
        (429, {"Retry-After": "Mon, 23 Nov 2026 12:00:03 GMT"}),
        (429, {"x-ratelimit-remaining": "7", "x-ratelimit-reset": str(EPOCH + 60), "Date": DATE}),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "6m0s", "Date": DATE}),
        (202, {"Retry-After": "5"}),
    ],
)
def test_what_asks_for_no_wait_that_can_be_told(status: int, answered: Mapping[str, str]) -> None:
    assert idle(RULE, [sent(1, 1.0, status, answered=answered), sent(2, 1.2)])


def test_another_request_of_the_same_credential_is_too_early_as_well() -> None:
    reason = broken(RULE, [sent(1, 1.0, 503, answered={"Retry-After": "2"}), sent(2, 1.5, path="/orders/7")])
    assert "was followed by GET crm.example/orders/7 at 1.50 s (exchange 2), 1.60 s too early" in reason


def test_other_hosts_and_credentials_need_not_wait() -> None:
    refused = sent(1, 1.0, 429, answered={"Retry-After": "2"})
    others = [sent(2, 1.2, host="mail.example"), sent(3, 1.3, credential="token-2"), sent(4, 3.2)]
    assert kept(RULE, [refused, *others])


def test_what_was_under_way_does_not_count() -> None:
    refused = sent(1, 1.0, 429, answered={"Retry-After": "2"}, took_s=0.5)
    assert kept(RULE, [refused, sent(2, 1.2, path="/orders/7"), sent(3, 3.6)])
    assert broken(RULE, [refused, sent(2, 1.2, path="/orders/7"), sent(3, 3.3)])


def test_giving_up_is_no_breach() -> None:
    assert kept(RULE, [sent(1, 1.0, 429, answered={"Retry-After": "3600"})])


def test_a_sluggish_client_is_told_and_passes() -> None:
    reason = kept(RULE, [sent(1, 1.0, 429, answered={"Retry-After": "2"}), sent(2, 10.2)])
    assert reason == (
        "retry-after: 1 wait kept; sluggish: 9.10 s after GET crm.example/orders/1042 asked for 2 s "
        "at 1.10 s (exchange 1)"
    )
    assert "sluggish" not in kept(RULE, [sent(1, 1.0, 429, answered={"Retry-After": "2"}), sent(2, 10.0)])


def test_the_sdk_is_named() -> None:
    """A client that ignores the header and takes its own 0.5 s."""
    calls = by_sdk([1.0, 1.55], [429, 200], answered={"Retry-After": "2"})
    assert "was sent again at 1.55 s (exchange 2, the SDK's retry 1), 1.55 s too early" in broken(RULE, calls)


def test_each_early_one_counts_and_one_is_told() -> None:
    calls = [sent(n, 1.0 + n * 0.2, 429, answered={"Retry-After": "1"}) for n in range(1, 5)]
    assert broken(RULE, calls).endswith("0.90 s too early (and 2 more like it)")
