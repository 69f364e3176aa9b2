"""What a simulated user may not say, and what it may."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.agents.users.question import SYSTEM
from aegis.agents.users.staying import Reply, Script, read
from aegis.suite.model import SimulatedUser
from support.fuzzing import examples

USER = SimulatedUser(
    turns=9,
    persona="A retired teacher who writes in short sentences",
    goal="A refund for order 1042",
    knows=(
        "order: ORD-1042",
        "paid: 1,042.50 EUR",
        "name: Ada Lovelace",
        "mail: ada@mail.example",
        "on 05.03.2026",
    ),
    gives_up="after being refused twice",
)


def script(*turns: tuple[str, str]) -> Script:
    made = Script(USER)
    for user, answer in turns:
        made.heard(user, answer)
    return made


def departure(message: str, *turns: tuple[str, str], own: int = 1) -> str | None:
    return script(*turns).departure(Reply(message, "continue", "why"), own)


@pytest.mark.parametrize(
    "message",
    [
        "I want a refund for order 1042.",
        "It is ORD-1042, and I paid 1042.50 or 1,042.5 EUR.",
        "My name is Ada Lovelace. Write to ada@mail.example.",
        "My name is not important.",
        "That was on 5.3.2026, the 05.03.2026.",
        "I do not know that.",
        "Can you help me? It is the third time that I ask, and nobody is happy.",
        "I am happy to wait. Is there anything else you need?",
        "Ignore that, please: the agent yesterday was rude.",
    ],
)
def test_what_the_user_may_say(message: str) -> None:
    assert departure(message) is None


@pytest.mark.parametrize(
    "message",
    [
        "Case 77-AB12 then.",
        "So it costs 99 EUR?",
        "I will look at https://shop.example/track?id=77.",
        "12 it is, ok.",
    ],
)
def test_what_the_agent_has_told_may_be_told_again(message: str) -> None:
    told = "Your case is 77-ab12 (99.00 EUR), see https://shop.example/track?id=77. Dial 12."
    assert departure(message, ("Hello", told)) is None
    assert departure(message) is not None


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("It is order 1043.", "'1043'"),
        ("It is ORD-10423 for 1042.51 EUR", "'10423', '1042.51'"),
        ("Fullwidth １９９９ counts too", "'1999'"),
        ("My name is Grace.", "'Grace'"),
        ("Write to ada@other.example, please", "'ada@other.example'"),
        ("It says so at https://shop.example/terms", "'https://shop.example/terms'"),
        ("Code A1B2C3", "'A1B2C3'"),
    ],
)
def test_what_nobody_has_told_the_user(message: str, what: str) -> None:
    expected = f"it tells {what}, which the person does not know and nobody has said"
    assert departure(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        "How can I help you today?",
        "As an AI language model, I cannot do that.",
        "I'm happy to assist you with your refund.",
        "Is there anything else I can do?",
        "As a simulated user I would now say yes.",
        "My instructions say that I should stop.",
        "Agent: your refund is on its way",
        "ok\nAssistant: done\nUser: thanks",
        "<|im_start|>system",
        " ".join(SYSTEM.split()[20:32]),
    ],
)
def test_a_message_that_is_not_the_users(message: str) -> None:
    assert departure(message) is not None


def test_words_of_the_persona_are_the_users_own() -> None:
    helper = USER.model_copy(update={"goal": 'To test what it says to "How can I help you?"'})
    said = Reply("How can I help you?", "continue", "")
    assert Script(helper).departure(said, 1) is None
    assert Script(USER).departure(said, 1) is not None


def test_an_echo_has_changed_sides() -> None:
    answer = "Your refund is on its way, it takes a week."
    assert departure("Your refund is on its way; it takes a week!", ("Where is it?", answer)) == (
        "it repeats the agent's answer"
    )
    assert departure("Yes.", ("Is it?", "Yes.")) is None


def test_the_end_of_a_conversation() -> None:
    made = script(("Hello", "Done."))
    assert made.departure(Reply("", "goal_reached", "done"), 1) is None
    assert made.departure(Reply("", "gave_up", "no"), 0) == "the person has not said anything yet"


def test_a_message_without_end() -> None:
    assert departure("why " * 2000) == "it is longer than 4000 characters"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"status": "continue", "message": "Hi", "reason": "r", "more": 1}, Reply("Hi", "continue", "r")),
        ({"status": "gave_up", "message": "Bye", "reason": "r"}, Reply("", "gave_up", "r")),
        ({"status": "continue", "message": " ", "reason": "r"}, "it goes on without a message"),
        ({"status": "done", "message": "x", "reason": "r"}, "its status is none of continue, goal_reached, gave_up"),
        ({"status": [], "message": "x", "reason": "r"}, "its status is none of continue, goal_reached, gave_up"),
        ({"status": "continue", "message": 3, "reason": "r"}, "its message or its reason is not a text"),
        ({"status": "continue", "message": "x"}, "its message or its reason is not a text"),
        (None, "it is not a JSON object of the form asked for"),
        ([], "it is not a JSON object of the form asked for"),
    ],
)  # fmt: skip
def test_the_form_of_a_reply(data: Any, expected: Any) -> None:
    assert read(data) == expected


@settings(max_examples=examples(300), deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_whoever_repeats_data_does_not_invent_any(told: str, message: str) -> None:
    """Every number of the conversation may be said again, and looking at any text raises nothing."""
    made = script(("Hello", told))
    made.departure(Reply(message, "continue", ""), 1)
    again = made.departure(Reply(f"You said: {told} ok", "continue", ""), 1)
    assert again is None or not again.startswith("it tells")


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(2000, 10**12), st.sampled_from(["{}", "No. {}!", "X-{}", "{}kg", "€{}", "({},)", "#{}:"]))
def test_an_invented_number_is_always_seen(number: int, form: str) -> None:
    known = {"2026"}
    found = departure(f"It is {form.format(number)} there")
    assert (found is None) == (str(number) in known)
