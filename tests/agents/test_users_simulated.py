"""Simulated users that a model plays, with the model played by a local server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aegis.agents.base import UserFault
from aegis.agents.users import Conversation, lack
from aegis.agents.users.question import MAX_CHARS, SYSTEM
from aegis.llm import FolderCache
from aegis.scoring import matcher
from aegis.suite.model import SimulatedUser, SpendingLimit, Turn
from aegis.trace import Trace, TurnRecord
from support import wire
from support.recorder import Recorder, Reply, Request

pytest.importorskip("openai")
pytest.importorskip("anthropic")

Agent = Callable[[str], str]


def says(message: str = "", status: str = "continue", reason: str = "it is so", **more: Any) -> Reply:
    text = json.dumps({"reason": reason, "status": status, "message": message})
    return wire.plain(wire.chat(text, **more))


def in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    left = list(replies)
    return lambda request: left.pop(0)


class Talk:
    """One conversation and all that is known of it."""

    def __init__(
        self,
        script: Callable[[Request], Reply],
        before: tuple[Turn, ...] = (),
        answers: Any = None,
        **fields: Any,
    ) -> None:
        self.said: list[str] = []
        self.fault = ""
        with Recorder(script) as recorder:
            user = {
                "model": "gpt-5-mini",
                "base_url": f"{recorder.url}/v1",
                "goal": "A refund for order 1042",
                "turns": 10,
                **fields,
            }
            asyncio.run(self._run((*before, Turn(simulate=SimulatedUser(**user))), answers))
            self.bodies = [
                json.loads(item.request_body.text or "") for item in recorder.exchanges if item.request_body
            ]

    async def _run(self, turns: tuple[Turn, ...], answers: Any) -> None:
        user = Conversation(turns, holds=matcher.holds, answers=answers)
        records, answer = [], None
        try:
            while (message := await user.next(answer)) is not None:
                self.said.append(message)
                answer = f"answer {len(self.said)} of the agent"
                records.append(TurnRecord(message, answer, 0.1))
        except UserFault as fault:
            self.fault = str(fault)
        self.cost, self.waited_s = user.cost, user.waited_s
        self.trace = user.marked(Trace(turns=tuple(records)))

    @property
    def ended(self) -> str:
        return self.trace.turns[-1].user_ended


def test_a_user_that_reaches_its_goal() -> None:
    script = in_turn(
        says("I want a refund."), says("For order 1042."), says(status="goal_reached", reason="Refunded.")
    )
    talk = Talk(script, persona="Somebody terse", knows=("paid: 42 EUR",), seed=7)
    assert (talk.said, talk.fault) == (["I want a refund.", "For order 1042."], "")
    assert talk.ended == "goal reached: Refunded."
    assert [turn.simulated for turn in talk.trace.turns] == [True, True]
    assert talk.cost == {
        "model_calls": 3,
        "cached": 0,
        "input_tokens": 3000,
        "output_tokens": 300,
        "usd": pytest.approx(3 * 0.000405),
    }
    assert talk.waited_s > 0
    first, _, last = talk.bodies
    assert (first["temperature"], first["seed"]) == (0.0, 7)
    assert first["messages"][0]["content"].startswith(SYSTEM)
    question = last["messages"][1]["content"]
    person = json.loads(question.partition("The person:\n")[2].partition("\n\nThe conversation")[0])
    assert person == {
        "persona": "Somebody terse",
        "goal": "A refund for order 1042",
        "knows": ["paid: 42 EUR"],
        "gives_up": "never",
        "messages so far": 2,
        "messages at most": 10,
    }
    assert json.loads(conversation(question)) == [
        {"person": "I want a refund.", "agent": "answer 1 of the agent"},
        {"person": "For order 1042.", "agent": "answer 2 of the agent"},
    ]


def conversation(question: str) -> str:
    mark, _, rest = question.partition("<conversation ")[2].partition(">\n")
    inside, closing, _ = rest.partition(f"\n</conversation {mark}>\n")
    assert closing
    assert mark not in inside
    return inside


def test_a_user_that_gives_up_in_a_conversation_that_goes_on() -> None:
    script = in_turn(says("Well?"), says(status="gave_up", reason="It refused\n twice."))
    talk = Talk(script, (Turn(user="Hello"),), gives_up="when the agent refuses twice")
    assert talk.said == ["Hello", "Well?"]
    assert [turn.user_ended for turn in talk.trace.turns] == ["", "gave up: It refused twice."]
    assert [turn.entry for turn in talk.trace.turns] == [0, 1]
    assert (
        "Write what the person says to the agent's last answer." in talk.bodies[0]["messages"][1]["content"]
    )


def test_the_bound_ends_it_without_a_question_more() -> None:
    talk = Talk(in_turn(says("a"), says("b")), turns=2)
    assert (talk.said, talk.ended) == (["a", "b"], "bound: 2 messages")
    assert talk.cost is not None
    assert talk.cost["model_calls"] == 2


def test_ends_that_need_no_model() -> None:
    talk = Talk(in_turn(says("b")), begins="a", done={"contains": "answer 2"})
    assert (talk.said, talk.ended) == (["a", "b"], "goal reached: the answer is as done asks for")
    talk = Talk(in_turn(says("b")), begins="a", gives_up_after=2)
    assert (talk.said, talk.ended) == (["a", "b"], "gave up: the goal was not reached after 2 messages")


def test_the_same_conversation_is_paid_for_once(tmp_path: Path) -> None:
    replies = (says("Order 77 it is"), says("Order 1042"), says("Now?"), says(status="goal_reached"))
    with Recorder(in_turn(*replies)) as recorder:
        asked = {"answers": FolderCache(tmp_path), "base_url": f"{recorder.url}/v1"}
        first = Talk(in_turn(), **asked)
        again = Talk(in_turn(), **asked)
        assert len(recorder.exchanges) == 4
        assert first.said == again.said == ["Order 1042", "Now?"]
        assert first.trace == again.trace
        assert again.cost == {"model_calls": 0, "cached": 3, "input_tokens": 0, "output_tokens": 0, "usd": 0}
        # The budget is used up where it was when everything was paid for.
        limited = Talk(in_turn(), budget=SpendingLimit(tokens=3000), **asked)
        assert limited.said == ["Order 1042", "Now?"]
        assert "its budget of 3,000 tokens is used up (3,300)" in limited.fault
        other = Talk(in_turn(), seed=1, **asked)
        assert other.said == []


def test_all_trials_meet_the_user_that_was_kept_first(tmp_path: Path) -> None:
    """Of two trials that ask at the same time, the slower one goes on with what the faster one was told."""

    class Overtaken(FolderCache):
        looked = 0

        def get(self, key: str) -> dict[str, Any] | None:
            self.looked += 1
            if self.looked == 2:
                self.put(key, {"message": "fast", "status": "continue", "reason": "", "usd": None})
            return super().get(key)

    cache = Overtaken(tmp_path)
    with Recorder(lambda request: says("slow")) as recorder:
        talks = [Talk(in_turn(), answers=cache, base_url=f"{recorder.url}/v1", turns=1) for _ in range(2)]
    assert [talk.said for talk in talks] == [["fast"], ["fast"]]
    assert [talk.cost and talk.cost["model_calls"] for talk in talks] == [1, 0]


def test_a_spoilt_kept_message_is_asked_for_again() -> None:
    class Spoilt:
        def __init__(self, kept: dict[str, Any]) -> None:
            self.kept = kept

        def get(self, key: str) -> dict[str, Any] | None:
            return self.kept

        def put(self, key: str, value: Any) -> None:
            self.kept = value

    sound = {
        "status": "continue",
        "reason": "r",
        "message": "kept",
        "input_tokens": 1,
        "output_tokens": 1,
        "usd": 0.1,
    }
    assert Talk(in_turn(), answers=Spoilt(sound), turns=1).said == ["kept"]
    for change in ({"message": "Order 99"}, {"status": "maybe"}, {"usd": "much"}, {"message": None}):
        talk = Talk(in_turn(says("new")), answers=Spoilt({**sound, **change}), turns=1)
        assert talk.said == ["new"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (says("Order 1043"), "it tells '1043', which the person does not know and nobody has said"),
        (says("How can I help you?"), "it speaks as the agent or about the play"),
        (says(""), "it goes on without a message"),
        (says(status="goal_reached"), "the person has not said anything yet"),
        (wire.plain(wire.chat("I would like a refund")), "it is not a JSON object of the form asked for"),
    ],
)
def test_who_leaves_the_script_is_corrected_once(bad: Reply, why: str) -> None:
    talk = Talk(in_turn(bad, says("Order 1042")), turns=1)
    assert (talk.said, talk.fault) == (["Order 1042"], "")
    first, second = (body["messages"] for body in talk.bodies)
    assert second[:2] == first
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert second[3]["content"].startswith(f"That message cannot be used: {why}")
    assert talk.cost is not None
    assert talk.cost["model_calls"] == 2

    talk = (
        Talk(in_turn(says("Well?"), bad, bad), turns=9)
        if "anything yet" not in why
        else Talk(in_turn(bad, bad))
    )
    start = "the simulated user of conversation[0] could not go on: it left its script, twice: "
    assert talk.fault.startswith(f"{start}{why}")
    assert talk.trace.turns == () or talk.trace.turns[-1].user == "Well?"


def test_the_budget_in_tokens() -> None:
    talk = Talk(lambda request: says("more"), budget=SpendingLimit(tokens=2500))
    assert talk.said == ["more"] * 3
    assert talk.fault.endswith("its budget of 2,500 tokens is used up (3,300)")
    assert talk.cost is not None
    assert talk.cost["model_calls"] == 3


def test_the_budget_in_dollars() -> None:
    talk = Talk(lambda request: says("more"), budget=SpendingLimit(usd=0.0005))
    assert talk.said == ["more"] * 2
    assert "its budget of $0.0005 is used up ($0.00081)" in talk.fault
    talk = Talk(lambda request: says("more", model="ours"), budget=SpendingLimit(usd=1), model="ours")
    assert talk.said == ["more"]
    assert "its model told no price" in talk.fault
    assert talk.cost is not None
    assert (talk.cost["usd"], talk.cost["input_tokens"]) == (None, 1000)


def test_a_server_that_tells_no_tokens_is_counted_by_bytes() -> None:
    def script(request: Request) -> Reply:
        answer = wire.chat(json.dumps({"reason": "", "status": "continue", "message": "more"}))
        return wire.plain({**answer, "usage": None})

    talk = Talk(script, budget=SpendingLimit(tokens=2 * len(SYSTEM)))
    assert len(talk.said) == 2
    assert "is used up" in talk.fault
    assert talk.cost is not None
    assert (talk.cost["input_tokens"], talk.cost["model_calls"]) == (None, 2)


def test_a_model_that_does_not_answer_is_nobodys_failure() -> None:
    talk = Talk(lambda request: wire.plain({"error": {"message": "no such model"}}, 404))
    assert (
        "the simulated user of conversation[0] could not go on: no answer from the model 'gpt-5-mini'"
        in talk.fault
    )


def test_a_long_conversation_is_asked_about_within_bounds() -> None:
    before = tuple(Turn(user=f"{number} " + "x" * 20_000) for number in range(30))
    talk = Talk(in_turn(says("Well?")), before, turns=1)
    [body] = talk.bodies
    question = body["messages"][1]["content"]
    shown = json.loads(conversation(question))
    assert len(question) < 1.1 * MAX_CHARS
    assert [turn.get("turns left out") for turn in shown if len(turn) == 1] == [23]
    assert shown[0]["person"].startswith("0 x")
    assert shown[-1]["agent"] == "answer 30 of the agent"


def test_anthropics_protocol() -> None:
    seen = []

    def script(request: Request) -> Reply:
        seen.append(json.loads(request.body))
        said = {
            "reason": "r",
            "status": "continue",
            "message": "Order 1043" if len(seen) == 1 else "Order 1042",
        }
        use = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": said}
        return wire.plain(wire.message([use], "tool_use"))

    with Recorder(script) as recorder:
        talk = Talk(in_turn(), provider="anthropic", base_url=recorder.url, turns=1)
    assert talk.said == ["Order 1042"]
    assert "seed" not in seen[0]
    assert json.loads(seen[1]["messages"][1]["content"])["message"] == "Order 1043"


def test_what_is_missing_is_known_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    user = SimulatedUser(turns=1, model="gpt-5-mini", goal="x")
    assert lack(user) == (
        "the simulated user needs the environment variable OPENAI_API_KEY for the model 'gpt-5-mini'; "
        "a script of rules (script) needs neither"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert lack(user) is None
    assert lack(user.model_copy(update={"budget": SpendingLimit(usd=1)})) is None
    ours = SimulatedUser(
        turns=1, model="ours-7b", base_url="http://h/v1", goal="x", budget=SpendingLimit(usd=1)
    )
    assert (
        lack(ours)
        == "the price of the model 'ours-7b' is not known: give budget.tokens in place of budget.usd"
    )
    assert lack(SimulatedUser(turns=1)) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'aegis-evals[judge]'" in (lack(user) or "")
