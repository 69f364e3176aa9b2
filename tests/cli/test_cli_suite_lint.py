"""`aegis suite lint`: what of production a suite covers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_project import Folder

from aegis.results import Ledger
from aegis.trace import Body, Exchange, ToolCall, Trace, TurnRecord
from support.run_records import RUN_ID, result, run_record

CLEAN = """\
suite: clean
agent: {command: cat, protocol: jsonl}
network: {allow: [crm.example]}
cases:
  - {id: refund, input: I want a refund for order 1042 please., expect: [{answer: {contains: refund}}]}
  - {id: status, input: Where is my order 1077 now?, expect: [{answer: {contains: shipped}}]}
  - {id: hello, input: Hello there!, expect: [{answer: {matches: "(?i)hello"}}]}
"""

GAPS = [
    "turns",
    "instruction-conflict",
    "malformed-input",
    "faults-time",
    "faults-connection",
    "faults-partial",
    "faults-status",
    "faults-auth",
    "faults-semantic",
    "permissions",
    "negative",
    "trials",
]
"""Of a suite of clean cases. Of the results of tools nothing is known as long as nothing was run."""

FULL = """\
suite: full
agent: {command: cat, protocol: jsonl, secrets: [{CRM_TOKEN: crm.example}]}
network: {allow: [crm.example, auth.example]}
trials: 3
faults: [flaky-production]
cases:
  - id: everything
    input: I want a refund for order 1042 please.
    stress: [deep-conversation.40, bloated-tools.8k, conflicting-instructions, malformed-input.html]
    faults: [{inject: token-expired, match: {host: crm.example}, on: 2}]
    expect:
      - request: {method: POST, host: crm.example, count: 0}
      - answer: {not: {contains: sorry}}
  - {id: calm, input: Hello there!, stress: none, faults: none, expect: [{answer: {contains: hello}}]}
"""


def table(folder: Folder, *args: str) -> dict[str, Any]:
    """The only suite's table."""
    done = folder("suite", "lint", "--json", *args)
    assert done.code == 0, done.stderr
    [found] = json.loads(done.stdout)["suites"]
    rows = {row["topic"]: row for row in found["rows"]}
    assert found["gaps"] == [topic for topic, row in rows.items() if row["state"] == "gap"]
    assert all(bool(row["missing"]) == (row["state"] != "covered") for row in rows.values())
    return {**found, "rows": rows}


def store(folder: Folder, trace: Trace, *, suite: str = "clean", case: str = "refund") -> None:
    """A run of one trial with this trace."""
    with Ledger(folder.path / ".aegis") as ledger:
        ledger.create_run(run_record(suite=suite), [(case, "baseline", 1)])
        epoch = ledger.begin_attempt(RUN_ID, case, "baseline", 1)
        digest = ledger.blobs.put(json.dumps(trace.to_json()).encode())
        key = (case, "baseline", 1, epoch)
        ledger.finish_attempt(RUN_ID, *key, outcome="passed", result=result(trace=digest), final=True)


def trace(*exchanges: Exchange, results: tuple[Any, ...] = ()) -> Trace:
    calls = tuple(ToolCall("lookup", {}, found) for found in results)
    return Trace((TurnRecord("Hi", "Done.", 1.0),), tool_calls=calls, recorded=True, exchanges=exchanges)


def answered(
    host: str, body: Body, *, method: str = "GET", path: str = "/orders", status: int = 200
) -> Exchange:
    return Exchange(
        1, "http", "https", host, 443, method=method, path=path, status=status, response_body=body
    )


ROWS = json.dumps([{"order": number, "total": 12.5, "status": "shipped"} for number in range(900)])


def test_three_clean_cases_have_gaps(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    found = table(folder)
    assert found["gaps"] == GAPS
    assert found["rows"]["tool-results"]["state"] == "unknown"
    assert "no run of this suite is recorded here" in found["rows"]["tool-results"]["has"]
    assert found["rows"]["turns"]["has"] == "the longest has 1 turn (refund)"
    assert found["rows"]["trials"]["has"] == "3 cases with fewer, such as refund with 1 trial"


def test_what_stress_and_profiles_would_add_stands_beside_the_gaps(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    found = table(folder)
    rows = found["rows"]
    assert rows["turns"]["adds"] == "deep-conversation.40 for 3 cases"
    assert rows["tool-results"]["adds"] == "bloated-tools.8k for 3 cases"
    assert rows["instruction-conflict"]["adds"] == "conflicting-instructions.conflict for 3 cases"
    assert "malformed-input.html for 3 cases" in rows["malformed-input"]["adds"]
    assert "tool-injection.note for" in rows["permissions"]["adds"]
    assert "--faults flaky-production" in rows["faults-status"]["adds"]
    assert "--faults token-expiry" in rows["faults-auth"]["adds"]
    assert found["trials"] == 3
    assert found["stressed_trials"] > 3 * 10


def test_another_stress_than_production_can_be_asked_about(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    found = table(folder, "--stress", "bloated-tools.32k")
    assert found["rows"]["tool-results"]["adds"] == "bloated-tools.32k for 3 cases"
    assert found["rows"]["turns"]["adds"] == ""
    assert found["stressed_trials"] == 6


def test_a_suite_that_has_everything_has_no_gaps(folder: Folder) -> None:
    folder.suite("full", FULL)
    found = table(folder, "--fail-on", "gap")
    assert found["gaps"] == []
    assert {row["state"] for row in found["rows"].values()} == {"covered"}
    assert found["rows"]["turns"]["has"] == "40 turns in everything (deep-conversation.40)"
    assert found["rows"]["tool-results"]["cases"] == ["everything"]
    assert found["rows"]["faults-auth"]["has"] == "token-expired in everything"
    assert found["rows"]["trials"]["has"] == "3 trials at least"


def test_a_gap_fails_when_it_is_asked_to(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    assert folder("suite", "lint").code == 0
    assert folder("suite", "lint", "--fail-on", "gap").code == 1
    assert folder("suite", "lint", "--fail-on", "gap", "--json").code == 1
    assert folder("suite", "lint", "--fail-on", "unknown").code == 2


def test_what_is_not_known_is_no_gap(folder: Folder) -> None:
    """A suite that covers all but the results of tools, of which no run tells."""
    folder.suite("full", FULL.replace("bloated-tools.8k, ", ""))
    found = table(folder, "--fail-on", "gap")
    assert [row["topic"] for row in found["rows"].values() if row["state"] != "covered"] == ["tool-results"]


def test_the_table_for_people(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    folder.suite("full", FULL)
    done = folder("suite", "lint")
    assert done.code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("clean: 3 cases, 3 trials; ")
    assert lines[0].endswith(" with --stress production")
    assert "  GAP malformed input: none" in lines
    assert "        would add: deep-conversation.40 for 3 cases" in lines
    assert any(line.startswith("  ?   a tool result of 8,000 tokens or more: not known") for line in lines)
    assert "12 gaps, 1 not known" in lines
    assert lines[-1] == "no gaps"
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (trace(results=(json.loads(ROWS),)), "covered"),
        (trace(results=(ROWS,)), "covered"),
        (trace(answered("crm.example", Body(len(ROWS), text=ROWS))), "covered"),
        (trace(results=(json.loads(ROWS)[:20],)), "gap"),
        (trace(answered("crm.example", Body(len(ROWS), text=ROWS), status=500)), "unknown"),
        (trace(answered("api.openai.com", Body(len(ROWS), text=ROWS))), "unknown"),
        (
            trace(
                answered(
                    "llm.example", Body(len(ROWS), text=ROWS), method="POST", path="/v1/chat/completions?a=b"
                )
            ),
            "unknown",
        ),
        (trace(), "unknown"),
    ],
    ids=["result", "text", "answer", "small", "error", "provider", "model", "nothing"],
)
def test_recorded_runs_say_how_large_results_are(folder: Folder, shown: Trace, state: str) -> None:
    folder.suite("clean", CLEAN)
    store(folder, shown)
    row = table(folder)["rows"]["tool-results"]
    assert row["state"] == state
    expected = {
        "covered": f"tokens in refund, recorded in run {RUN_ID}",
        "gap": "the largest recorded one has ",
        "unknown": "not known: no run shows a result of a tool",
    }
    assert expected[state] in row["has"]


def test_a_result_that_was_too_long_for_the_trace_is_read_where_it_lies(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    with Ledger(folder.path / ".aegis") as ledger:
        digest = ledger.blobs.put(ROWS.encode())
        binary = ledger.blobs.put(b"\xff" * 100_000)
    store(
        folder,
        trace(
            answered("crm.example", Body(100_000, blob=binary)),
            answered("crm.example", Body(len(ROWS), blob=digest)),
        ),
    )
    assert table(folder)["rows"]["tool-results"]["state"] == "covered"


@pytest.mark.parametrize(("suite", "case"), [("other", "refund"), ("clean", "gone")])
def test_runs_of_others_tell_nothing(folder: Folder, suite: str, case: str) -> None:
    folder.suite("clean", CLEAN)
    store(folder, trace(results=(ROWS,)), suite=suite, case=case)
    assert table(folder)["rows"]["tool-results"]["state"] == "unknown"


def one(*, input: str = "hello", expect: str = "answer: x", more: str = "") -> str:
    head = "suite: s\nagent: {command: cat, protocol: jsonl}\ncases:\n  - id: a\n"
    return f"{head}    input: {input}\n{more}    expect: [{{{expect}}}]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('" \\t\\n "', "a blank message"),
        ('"Ich mÃ¶chte mein Geld zurÃ¼ck"', "mojibake"),
        ('"re\\u200bfund"', "invisible characters"),
        ('"re\\efund"', "invisible characters"),
        ('"<p>refund</p>"', "pasted HTML"),
        ('"' + "a" * 100_000 + '"', "a huge message"),
    ],
)
def test_malformed_messages_are_seen(folder: Folder, text: str, why: str) -> None:
    folder.suite("s", one(input=text))
    assert table(folder)["rows"]["malformed-input"]["has"] == f"{why} in a"


@pytest.mark.parametrize(
    "text", ["Ich möchte bitte 5 < 6 Euro zurück.", '"a\\nb\\tc"', "👩‍💻 merci", "Ça va ? Âme"]
)
def test_clean_messages_are_not_called_malformed(folder: Folder, text: str) -> None:
    folder.suite("s", one(input=text))
    assert table(folder)["rows"]["malformed-input"]["state"] == "gap"


@pytest.mark.parametrize(
    ("expect", "permissions", "negative"),
    [
        ("request: {host: a.example, count: 0}", True, True),
        ("request: {host: a.example, denied: true, count: {max: 0}}", True, True),
        ("request: {host: a.example, count: {min: 1, max: 2}}", False, False),
        ("request: {host: a.example}", False, False),
        ("tool_calls: {exclude: [pay]}", True, True),
        ("tool_calls: {exact: []}", True, True),
        ("tool_calls: {include: [pay]}", False, False),
        ("file: {path: a, exists: false}", False, True),
        ("file: {path: a}", False, False),
        ("answer: {all: [{contains: a}, {not: {contains: b}}]}", False, True),
        ('answer: {json: {"not": 1}}', False, False),
        ("command: {run: ls, stdout: {not: {contains: b}}}", False, True),
        ("sql: {database: 'sqlite:a.db', query: select 1, rows: 0}", False, True),
        ("sql: {database: 'sqlite:a.db', query: select 1, equals: 0}", False, False),
    ],
)
def test_what_must_not_be(folder: Folder, expect: str, permissions: bool, negative: bool) -> None:
    folder.suite("s", one(expect=expect))
    rows = table(folder)["rows"]
    assert (rows["permissions"]["state"] == "covered") == permissions
    assert (rows["negative"]["state"] == "covered") == negative


def test_what_is_expected_inside_a_turn_counts(folder: Folder) -> None:
    turn = "{user: hello, expect: [{tool_calls: {exclude: [pay]}}]}"
    folder.suite("s", one().replace("    input: hello\n", f"    conversation: [{turn}]\n"))
    assert table(folder)["rows"]["permissions"]["cases"] == ["a"]


def test_an_author_may_say_what_a_file_does_not_show(folder: Folder) -> None:
    folder.suite("s", one(more="    tags: [instruction-conflict, malformed-input]\n"))
    rows = table(folder)["rows"]
    assert rows["instruction-conflict"]["has"] == "tag instruction-conflict in a"
    assert rows["malformed-input"]["state"] == "covered"


def test_turns_of_a_simulated_user_count_at_most(folder: Folder) -> None:
    script = "{turns: 45, begins: hello, script: [{otherwise: go on}]}"
    folder.suite("s", one().replace("    input: hello\n", f"    conversation: [{{simulate: {script}}}]\n"))
    done = folder("suite", "lint", "--json")
    rows = (
        {row["topic"]: row for row in json.loads(done.stdout)["suites"][0]["rows"]} if done.code == 0 else {}
    )
    assert rows, done.stderr
    assert rows["turns"]["has"] == "45 turns in a"


def test_what_a_case_refuses_is_not_counted(folder: Folder) -> None:
    folder.suite("s", "stress: production\n" + one(more="    stress: none\n"))
    found = table(folder)
    assert "turns" in found["gaps"]
    assert found["rows"]["turns"]["adds"] == ""
    assert found["stressed_trials"] == 1


def test_a_suite_with_problems_is_told_as_by_check(folder: Folder) -> None:
    folder.suite("bad", CLEAN.replace("suite: clean", "suite: bad").replace("command", "comand"))
    done = folder("suite", "lint")
    assert done.code == 2
    assert "did you mean 'command'" in done.stderr
    assert done.stdout == ""


def test_an_unknown_stress_or_suite_is_a_wrong_command_line(folder: Folder) -> None:
    folder.suite("clean", CLEAN)
    done = folder("suite", "lint", "--stress", "producton")
    assert (done.code, "did you mean 'production'" in done.stderr) == (2, True)
    assert folder("suite", "lint", "nope").code == 2
