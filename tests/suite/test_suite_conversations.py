"""Conversations in a suite's file: expectations inside turns, and simulated users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from suite_files import load, problems, write_jsonl

from aegis.scoring import registry
from aegis.suite.document import to_document
from aegis.suite.model import SayRule, SimulatedUser, SpendingLimit, Suite, Turn

JSONL = "suite: s\nagent: {command: python3 agent.py, protocol: jsonl}\n"
CASES = """\
cases:
  - id: a
    conversation:
      - user: Hello
        expect:
          - answer: {contains: hi}
          - tool_calls: {exclude: [refund]}
      - simulate:
          persona: Somebody in a hurry
          goal: A refund for order 1042
          knows: {order: 1042, name: Ada, total: 42.5}
          gives_up: when the agent refuses twice
          turns: 12
          model: ours-7b
          base_url: http://127.0.0.1:1/v1
          seed: 7
          budget: {tokens: 9000}
          done: {matches: "(?i)refunded"}
        expect: [{request: {host: crm.example, count: 1}}]
      - simulate:
          script:
            - {when: which order, say: "1042", once: true}
            - {when: {matches: 'sure[?]'}, say: "Yes."}
            - {otherwise: "And now?"}
          begins: One more thing.
          gives_up: 3
          unmatched: error
          turns: 5
    expect: [{answer: x}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def with_registry(root: Path, text: str, name: str = "s.yaml", **options: Any) -> Suite:
    return load(root, text, name, check_expectation=registry.check, **options)


def test_a_whole_conversation(root: Path) -> None:
    [case] = with_registry(root, JSONL + CASES).cases
    first, second, third = case.turns
    assert (first.user, first.simulate) == ("Hello", None)
    assert [(entry.scorer, entry.line) for entry in first.expect] == [("answer", 8), ("tool_calls", 9)]
    assert second.simulate == SimulatedUser(
        turns=12,
        persona="Somebody in a hurry",
        goal="A refund for order 1042",
        knows=("order: 1042", "name: Ada", "total: 42.5"),
        gives_up="when the agent refuses twice",
        model="ours-7b",
        base_url="http://127.0.0.1:1/v1",
        seed=7,
        budget=SpendingLimit(tokens=9000),
        done={"matches": "(?i)refunded"},
    )
    assert [entry.line for entry in second.expect] == [21]
    assert third.simulate == SimulatedUser(
        turns=5,
        begins="One more thing.",
        gives_up_after=3,
        unmatched="error",
        script=(
            SayRule(when="which order", say="1042", once=True),
            SayRule(when={"matches": "sure[?]"}, say="Yes."),
            SayRule(say="And now?"),
        ),
    )


def test_it_goes_through_its_written_form_and_through_json_unchanged(root: Path) -> None:
    made = with_registry(root, JSONL + CASES)
    assert Suite.model_validate_json(made.model_dump_json()) == made
    (root / "evals" / "s.yaml").unlink()
    again = with_registry(root, f"suite = {to_document(made)!r}\n", "s.py")

    def bare(turns: tuple[Turn, ...]) -> list[Any]:
        return [turn.model_dump(exclude={"expect": {"__all__": {"line"}}}) for turn in turns]

    assert bare(again.cases[0].turns) == bare(made.cases[0].turns)


def one(*turns: str, protocol: str = "jsonl") -> str:
    """A suite of one case; its turns begin at line 6."""
    lines = "".join(f"      - {turn}\n" for turn in turns)
    return (
        f"suite: s\nagent: {{command: x, protocol: {protocol}}}\ncases:\n  - id: a\n    conversation:\n{lines}"
        "    expect: [{answer: x}]\n"
    )


MODEL = "model: m, base_url: 'http://h/v1', turns: 3"
SCRIPT = "script: [{when: x, say: y}], turns: 3"


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("{}", "@: needs 'user' or 'simulate'"),
        (
            f"{{user: x, simulate: {{{SCRIPT}, begins: b}}}}",
            "@.simulate: has 'user' and 'simulate': give one",
        ),
        (
            "{user: x, expect: []}",
            "@.expect: expected a list such as [{answer: refund}], got an empty list: a case",
        ),
        (
            "{user: x, expect: [{file: {path: x}}]}",
            "@.expect[0].file: cannot judge one turn (these can: answer, tool",
        ),
        (
            "{user: x, expect: [{answr: x}]}",
            "@.expect[0].answr: unknown scorer 'answr' (did you mean 'answer'?)",
        ),
        (
            "{user: x, expect: [{answer: {contains: ''}}]}",
            "@.expect[0].answer.contains: expected a text to look",
        ),
        ("{simulate: {turns: 3, goal: x}}", "@.simulate: needs 'model' or 'script'"),
        (
            f"{{simulate: {{{SCRIPT}, begins: x, model: m}}}}",
            "@.simulate.script: has 'model' and 'script': give one",
        ),
        ("{simulate: {model: m, goal: x}}", "@.simulate: key 'turns' is missing"),
        (
            f"{{simulate: {{{MODEL}}}}}",
            "@.simulate: key 'goal' is missing: the model must know what its user wants",
        ),
        (
            f"{{simulate: {{{MODEL}, goal: x, unmatched: end}}}}",
            "@.simulate.unmatched: has no meaning beside 'model'",
        ),
        (
            f"{{simulate: {{{MODEL}, goal: x, knows: 3}}}}",
            "@.simulate.knows: expected a list of facts or a mapping",
        ),
        (
            f"{{simulate: {{{MODEL}, goal: x, knows: {{a: true}}}}}}",
            "@.simulate.knows.a: expected text, got true",
        ),
        (f"{{simulate: {{{MODEL}, goal: x, budget: {{}}}}}}", "@.simulate.budget: needs 'tokens' or 'usd'"),
        (
            f"{{simulate: {{{MODEL}, goal: x, gives_up: true}}}}",
            "@.simulate.gives_up: expected when, in words, or a",
        ),
        (
            f"{{simulate: {{{MODEL}, goal: x, done: {{matches: '('}}}}}}",
            "@.simulate.done.matches: not a regular expr",
        ),
        (
            f"{{simulate: {{{SCRIPT}, begins: x, persona: y}}}}",
            "@.simulate.persona: has no meaning beside 'script'",
        ),
        (
            f"{{simulate: {{{SCRIPT}, begins: x, gives_up: soon}}}}",
            "@.simulate.gives_up: rules cannot read: give a",
        ),
        (
            f"{{simulate: {{{SCRIPT}}}}}",
            "@.simulate: key 'begins' is missing: there is no answer yet that a rule",
        ),
        (
            "{simulate: {script: [], begins: x, turns: 3}}",
            "@.simulate.script: expected a list such as [{when: REGEX",
        ),
        (
            "{simulate: {script: [{when: x}], begins: x, turns: 3}}",
            "@.simulate.script[0]: key 'say' is missing",
        ),
        (
            "{simulate: {script: [{otherwise: x}, {when: x, say: y}], begins: x, turns: 3}}",
            "@.simulate.script[0]: otherwise speaks whatever the answer is: no rule after it is ever looked at",
        ),
        (
            "{simulate: {script: [{when: {match: x}, say: y}], begins: x, turns: 3}}",
            "@.simulate.script[0].when.match: unknown key 'match' (did you mean 'matches'?)",
        ),
    ],
)
def test_what_is_wrong_with_a_turn(root: Path, turn: str, expected: str) -> None:
    place, _, message = expected.partition(": ")
    found = problems(root, one(turn), check_expectation=registry.check)
    where = place.replace("@", "conversation[0]")
    assert any(item.startswith(f"evals/s.yaml:6: {where} of case 'a': {message}") for item in found), found


def test_unknown_names_and_scorers_of_the_whole_case(root: Path) -> None:
    later = one("{user: x, expect: [{mail: {}}]}", f"{{simulate: {{{MODEL}, goal: x, turn: 2}}}}")
    assert problems(root, later, check_expectation=registry.check) == [
        "evals/s.yaml:6: conversation[0].expect[0].mail of case 'a': cannot judge one turn (these can: answer, "
        "tool_calls, request, judge): move it to the case's expect",
        "evals/s.yaml:7: unknown key 'turn' in conversation[1].simulate of case 'a' (did you mean 'turns'?)",
    ]


def test_rules_after_an_answer_need_no_beginning(root: Path) -> None:
    assert with_registry(root, one("{user: x}", f"{{simulate: {{{SCRIPT}}}}}")).cases[0].turns[1].simulate


def test_the_protocol_text_has_no_turn_to_itself(root: Path) -> None:
    simulated = f"{{simulate: {{{SCRIPT}, begins: x}}}}"
    checked = "{user: x, expect: [{answer: y}]}"
    found = problems(root, one(simulated, checked, protocol="text"), check_expectation=registry.check)
    assert found == [
        "evals/s.yaml:6: conversation[0].simulate of case 'a': the protocol text hands over all messages at once and "
        "gets one answer: what a user says cannot depend on it; use jsonl, python, chat or acp (agent.protocol)",
        "evals/s.yaml:7: conversation[1].expect of case 'a': the protocol text hands over all messages at once and "
        "gets one answer, which no turn has to itself: use jsonl, python, chat or acp (agent.protocol)",
    ]
    assert with_registry(root, one(checked, protocol="text")).cases[0].turns[0].expect


def test_what_the_model_lacks_is_told_with_the_line(root: Path) -> None:
    seen: list[SimulatedUser] = []

    def lack(user: SimulatedUser) -> str | None:
        seen.append(user)
        return "the simulated user needs the environment variable OUR_KEY"

    turn = f"{{simulate: {{{MODEL}, goal: x, gives_up: 2, key_env: OUR_KEY}}}}"
    found = problems(root, one("{user: hi}", turn, f"{{simulate: {{{SCRIPT}}}}}"), check_user=lack)
    where = "evals/s.yaml:7: conversation[1].simulate of case 'a'"
    assert found == [f"{where}: the simulated user needs the environment variable OUR_KEY"]
    assert [(user.key_env, user.gives_up_after) for user in seen] == [("OUR_KEY", 2)]


def test_lines_of_a_jsonl_file(root: Path) -> None:
    case = {
        "id": "a",
        "conversation": [{"user": "x", "expect": [{"answer": "y"}]}],
        "expect": [{"answer": "z"}],
    }
    broken = {**case, "id": "b", "conversation": [{"simulate": {"turns": 1, "script": [{"otherwise": "x"}]}}]}
    text = write_jsonl(root, [json.dumps(case), broken]).replace("agent.py}", "agent.py, protocol: jsonl}")
    assert problems(root, text)[-1].startswith(
        "evals/cases.jsonl:2: conversation[0].simulate of case 'b': key 'begins'"
    )
    suite = load(root, write_jsonl(root, [json.dumps(case)]))
    assert suite.cases[0].turns[0].expect[0].line == 1
