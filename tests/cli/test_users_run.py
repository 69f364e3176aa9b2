"""Whole runs with simulated users, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_project import Folder, outcomes

from aegis.results.document import validate
from support import wire
from support.recorder import Recorder, Reply, Request

pytest.importorskip("openai")

AGENT = """
import json, sys
for line in sys.stdin:
    said = json.loads(line)["content"]
    answer = "Which order?" if "refund" in said else "Refunded." if "1042" in said else "Hello."
    print(json.dumps({"role": "assistant", "content": answer}), flush=True)
"""

SUITE = """\
suite: people
agent: {command: python3 agent.py, protocol: jsonl}
sandbox: {files: {agent.py: /workspace/agent.py}}
cases:
  - id: played
    conversation:
      - user: Hi
        expect: [{answer: Hello}]
      - simulate:
          goal: A refund for order 1042
          turns: 6
          model: gpt-5-mini
          base_url: URL/v1
          budget: {tokens: 50000}
        expect: [{answer: {equals: Refunded.}}]
    expect: [{answer: Refunded}]
  - id: by-rules
    conversation:
      - simulate:
          script: [{when: Which, say: Order 1042}]
          begins: I want a refund
          done: Refunded
          turns: 3
      - user: Thanks
        expect: [{answer: Goodbye}]
    expect: [{answer: Hello}]
"""


def person(request: Request) -> Reply:
    """Asks for its refund, tells its order, and is content."""
    question = json.loads(request.body)["messages"][1]["content"]
    said = {"reason": "so", "status": "continue", "message": "I want a refund."}
    if "Refunded." in question:
        said = {"reason": "It is refunded.", "status": "goal_reached", "message": ""}
    elif "Which order?" in question:
        said["message"] = "Order 1042."
    return wire.plain(wire.chat(json.dumps(said)))


def write(folder: Folder, url: str) -> None:
    folder.suite("people", SUITE.replace("URL", url))
    (Path.cwd() / "agent.py").write_text(AGENT)


def test_a_run_and_the_same_run_again(folder: Folder) -> None:
    with Recorder(person) as recorder:
        write(folder, recorder.url)
        first = folder.json("--seed", "1")
        asked = len(recorder.exchanges)
        again = folder.json("--seed", "1")
        assert len(recorder.exchanges) == asked == 3
        shown = folder("trace", "show", f"{first['run_id']}/played/1").stdout
    validate(first)
    assert outcomes(first) == {"played": ["passed"], "by-rules": ["failed"]}
    played, by_rules = first["trials"]
    assert [score["reason"] for score in played["scores"]] == [
        'the answer does contain "Refunded"',
        'turn 1: the answer does contain "Hello"',
        'turns 2–3: the answer does equal "Refunded."',
    ]
    assert by_rules["reason"] == 'answer: turn 3: expected the answer to contain "Goodbye", found "Hello."'
    assert (played["turns"], by_rules["turns"]) == (3, 3)
    assert played["usage"]["model_calls"] == 0
    assert first["simulator"] == {
        "model_calls": 3,
        "input_tokens": 3000,
        "output_tokens": 300,
        "usd": pytest.approx(0.001215),
    }
    assert again["simulator"] == {"model_calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": 0}
    assert [trial["answer"] for trial in again["trials"]] == [trial["answer"] for trial in first["trials"]]
    assert "simulated" in shown
    assert "the user then ended: goal reached: It is refunded." in shown


def test_what_would_run_is_shown_with_its_users(folder: Folder) -> None:
    write(folder, "http://127.0.0.1:9")
    shown = folder.run("--dry-run").stdout
    assert (
        "simulated user: up to 6 messages, by the model gpt-5-mini (at most 50,000 tokens a trial)" in shown
    )
    assert "simulated user: up to 3 messages, by a script of 1 rule" in shown


def test_without_a_key_nothing_starts(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write(folder, "")
    path = folder.path / "evals" / "people.yaml"
    path.write_text(path.read_text().replace("          base_url: /v1\n", ""))
    for ran in (folder.run(), folder.run("--dry-run"), folder("suite", "check")):
        assert ran.code == 2
        expected = (
            "evals/people.yaml:9: conversation[1].simulate of case 'played': the simulated user needs the"
        )
        assert f"{expected} environment variable OPENAI_API_KEY for the model 'gpt-5-mini'" in ran.stderr


def test_a_user_that_leaves_its_script_is_an_error_of_the_trial(folder: Folder) -> None:
    said = json.dumps({"reason": "so", "status": "continue", "message": "It is order 99."})
    with Recorder(lambda request: wire.plain(wire.chat(said))) as recorder:
        write(folder, recorder.url)
        document = folder.json("-k", "played", "--retries", "0")
    [trial] = document["trials"]
    assert trial["outcome"] == "error"
    assert "it left its script, twice: it tells '99', which the person does not know" in trial["reason"]
    assert document["verdict"] == "INCONCLUSIVE"
    assert document["simulator"]["model_calls"] == 2
    assert trial["answer"] == "Hello."
