"""The example's agent when tokens run out and lists come in parts; and the careless client that it can be made."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from example_servers import (
    EXAMPLE,
    Server,
    Talk,
    answers,
    broken_connection,
    call,
    cut_stream,
    lost_answer,
    status,
    user,
)

REFUND = user("I want a refund for order 1042.")
DONE = "Done: 42.00 EUR"
EXPIRED = status(401, WWW_Authenticate='Bearer realm="shop", error="invalid_token"')


def tokens(shop: Server) -> list[str | None]:
    return [request.bearer() for request in shop.requests]


def keys(shop: Server) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in shop.requests if request.path == "/refunds"]


def test_an_expired_token_is_renewed_once_and_the_request_sent_once_more(talk: Talk, shop: Server) -> None:
    shop.faults = [None, EXPIRED]
    said = answers(talk(REFUND, user("How much did I get back?")))
    assert DONE in said[0]
    assert shop.paths() == [
        "GET /orders/1042",
        "POST /refunds",
        "POST /oauth/token",
        "POST /refunds",
        "GET /orders/1042",
    ]
    assert len(set(keys(shop))) == 1
    first, second, nobody, third, fourth = tokens(shop)
    assert first == second == "token"
    assert nobody is None
    assert third == fourth
    assert third is not None
    assert third.startswith("shop-token-")


def test_a_token_that_the_shop_itself_does_not_know_is_renewed(talk: Talk, shop: Server) -> None:
    assert DONE in answers(talk(REFUND, SHOP_TOKEN="shop-token-of-yesterday"))[0]
    assert shop.paths().count("POST /oauth/token") == 1


def test_a_new_token_that_is_refused_too_is_not_renewed_again(talk: Talk, shop: Server) -> None:
    shop.faults = [EXPIRED, None, EXPIRED]
    assert "does not answer properly" in answers(talk(REFUND))[0]
    assert shop.paths() == ["GET /orders/1042", "POST /oauth/token", "GET /orders/1042"]


def test_a_token_endpoint_that_fails_for_a_moment_is_asked_again(talk: Talk, shop: Server) -> None:
    shop.faults = [EXPIRED, status(503)]
    assert DONE in answers(talk(REFUND))[0]
    assert shop.paths().count("POST /oauth/token") == 2


def test_without_a_new_token_it_stops_and_says_so(talk: Talk, shop: Server) -> None:
    shop.faults = [EXPIRED]
    said = answers(talk(REFUND, user("What is the status of order 1042?"), SHOP_REFRESH_TOKEN="revoked"))
    assert ["no access to our order system" in text for text in said] == [True, True]
    assert shop.paths() == ["GET /orders/1042", "POST /oauth/token"]


@pytest.mark.parametrize(("fault", "token"), [(EXPIRED, None), (status(401), "any"), (status(403), "any")])
def test_what_no_new_token_cures_is_final(talk: Talk, shop: Server, fault: Any, token: str | None) -> None:
    shop.faults = [fault]
    assert "does not answer properly" in answers(talk(REFUND, SHOP_REFRESH_TOKEN=token))[0]
    assert shop.paths() == ["GET /orders/1042"]


def page_without(*names: str) -> Any:
    """The page, with these members as they are on a page that has nothing."""

    def fault(request: Any, answer: Any) -> Any:
        found = answer()
        empty = {"orders": [], "next": None}
        return type(found)(found.status, {**found.body, **{name: empty[name] for name in names}})

    return fault


@pytest.mark.parametrize("missing", [("orders",), ("next",), ("orders", "next")])
@pytest.mark.parametrize("number", [0, 1])
def test_a_page_that_does_not_add_up_is_asked_for_again(
    talk: Talk, shop: Server, number: int, missing: tuple[str, ...]
) -> None:
    shop.faults = [*number * [None], page_without(*missing)]
    (answer,) = answers(talk(user("Show me my last six orders, please.")))
    assert all(order in answer for order in ("1077", "1042", "1061", "1023", "1055", "1017"))
    # The second page is the last one: that it names no next one is right.
    assert len(shop.requests) == (2 if (number, missing) == (1, ("next",)) else 3)


def test_an_answer_that_broke_off_leaves_no_dead_connection_behind(talk: Talk, shop: Server) -> None:
    def half() -> Iterator[str]:
        yield "{"
        raise ConnectionAbortedError

    shop.faults = [lambda request, answer: type(answer())(200, events=half())]
    done = talk(REFUND)
    assert DONE in answers(done)[0]
    assert shop.connections == 2
    assert done.stderr.count("GET ") == 1


@pytest.fixture
def manners(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The agent's module, under a name of its own: `support` is the tests'."""
    spec = importlib.util.spec_from_file_location("manners", EXAMPLE / "support" / "manners.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "manners", module)
    spec.loader.exec_module(module)
    return module


def test_pauses_grow_and_are_never_shorter_than_what_the_server_says(manners: Any) -> None:
    patient = manners.PATIENT
    pauses = [patient.pause_s(tried, None) for tried in (1, 2, 3, 4)]
    assert all(0.375 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))
    assert patient.pause_s(1, 7.0) == 7.0
    assert patient.pause_s(1, 31.0) is None
    assert patient.pause_s(5, None) is None
    hasty = manners.HASTY
    assert [hasty.pause_s(tried, 7.0) for tried in (1, 7, 8)] == [0.0, 0.0, None]


def test_the_careless_client_is_not_told_from_the_other_on_a_good_day(talk: Talk, shop: Server) -> None:
    assert DONE in answers(talk(REFUND, HASTY="1"))[0]
    assert shop.paths() == ["GET /orders/1042", "POST /refunds"]


def test_the_careless_client_does_not_wait(talk: Talk, shop: Server) -> None:
    shop.faults = 20 * [status(429, Retry_After="60")]
    assert "does not answer properly" in answers(talk(REFUND, HASTY="1"))[0]
    assert shop.paths() == 8 * ["GET /orders/1042"]


def test_the_careless_client_pays_twice(talk: Talk, shop: Server) -> None:
    shop.faults = [None, lost_answer(503)]
    assert "15.00 EUR" in answers(talk(user("Refund 15 EUR of order 1042"), HASTY="1"))[0]
    assert len(set(keys(shop))) == 2
    assert call(shop, "GET", "/orders/1042")[1]["refunded_cents"] == 3000


def test_the_careless_client_takes_half_a_stream_for_all_of_it(talk: Talk, model: Server) -> None:
    model.faults = [None, cut_stream(3)]
    (whole,) = answers(talk(user("What is the status of order 1042?")))
    model.faults = [None, cut_stream(3)]
    (half,) = answers(talk(user("What is the status of order 1042?"), HASTY="1"))
    assert whole.startswith(half)
    assert 0 < len(half) < len(whole)


def test_the_careless_client_takes_half_a_list_for_all_of_it(talk: Talk, shop: Server) -> None:
    shop.faults = [None, page_without("orders")]
    (answer,) = answers(talk(user("Show me my last six orders, please."), HASTY="1"))
    assert "1017" not in answer
    assert len(shop.requests) == 2


def test_the_careless_client_forgets_its_new_token(talk: Talk, shop: Server) -> None:
    shop.faults = [None, EXPIRED, None, None, EXPIRED]
    answers(talk(REFUND, user("How much did I get back?"), HASTY="1"))
    assert shop.paths().count("POST /oauth/token") == 2
    assert tokens(shop)[4] == "token"


def test_the_careless_client_asks_on_without_a_login(talk: Talk, shop: Server) -> None:
    shop.faults = [EXPIRED, None, EXPIRED]
    answers(talk(REFUND, REFUND, HASTY="1", SHOP_REFRESH_TOKEN="revoked"))
    assert shop.paths() == 2 * ["GET /orders/1042", "POST /oauth/token"]


def test_a_reset_is_tried_again_without_a_storm(talk: Talk, shop: Server) -> None:
    shop.faults = 20 * [broken_connection]
    assert "does not answer properly" in answers(talk(REFUND))[0]
    assert len(shop.requests) == 5
