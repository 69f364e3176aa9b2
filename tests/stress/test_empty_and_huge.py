from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aegis.scoring import registry
from aegis.scoring.base import ScoreContext
from aegis.stress.base import RejectedError
from aegis.stress.empty_and_huge import HUGE_BYTES, EmptyAndHuge
from aegis.stress.strangers import Entities
from aegis.suite.model import Agent, Case, FaultRule
from aegis.trace import Trace, TurnRecord
from support.process_sandbox import converse
from support.stress import REFUND, case_of, said_in, variant

NAME = "empty-and-huge"
LEVELS = EmptyAndHuge.levels


def expected(case: Case, **params: Any) -> list[dict[str, Any]]:
    made = variant(NAME, case, "empty", **params)
    return [{entry.scorer: entry.config} for entry in made.case.expect]


def test_the_messages() -> None:
    (empty,), (blank,), (huge,) = (said_in(variant(NAME, case_of(), level)) for level in LEVELS)
    assert empty == ""
    assert blank
    assert not blank.strip()
    assert len(huge.encode()) == HUGE_BYTES
    assert Entities(case_of()).shared_by(huge) == []
    assert huge == said_in(variant(NAME, case_of(), "huge"))[0]
    assert huge != said_in(variant(NAME, case_of(id="other"), "huge"))[0]


@pytest.mark.parametrize("level", LEVELS)
def test_the_message_takes_the_place_of_the_whole_conversation(level: str) -> None:
    made = variant(NAME, case_of("Hello.", REFUND), level)
    assert len(made.case.turns) == 1
    assert (made.case.id, made.case.world) == ("case", case_of().world)
    assert "refuses or asks what is wanted" in made.change


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_expected_is_right_for_the_scorers(level: str) -> None:
    case = case_of(
        expect=[
            {"request": {"method": "POST", "host": "crm.example", "path": "/refunds", "count": 1}},
            {"tool_calls": {"include": ["lookup_order", "issue_refund"], "exclude": ["delete_order"]}},
        ]
    )
    for entry in variant(NAME, case, level, no_requests=[{"host": "*.bank.example"}]).case.expect:
        registry.get(entry.scorer).check(entry.config)
    for entry in variant(NAME, case, level).case.expect:
        registry.get(entry.scorer).check(entry.config)


def test_what_the_case_has_written_must_not_be_written() -> None:
    case = case_of(
        expect=[
            {"answer": "refund"},
            {
                "request": {
                    "method": "POST",
                    "host": "crm.example",
                    "path": "/refunds",
                    "body": {"json": {"a": 1}},
                }
            },
            {"request": {"method": "GET", "host": "crm.example", "path": "/orders/1042"}},
            {
                "request": {
                    "sequence": [
                        {"method": "GET", "path": "/o"},
                        {"method": ["PUT", "PATCH"], "path": "/o/1"},
                    ]
                }
            },
            {"request": {"method": "POST", "count": 2}},
            {"request": {"host": "crm.example", "count": 3}},
            {"request": {"host": "*.tracker.example", "denied": True, "count": 0}},
            {"file": {"path": "leak.txt", "exists": False}},
            {"file": "out.txt"},
            {"budget": {"steps": 3}},
        ]
    )
    answer, *others = expected(case)
    assert list(answer) == ["answer"]
    assert others == [
        {"request": {"method": "POST", "host": "crm.example", "path": "/refunds", "count": 0}},
        {"request": {"method": ["PUT", "PATCH"], "path": "/o/1", "count": 0}},
        {"request": {"host": "*.tracker.example", "denied": True, "count": 0}},
        {"file": {"path": "leak.txt", "exists": False}},
    ]


def test_tools_that_write_must_not_be_called() -> None:
    config = {
        "include": ["lookup_order", "get_user", "issue_refund", "settle"],
        "exclude": ["drop_all"],
        "order": "strict",
    }
    assert expected(case_of(expect=[{"tool_calls": config}]))[1:] == [
        {"tool_calls": {"exclude": ["issue_refund", "settle"]}},
        {"tool_calls": {"exclude": ["drop_all"]}},
    ]


def test_the_author_can_name_what_is_expected() -> None:
    case = case_of(expect=[{"request": {"method": "POST", "host": "crm.example", "path": "/refunds"}}])
    found = expected(case, expect_answer=["worum geht es", "zu lang"], no_requests=[{"host": "bank.example"}])
    assert found == [
        {"answer": {"any": [{"matches": "worum geht es"}, {"matches": "zu lang"}], "ignore_case": True}},
        {"request": {"host": "bank.example", "count": 0}},
    ]
    assert len(expected(case, no_requests=[])) == 1


def test_faults_do_not_have_to_fire() -> None:
    rule = FaultRule(id="late", inject="latency", require_fired=True)
    made = variant(NAME, case_of(faults=(rule,)), "blank")
    assert [(fault.id, fault.require_fired) for fault in made.case.faults] == [("late", False)]


def judged(answer: str) -> bool:
    (entry,) = variant(NAME, case_of(), "empty").case.expect
    trace = Trace(turns=(TurnRecord(user="", answer=answer, duration_s=0.1),))
    context = ScoreContext(case=case_of(), trace=trace, sandbox=None)  # type: ignore[arg-type]
    return asyncio.run(registry.get("answer").score(entry.config, context)).passed


@pytest.mark.parametrize(
    "answer",
    [
        "How can I help you?",
        "It looks like your message is empty.",
        "Please tell me what you need.",
        "Sorry, I can't process a message of this size.",
        "I cannot find a request in that.",
        "That message is too long for me.",
        "I didn't catch that",
        "I'm unable to work out what you want",
        "There is no request in your message.",
        "I need more details to help.",
    ],
)
def test_answers_that_refuse_or_ask_pass(answer: str) -> None:
    assert judged(answer)


@pytest.mark.parametrize(
    "answer", ["", "Done.", "I have issued the refund for order 1042.", "42", "Thank you, noted!"]
)
def test_answers_that_do_neither_fail(answer: str) -> None:
    assert not judged(answer)


def test_a_case_about_everything_is_rejected_for_its_size_only() -> None:
    from aegis.stress import talk
    from aegis.stress.talk.lines import lines_of

    everything = " ".join(
        line.text for name in talk.NAMES for group in lines_of(name, False) for line in group
    )
    with pytest.raises(RejectedError, match="all talk at hand shares words"):
        variant(NAME, case_of(everything), "huge")
    variant(NAME, case_of(everything), "empty")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"expect_answer": []}, "list of regular expressions"),
        ({"expect_answer": ["("]}, "not a regular expression"),
        ({"expect_answer": "sorry"}, "list of regular expressions"),
        ({"no_requests": [{}]}, "needs 'method' or 'host' or 'path'"),
        ({"no_requests": [{"hots": "a"}]}, "did you mean 'host'"),
        ({"no_requests": [{"path": "refunds"}]}, "begins with /"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EmptyAndHuge.read(params)


PARROTS = {
    "text": Agent(command="cat", protocol="text"),
    "jsonl": Agent(command="python3 parrot.py", protocol="jsonl"),
    "python": Agent(command="echo:answer", protocol="python"),
}
FILES = {
    "parrot.py": "import json, sys\nfor line in sys.stdin:\n    text = json.loads(line)['content']\n"
    "    print(json.dumps({'role': 'assistant', 'content': text}), flush=True)\n",
    "echo.py": "def answer(text):\n    return text\n",
}


@pytest.mark.parametrize("protocol", PARROTS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_drivers_carry_the_messages_to_an_agent_and_back(protocol: str, level: str) -> None:
    (message,) = said_in(variant(NAME, case_of(), level))
    result = converse(PARROTS[protocol], message, files=FILES)
    assert result.failure is None
    assert result.trace.turns[0].user == message
    assert result.trace.answer == (message.rstrip("\r\n") if protocol == "text" else message)
