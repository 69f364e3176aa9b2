"""Protocol `jsonl`, with real programs."""

from __future__ import annotations

import pytest

from aegis.agents.base import AgentResult
from aegis.suite.model import Agent
from support.process_sandbox import converse

PRELUDE = """
import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
def answer(text): say(role="assistant", content=text)
def listen(): return json.loads(sys.stdin.readline())
"""


def talk(program: str, *messages: str, **options: float) -> AgentResult:
    agent = Agent(command="exec python3 a.py", protocol="jsonl")
    return converse(agent, *messages, files={"a.py": PRELUDE + program}, **options)  # type: ignore[arg-type]


ECHO = """
for line in sys.stdin:
    message = json.loads(line)
    answer(message["role"] + ": " + message["content"].upper())
"""


def test_one_process_answers_every_turn() -> None:
    result = talk(ECHO, "eins", "zwei\nzeilen ü")
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == ["user: EINS", "user: ZWEI\nZEILEN Ü"]
    assert result.trace.exit == "exit code 0"
    (_, first_end), (second_start, second_end) = result.trace.turn_times_s
    assert 0 < first_end <= second_start <= second_end <= result.trace.duration_s


def test_tool_calls_are_recorded_with_their_turn() -> None:
    result = talk(
        """
for i, line in enumerate(sys.stdin):
    say(type="tool_call", name="lookup", arguments={"order": i}, result=["ok"])
    answer("done")
""",
        "a",
        "b",
    )
    calls = [(c.name, c.arguments, c.result, c.turn) for c in result.trace.tool_calls]
    assert calls == [("lookup", {"order": 0}, ["ok"], 0), ("lookup", {"order": 1}, ["ok"], 1)]


def test_unknown_types_and_blank_lines_are_ignored_and_kept() -> None:
    result = talk('listen(); print(); say(type="thought", text="hm"); answer("ok")', "x")
    assert (result.failure, result.trace.answer) == (None, "ok")
    assert '"thought"' in result.trace.stdout_tail


def test_a_last_line_without_line_end_counts() -> None:
    result = talk('listen(); sys.stdout.write(json.dumps({"role": "assistant", "content": "ok"}))', "x")
    assert (result.failure, result.trace.answer) == (None, "ok")


def test_an_agent_that_stays_up_is_ended_without_blame() -> None:
    result = talk('listen(); answer("ok"); time.sleep(5000)', "x")
    assert (result.failure, result.timed_out, result.trace.answer) == (None, False, "ok")
    assert result.trace.exit is None


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ('listen(); print("Thinking about it")', "a line that is not JSON: Thinking about it"),
        ("listen(); print([1, 2])", "a line that is not a JSON object: [1, 2]"),
        ('listen(); say(answer="x")', 'nor any "type": {"answer": "x"}'),
        ('listen(); say(role="assistant", content=["x"])', '"content" is not a text'),
        ('listen(); say(type="tool_call", arguments={})', '"name" is not a text'),
        ('listen(); print(\'{"role": "assistant", "content": NaN}\')', "NaN is no JSON number"),
        ('listen(); print(\'{"type": "x", "n": 1e999}\')', "out of range"),
        ('listen(); print(\'{"type": "x", "n": \' + "[" * 200 + "]" * 200 + "}")', "nested deeper"),
        ('listen(); print("[" * 100000)', "a line that is not JSON: [[["),
        ('listen(); os.write(1, b"\\xff\\xfe\\n")', "a line that is not JSON: "),
        ('answer("hello"); listen(); answer("late"); time.sleep(5000)', "turn 1 was answered twice"),
        ('listen(); answer("a"); answer("b"); time.sleep(5000)', "turn 1 was answered twice"),
        ('listen(); sys.exit("no key")', "exit code 1 before answering turn 1 of 1: no key"),
        ("listen()", "agent ended with exit code 0 before answering turn 1 of 1"),
        ('listen(); print("{", end="", flush=True); os._exit(4)', "exit code 4 before answering turn 1"),
        (
            "listen(); os.closerange(3, 64); os.close(1); time.sleep(5000)",
            "closed its standard output before answering turn 1",
        ),
        ('listen(); answer("ok"); sys.exit(7)', "exit code 7 after its last answer"),
    ],
)
def test_a_broken_protocol_is_the_agents_failure(program: str, failure: str) -> None:
    result = talk(program, "x")
    assert result.failure is not None
    assert failure in result.failure
    assert not result.timed_out
    assert "\n" not in result.failure


def test_two_answers_to_one_turn_of_several() -> None:
    result = talk('listen(); answer("a"); answer("b"); listen(); answer("c"); sys.stdin.read()', "x", "y")
    assert result.failure is not None
    assert "answered twice" in result.failure


@pytest.mark.parametrize(
    ("turns", "failure"),
    [
        ([1, 2, 3], None),
        ([1, 1], "turn 1 was answered twice"),
        ([2, 1], "it answered turn 2, but turn 1 is to be answered"),
        ([1, 3], "it answered turn 3, but turn 2 is to be answered"),
        ([0], "it answered turn 0, but turn 1 is to be answered"),
        (["1"], '"turn" is not a number'),
        ([True], '"turn" is not a number'),
    ],
)
def test_an_answer_may_say_which_turn_it_answers(turns: list[object], failure: str | None) -> None:
    program = f"""
for turn in {turns}:
    listen(); say(role="assistant", content="ok", turn=turn)
sys.stdin.read()
"""
    result = talk(program, "a", "b", "c")
    assert (failure or "None") in str(result.failure)


def test_an_end_in_the_middle_keeps_the_turns_before() -> None:
    result = talk('listen(); answer("first"); listen(); sys.exit(3)', "a", "b", "c")
    assert result.failure == "agent ended with exit code 3 before answering turn 2 of 3"
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "first"), ("b", "")]


def test_silence_times_out_and_keeps_what_was_answered() -> None:
    result = talk('listen(); answer("first"); time.sleep(5000)', "a", "b", timeout_s=5)
    assert result.timed_out
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "first"), ("b", "")]
    assert result.trace.answer == ""


def test_an_endless_line_is_cut() -> None:
    result = talk('listen()\nwhile True: sys.stdout.write("x" * 65536)', "x")
    assert result.failure is not None
    assert result.failure.startswith("agent wrote a line longer than 8MiB: xxx")
    assert len(result.trace.stdout_tail) <= 16 * 1024


def test_endless_tool_calls_are_cut() -> None:
    result = talk('listen()\nwhile True: print(\'{"type":"tool_call","name":"n"}\')', "x")
    assert result.failure == "agent reported more than 10000 tool calls"
    assert len(result.trace.tool_calls) == 10_000


def test_endless_unknown_lines_end_at_the_time_limit_in_constant_memory() -> None:
    result = talk('listen()\nwhile True: print(\'{"type":"tick"}\')', "x", timeout_s=3)
    assert result.timed_out
    assert len(result.trace.stdout_tail) <= 16 * 1024


def test_an_agent_that_does_not_read_cannot_hold_up_its_reader() -> None:
    program = 'answer("x" * 3000000); time.sleep(5000)'
    result = talk(program, "m" * 3_000_000)
    assert result.failure is None
    assert len(result.trace.answer) == 3_000_000


def test_lone_surrogates_cannot_break_what_is_written_later() -> None:
    result = talk('listen(); answer("a\\ud800b"); sys.stdin.read()', "x")
    assert result.trace.answer == "a\ufffdb"
