"""Users without a model: scripted messages, and rules over the agent's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aegis.agents.base import AgentResult, UserFault
from aegis.agents.users import Conversation, ScriptedUser
from aegis.scoring import matcher
from aegis.suite.model import Agent, SayRule, SimulatedUser, Turn
from aegis.trace import Trace, TurnRecord
from support.process_sandbox import converse


def rules(*script: tuple[Any, str], **fields: Any) -> Turn:
    said = tuple(SayRule(when=when, say=say) for when, say in script)
    return Turn(simulate=SimulatedUser(**{"turns": 100, "script": said, **fields}))


def talk(turns: list[Turn], agent: Callable[[str], str]) -> tuple[list[str], Trace]:
    """What the user said, and the marked trace."""

    async def body() -> tuple[list[str], Trace]:
        user = Conversation(turns, holds=matcher.holds)
        said: list[str] = []
        records = []
        answer: str | None = None
        while (message := await user.next(answer)) is not None:
            said.append(message)
            answer = agent(message)
            records.append(TurnRecord(message, answer, 0.1))
        assert await user.next(answer) is None
        return said, user.marked(Trace(turns=tuple(records)))

    return asyncio.run(body())


def test_a_scripted_user_says_its_messages_whatever_is_answered() -> None:
    async def body() -> list[str | None]:
        user = ScriptedUser("a", "b")
        assert user.total == 2
        return [await user.next(None), await user.next("x"), await user.next("y")]

    assert asyncio.run(body()) == ["a", "b", None]


def test_scripted_messages_of_a_case() -> None:
    said, trace = talk([Turn(user="a"), Turn(user="b")], str.upper)
    assert said == ["a", "b"]
    assert [(turn.entry, turn.simulated, turn.user_ended) for turn in trace.turns] == [
        (0, False, ""),
        (1, False, ""),
    ]


def test_forty_turns_of_rules_are_the_same_every_time() -> None:
    """A user that follows what the agent asks for, between two scripted messages."""
    user = rules(
        ({"matches": r"order number"}, "It is 1042."),
        ({"contains": "step 38"}, "Thanks, that is all."),
        (None, "And then?"),
        begins="I want a refund.",
        done={"contains": "goodbye"},
    )

    def agent() -> Callable[[str], str]:
        step = iter(range(1000))

        def answer(message: str) -> str:
            number = next(step)
            if "refund" in message:
                return "What is your order number?"
            return "goodbye" if "Thanks" in message else f"step {number}"

        return answer

    runs = [talk([Turn(user="Hi"), user, Turn(user="One more thing")], agent()) for _ in range(2)]
    assert runs[0] == runs[1]
    said, trace = runs[0]
    assert len(said) == 41
    assert said[:4] == ["Hi", "I want a refund.", "It is 1042.", "And then?"]
    assert said[-3:] == ["And then?", "Thanks, that is all.", "One more thing"]
    assert [turn.entry for turn in trace.turns] == [0, *[1] * 39, 2]
    assert [turn.simulated for turn in trace.turns] == [False, *[True] * 39, False]
    endings = {number: turn.user_ended for number, turn in enumerate(trace.turns) if turn.user_ended}
    assert endings == {39: "goal reached: the answer is as done asks for"}


def test_the_first_rule_that_matches_speaks_and_once_is_once() -> None:
    script = (SayRule(when="x", say="first", once=True), SayRule(when="x", say="second"), SayRule(say="else"))
    turn = Turn(simulate=SimulatedUser(turns=4, begins="go", script=script))
    answers = iter(["x", "x", "y", "x"])
    said, trace = talk([turn], lambda message: next(answers))
    assert said == ["go", "first", "second", "else"]
    assert trace.turns[-1].user_ended == "bound: 4 messages"


def test_without_a_beginning_the_first_message_is_by_the_rules() -> None:
    said, _ = talk([Turn(user="Hello"), rules(("name", "Ada"), turns=1)], lambda message: "Your name?")
    assert said == ["Hello", "Ada"]


def test_where_no_rule_matches_the_user_falls_silent() -> None:
    said, trace = talk([rules(("yes", "good"), begins="ok?"), Turn(user="next")], lambda message: "no")
    assert said == ["ok?", "next"]
    assert [turn.user_ended for turn in trace.turns] == ["no rule matched", ""]


def test_users_that_say_nothing_at_all_are_told_where_they_would_have_spoken() -> None:
    silent = rules(("yes", "good"))
    said, trace = talk([Turn(user="a"), silent, silent, Turn(user="b")], lambda message: "no")
    assert said == ["a", "b"]
    assert [turn.user_ended for turn in trace.turns] == ["no rule matched; no rule matched", ""]
    assert [turn.entry for turn in trace.turns] == [0, 3]


def test_or_the_trial_is_an_error() -> None:
    with pytest.raises(UserFault) as caught:
        talk([Turn(user="a"), rules(("yes", "good"), unmatched="error")], lambda message: "no\n\x1b[31mway")
    why = "no rule of its script matches the answer: no [31mway"
    assert str(caught.value) == f"the simulated user of conversation[1] could not go on: {why}"


def test_giving_up() -> None:
    _, trace = talk(
        [rules((None, "please"), begins="please", gives_up_after=3, done="done")], lambda message: "no"
    )
    assert [turn.user_ended for turn in trace.turns] == [
        "",
        "",
        "gave up: the goal was not reached after 3 messages",
    ]
    _, trace = talk(
        [rules((None, "please"), begins="please", gives_up_after=3, done="no")], lambda message: "no"
    )
    assert [turn.user_ended for turn in trace.turns] == ["goal reached: the answer is as done asks for"]


def test_a_pattern_that_takes_for_ever_is_nobodys_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.scoring.matcher.Deadline", lambda: _Over())
    with pytest.raises(
        UserFault, match=r"whether an answer does match .* is not known: judging it took longer"
    ):
        talk([rules(({"matches": "(a+)+b"}, "x"), begins="go")], lambda message: "a" * 30)


class _Over:
    def left_s(self) -> float:
        from aegis.scoring.pattern import TooSlowError

        raise TooSlowError


PARROT = """
import json, sys, time
for line in sys.stdin:
    said = json.loads(line)["content"]
    print(json.dumps({"role": "assistant", "content": "you said " + said}), flush=True)
"""
FUNCTION = "def answer(message): return 'you said ' + message\n"
SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": "you said " + asked["messages"][-1]["content"]}
        body = json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
EDITOR = """
import json, sys
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
results = {"initialize": {"protocolVersion": 1}, "session/new": {"sessionId": "s1"}}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "session/prompt":
        said = "".join(block["text"] for block in asked["params"]["prompt"])
        chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "you said " + said}}
        send(method="session/update", params={"sessionId": "s1", "update": chunk})
    send(id=asked["id"], result=results.get(asked["method"], {"stopReason": "end_turn"}))
"""
AGENTS = {
    "jsonl": (Agent(command="exec python3 a.py", protocol="jsonl"), {"a.py": PARROT}),
    "python": (Agent(command="agent:answer", protocol="python"), {"agent.py": FUNCTION}),
    "chat": (Agent(command="exec python3 a.py", protocol="chat"), {"a.py": SERVER}),
    "acp": (Agent(command="exec python3 a.py", protocol="acp"), {"a.py": EDITOR}),
}


def attend(protocol: str, user: Conversation, **options: Any) -> AgentResult:
    agent, files = AGENTS[protocol]
    return converse(agent, files=files, user=user, waited_s=lambda: user.waited_s, **options)


@pytest.mark.parametrize("protocol", AGENTS)
def test_a_real_agent_and_a_user_of_rules(protocol: str) -> None:
    turn = rules(({"matches": "said a+$"}, "ab"), ({"contains": "ab"}, "aa"), begins="a", turns=40)
    user = Conversation([turn, Turn(user="bye")], holds=matcher.holds)
    result = attend(protocol, user)
    assert (result.failure, result.user_fault) == (None, None)
    trace = user.marked(result.trace)
    assert [turn.user for turn in trace.turns] == ["a", *["ab", "aa"] * 19, "ab", "bye"]
    assert trace.turns[39].user_ended == "bound: 40 messages"


@pytest.mark.parametrize("protocol", AGENTS)
def test_a_user_that_cannot_go_on_is_not_the_agents_failure(protocol: str) -> None:
    user = Conversation([Turn(user="a"), rules(("x", "y"), unmatched="error")], holds=matcher.holds)
    result = attend(protocol, user)
    assert result.failure is None
    assert result.user_fault is not None
    assert "no rule of its script matches the answer: you said a" in result.user_fault
    assert [turn.answer for turn in result.trace.turns] == ["you said a"]


def test_the_time_that_a_user_thinks_is_not_the_agents() -> None:
    async def slowly(config: Any, text: str) -> bool:
        await asyncio.sleep(1.5)
        return True

    user = Conversation([Turn(user="a"), rules(("x", "y"), turns=3)], holds=slowly)
    result = attend("jsonl", user, timeout_s=3.0)
    assert (result.failure, len(result.trace.turns)) == (None, 4)
    assert user.waited_s >= 4.5
    assert result.trace.waited_s >= 4.5
    assert result.trace.own_s < result.trace.duration_s


def test_text_takes_no_user_whose_messages_depend_on_answers() -> None:
    from aegis.errors import UsageError

    user = Conversation([rules(("x", "y"), begins="a")], holds=matcher.holds)
    with pytest.raises(UsageError, match="the protocol text hands over all messages at once"):
        converse(Agent(command="cat"), user=user)
    both = Conversation([Turn(user="a"), Turn(user="b")], holds=matcher.holds)
    assert converse(Agent(command="cat"), user=both).trace.answer == "a\n\nb"
