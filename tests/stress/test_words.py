from __future__ import annotations

import pytest

from aegis.stress import words
from support.stress import case_of


@pytest.mark.parametrize(
    "forms",
    [
        ["refund", "Refunds", "refunded", "refunding", "refund's"],
        ["order", "orders", "ordered", "ordering"],
        ["cancel", "cancels", "canceling"],
        ["city", "cities"],
        ["moon", "moon’s"],
    ],
)
def test_inflected_forms_have_one_stem(forms: list[str]) -> None:
    assert len({words.stem(form) for form in forms}) == 1


def test_common_words_say_nothing() -> None:
    assert words.stems("Please, what is that about?") == frozenset()
    assert words.stems("The orders don't arrive") == {"order", "arriv"}


def test_everything_that_a_case_expects_is_found() -> None:
    case = case_of(
        expect=[
            {"answer": {"any": [{"contains": ["alpha", 17]}, {"matches": r"(?i)\border 1077\b"}]}},
            {"file": {"path": "out.json", "json": {"beta": [1.5, True, None, {"gamma": "delta"}]}}},
        ]
    )
    found = words.expected(case)
    assert {"alpha", "17", "out.json", "beta", "1.5", "gamma", "delta"} <= set(found)
    assert {"order", "alpha", "gamma"} <= words.topics(case)
    assert "border" in words.topics(case)  # as one who reads it without knowing that it is an expression


@pytest.mark.parametrize(
    "text",
    [
        "Refund order 1042",
        "add task buy milk tomorrow high priority list groceries home evening",
        "I flew from Los Angeles to El Paso on Monday",
        "",
        "1042",
    ],
)
def test_english(text: str) -> None:
    assert words.is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "Bitte storniere meine Bestellung, denn die Tasse kam gestern kaputt an.",
        "Je voudrais annuler ma commande, elle est arrivée cassée et je ne veux pas attendre.",
        "Quiero cancelar el pedido, por favor, que está roto.",
        "请取消我的订单",
        "Отмените заказ, пожалуйста",
    ],
)
def test_other_languages(text: str) -> None:
    assert not words.is_english(text)
