"""Rule `token-refresh`: refreshed once, replayed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis.trace import Exchange
from support.resilience import broken, fault, idle, kept, sent, tried

RULE = "token-refresh"
REFRESH = {"host": "auth.example", "path": "/oauth/token", "method": "POST"}
EXPIRED = [fault("token-expired", params={"refresh": REFRESH, "mint": True})]


def refused(id: int, at_s: float, **more: Any) -> Exchange:
    return sent(id, at_s, 401, **{"faults": ("token-expired",), **more})


def refresh(id: int, at_s: float, status: int | None = 200, **more: Any) -> Exchange:
    form = "grant_type=refresh_token&refresh_token=%5Bsecret%3AREFRESH%5D"
    asked: dict[str, Any] = {"host": "auth.example", "path": "/oauth/token", "method": "POST", "body": form}
    return sent(id, at_s, status, **{**asked, "credential": None, "answer": {"access_token": "new"}, **more})


def renewed(id: int, at_s: float, **more: Any) -> Exchange:
    return sent(id, at_s, **{"credential": "token-2", **more})


DEAD = {
    "status": 400,
    "answer": {"error": "invalid_grant", "error_description": "The refresh token is invalid"},
}


def test_refreshed_once_and_replayed_once() -> None:
    calls = [
        sent(1, 0.5),
        refused(2, 1.0),
        refresh(3, 1.2),
        renewed(4, 1.4),
        renewed(5, 2.0, path="/orders/7"),
    ]
    assert kept(RULE, calls, faults=EXPIRED) == "token-refresh: 1 expired token, 1 refresh"


def test_refreshed_twice() -> None:
    calls = [refused(2, 1.0), refresh(3, 1.2), refresh(4, 1.3), renewed(5, 1.6)]
    assert broken(RULE, calls, faults=EXPIRED) == (
        "GET crm.example/orders/1042 got 401 at 1.10 s (exchange 2) and the token was refreshed 2 times, "
        "at 1.20 s (exchange 3), at 1.30 s (exchange 4)"
    )


def test_two_workers_that_each_refresh() -> None:
    other = {"path": "/orders/7"}
    calls = [refused(1, 1.0), refused(2, 1.0, **other), refresh(3, 1.2), refresh(4, 1.2)]
    calls += [renewed(5, 1.4), renewed(6, 1.4, **other)]
    assert "was refreshed 2 times" in broken(RULE, calls, faults=EXPIRED)
    assert kept(RULE, [item for item in calls if item.id != 4], faults=EXPIRED)


def test_replayed_without_a_refresh() -> None:
    assert broken(RULE, [refused(2, 1.0), refused(3, 1.5)], faults=EXPIRED) == (
        "GET crm.example/orders/1042 got 401 at 1.10 s (exchange 2) and was sent again at 1.50 s (exchange 3) "
        "without a refresh"
    )
    early = [refused(2, 1.0), refused(3, 1.5), refresh(4, 1.7), renewed(5, 2.0)]
    assert "sent again at 1.50 s (exchange 3) before the token was refreshed" in broken(
        RULE, early, faults=EXPIRED
    )


def test_replayed_with_the_old_token_after_the_refresh() -> None:
    calls = [refused(2, 1.0), refresh(3, 1.2), refused(4, 1.5), renewed(5, 2.0)]
    assert "sent again at 1.50 s (exchange 4) with the expired token" in broken(RULE, calls, faults=EXPIRED)


def test_what_was_under_way_at_the_refresh_is_no_replay() -> None:
    other = {"path": "/orders/7"}
    calls = [
        refused(1, 1.0),
        refused(2, 1.15, **other),
        refresh(3, 1.2),
        renewed(4, 1.4),
        renewed(5, 1.5, **other),
    ]
    assert kept(RULE, calls, faults=EXPIRED)


def test_never_refreshed() -> None:
    assert broken(RULE, [refused(2, 1.0)], faults=EXPIRED).endswith("and the token was never refreshed")


def test_never_replayed() -> None:
    calls = [refused(2, 1.0), refresh(3, 1.2), renewed(4, 1.4, host="mail.example")]
    assert "and was not sent again with the new token" in broken(RULE, calls, faults=EXPIRED)
    # The same place asked another way will do: the agent may have thought again.
    assert kept(
        RULE, [refused(2, 1.0), refresh(3, 1.2), renewed(4, 1.4, path="/orders/1042?full=1")], faults=EXPIRED
    )


def test_a_write_that_is_replayed_twice() -> None:
    write: dict[str, Any] = {"method": "POST", "path": "/refunds", "body": {"order": 1042}}
    calls = [refused(2, 1.0, **write), refresh(3, 1.2), renewed(4, 1.4, **write), renewed(5, 1.6, **write)]
    assert (
        "and was sent 2 times with the new token, at 1.40 s (exchange 4), at 1.60 s (exchange 5)"
        in broken(RULE, calls, faults=EXPIRED)
    )
    assert kept(RULE, calls[:3], faults=EXPIRED)
    looked = [refused(2, 1.0), refresh(3, 1.2), renewed(4, 1.4), renewed(5, 9.0)]
    assert kept(RULE, looked, faults=EXPIRED), "a second look is no replay"


def test_each_expiry_has_its_own_refresh() -> None:
    again = [refused(4, 2.0, credential="token-2"), refresh(5, 2.2), renewed(6, 2.4, credential="token-3")]
    calls = [refused(1, 1.0), refresh(2, 1.2), renewed(3, 1.4), *again]
    assert kept(RULE, calls, faults=EXPIRED) == "token-refresh: 2 expired tokens, 2 refreshes"
    assert broken(RULE, [item for item in calls if item.id != 5], faults=EXPIRED)


def test_a_refresh_that_is_tried_again_is_one_refresh() -> None:
    calls = [refused(1, 1.0), refresh(2, 1.2, 503, answer=None), refresh(3, 2.0), renewed(4, 2.4)]
    assert kept(RULE, calls, faults=EXPIRED)


def test_a_refresh_that_cannot_be_had_is_nobodys_fault() -> None:
    assert kept(RULE, [refused(1, 1.0), refresh(2, 1.2, 503, answer=None)], faults=EXPIRED)


def test_a_dead_refresh_token_ends_it() -> None:
    stop = [refused(1, 1.0), refresh(2, 1.2, **DEAD)]
    assert kept(RULE, stop, faults=EXPIRED) == (
        "token-refresh: 1 expired token, 0 refreshes; stopped where the refresh token was refused"
    )
    assert broken(RULE, [*stop, refresh(3, 1.6, **DEAD)], faults=EXPIRED) == (
        "POST auth.example/oauth/token was refused with invalid_grant at 1.30 s (exchange 2) and was sent again "
        "at 1.60 s (exchange 3)"
    )
    used = [*stop, refused(3, 1.6, path="/orders/7")]
    assert "GET crm.example/orders/7 was sent at 1.60 s (exchange 3) with the dead token" in broken(
        RULE, used, faults=EXPIRED
    )
    login = refresh(3, 1.6, body="grant_type=authorization_code&code=x")
    assert kept(RULE, [*stop, login, renewed(4, 1.9)], faults=EXPIRED)


@pytest.mark.parametrize("error", ["bad_refresh_token", "invalid_refresh_token"])
def test_providers_that_say_it_in_a_200(error: str) -> None:
    told = {"status": 200, "answer": {"ok": False, "error": error}}
    calls = [refused(1, 1.0), refresh(2, 1.2, **told)]
    assert "stopped where" in kept(RULE, calls, faults=EXPIRED)
    assert broken(RULE, [*calls, refresh(3, 1.6, **told)], faults=EXPIRED)


def test_a_token_that_expires_in_a_200() -> None:
    told = refused(1, 1.0, answer={"ok": False, "error": "token_expired"})
    told = replace(told, status=200)
    assert kept(RULE, [told, refresh(2, 1.2), renewed(3, 1.4)], faults=EXPIRED)
    assert "never refreshed" in broken(RULE, [told], faults=EXPIRED)


@pytest.mark.parametrize(
    "where", [{"path": "/session/renew"}, "/session/renew", "PUT /session/*", "crm.example/session/renew"]
)
def test_an_endpoint_of_any_shape(where: Any) -> None:
    faults = [fault("token-expired", params={"refresh": where})]
    renew = sent(2, 1.2, 200, method="PUT", path="/session/renew")
    calls = [refused(1, 1.0), renew, renewed(3, 1.4)]
    assert kept(RULE, calls, faults=faults)
    elsewhere = replace(renew, path="/elsewhere")
    assert "without a refresh" in broken(RULE, [calls[0], elsewhere, calls[2]], faults=faults)


def test_a_server_that_says_invalid_token_itself() -> None:
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    expired = sent(1, 1.0, 401, answered=challenge)
    assert kept(RULE, [expired, refresh(2, 1.2), renewed(3, 1.4)])
    assert "was refreshed 2 times" in broken(
        RULE, [expired, refresh(2, 1.2), refresh(3, 1.4), renewed(4, 1.6)]
    )
    assert idle(RULE, [expired]), "a wrong API key has nothing to refresh"
    assert idle(RULE, tried([1.0, 2.0], [401, 401]))


def test_a_token_that_never_expired() -> None:
    assert idle(RULE, [refresh(1, 0.1), sent(2, 1.0), sent(3, 2.0, 503)])
