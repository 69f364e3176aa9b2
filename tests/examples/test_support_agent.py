"""The example's agent by itself, as a program: users copy it, so it has to be right without Aegis too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from example_servers import Mails, Server, Talk, answers, call, user


def refunded_cents(shop: Server, order: int) -> int:
    status, found = call(shop, "GET", f"/orders/{order}")
    assert status == 200
    return int(found["refunded_cents"])


def posts(shop: Server, path: str = "/refunds") -> list[Any]:
    return [json.loads(request.body) for request in shop.requests if request.path == path]


def test_a_refund_is_booked_and_mailed(talk: Talk, mails: Mails, model: Server, shop: Server) -> None:
    assert "42.00 EUR" in answers(talk(user("I want a refund for order 1042.")))[0]
    assert shop.paths() == ["GET /orders/1042", "POST /refunds"]
    assert model.paths() == 3 * ["POST /v1/chat/completions"]
    assert refunded_cents(shop, 1042) == 4200
    (mail,) = mails
    assert (mail["To"], mail["Subject"]) == (
        "ada@customers.example",
        "Your refund of 42.00 EUR for order 1042",
    )
    assert "(refund 2)" in mail.get_content()


@pytest.mark.parametrize("gone", ["SMTP_PORT", "DATABASE_URL"])
def test_what_was_done_is_announced_also_when_mail_or_journal_are_away(
    talk: Talk, shop: Server, gone: str
) -> None:
    away = {"SMTP_PORT": "1"} if gone == "SMTP_PORT" else {"DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    done = talk(user("I want a refund for order 1042."), **away)
    assert "42.00 EUR" in answers(done)[0]
    assert refunded_cents(shop, 1042) == 4200
    assert ("cannot send the mail refund-2" in done.stderr) is (gone == "SMTP_PORT")
    assert ("cannot write the journal (refund 2)" in done.stderr) is (gone == "DATABASE_URL")


def test_the_same_refund_is_not_paid_twice_in_one_conversation(talk: Talk, shop: Server) -> None:
    said = answers(
        talk(user("Refund order 1042, please."), user("Refund it again."), user("How much did I get back?"))
    )
    assert "already refunded" in said[1]
    assert "42.00 EUR" in said[2]
    assert refunded_cents(shop, 1042) == 4200


def test_parts_of_an_order_add_up_to_its_price_at_most(talk: Talk, shop: Server) -> None:
    said = answers(talk(*(user(f"Refund {amount} EUR of order 1042") for amount in ("30", "20.00", "12,00"))))
    assert "at most 12.00 EUR" in said[1]
    assert [body["amount_cents"] for body in posts(shop)] == [3000, 1200]
    assert refunded_cents(shop, 1042) == 4200


def test_a_refund_that_the_shop_made_in_the_meantime_is_not_announced(talk: Talk, shop: Server) -> None:
    def meanwhile(request: Any, answer: Any) -> Any:
        found = answer()
        call(shop, "POST", "/refunds", {"order": 1042, "amount_cents": 4200})
        return found

    shop.faults = [meanwhile]
    assert "already refunded" in answers(talk(user("Refund order 1042.")))[0]
    assert refunded_cents(shop, 1042) == 4200


def test_the_defect_announces_a_refund_that_was_not_made(talk: Talk, mails: Mails, shop: Server) -> None:
    assert "already refunded" in answers(talk(user("Please refund order 1023.")))[0]
    assert (
        "64.90 EUR for order 1023 are on their way"
        in answers(talk(user("Please refund order 1023."), REFUND_BUG="1"))[0]
    )
    assert len(posts(shop)) == 1
    assert refunded_cents(shop, 1023) == 6490
    assert not mails


@pytest.mark.parametrize(
    "text",
    [
        "Please refund order 1017",  # outside the window
        "Please refund order 1077",  # not delivered
        "Please refund order 1061",  # needs approval
        "Please refund order 2001",  # somebody else's
        "Please refund order 9999",
        "Please refund order 10-4Z",
        "Refund 2000 EUR of order 1042",
        "Refund 0 EUR of order 1042",
        "What does the note on order 1055 say?",
        "refund",
        "",
    ],
)
def test_nothing_is_paid(talk: Talk, mails: Mails, shop: Server, text: str) -> None:
    (answer,) = answers(talk(user(text)))
    assert answer
    assert posts(shop) == []
    assert [mail["Subject"] for mail in mails] == (
        ["Your request about your order 1061: ticket 1"] if "1061" in text else []
    )


def test_a_place_in_a_list_is_understood(talk: Talk, shop: Server) -> None:
    said = answers(talk(user("Show me my last three orders"), user("Refund the second one, please.")))
    assert "1042" in said[1]
    assert refunded_cents(shop, 1042) == 4200


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "SHOP_TOKEN"])
def test_a_missing_key_is_named(talk: Talk, name: str) -> None:
    done = talk(user("Hello"), **{name: None})
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{name} is not set\n")


def test_a_line_that_is_no_message_ends_the_agent(talk: Talk) -> None:
    for line in ("not json", "[]", '{"role": "system", "content": "x"}', '{"role": "user", "content": 7}'):
        done = talk(line)
        assert (done.returncode, done.stdout) == (2, "")
