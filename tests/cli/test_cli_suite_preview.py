"""`aegis suite preview`: what stress makes of a case."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from cli_project import Folder

SUITE = """\
suite: support
agent: {command: cat, protocol: jsonl}
network: {allow: [crm.example]}
trials: 3
cases:
  - id: refund
    input: I want a refund for order 1042, the mug arrived broken.
    expect: [{answer: {contains: refund}}, {request: {method: POST, host: crm.example, path: /refunds, count: 1}}]
    stress:
      - transform: shard-turns
        shards: [I want a refund., It is for order 1042., The mug arrived broken.]
      - bloated-tools
  - {id: strict, input: Hello there!, expect: [{answer: {equals: Hello}}, {budget: {steps: 4}}]}
  - {id: shy, input: Hello there!, stress: none, expect: [{answer: {contains: hello}}]}
"""


@pytest.fixture
def project(folder: Folder) -> Folder:
    folder.suite("support", SUITE)
    return folder


def shown(project: Folder, *args: str) -> list[str]:
    done = project("suite", "preview", *args)
    assert done.code == 0, done.stderr
    assert max((len(line) for line in done.stdout.splitlines()), default=0) <= 110
    return done.stdout.splitlines()


def document(project: Folder, *args: str) -> dict[str, Any]:
    done = project("suite", "preview", "--json", *args)
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_set_is_listed_with_what_was_done_and_what_is_not_run(project: Folder) -> None:
    lines = shown(project, "refund", "--stress", "production")
    assert lines[0].startswith("refund: ")
    assert " beside the case as written, " in lines[0]
    assert any(
        line.startswith("  deep-conversation.40 ") and "39 turns of other talk" in line for line in lines
    )
    assert any(line.startswith("  shard-turns ") for line in lines)
    assert any(line.startswith("  conflicting-instructions.conflict ") for line in lines)
    assert lines[-1] == "aegis suite preview refund --stress deep-conversation.40   shows one in full"
    strict = shown(project, "strict", "--stress", "production")
    assert "not run:" in strict
    assert len(lines) > len(strict[: strict.index("not run:")])


def test_refusals_have_their_reason(project: Folder) -> None:
    lines = "\n".join(shown(project, "strict", "--stress", "deep-conversation.40", "--stress", "shard-turns"))
    assert "0 variants beside the case as written, 3 trials in all" in lines
    assert "deep-conversation.40  rejected: the budget limits steps" in lines
    assert "shard-turns           does not apply: no shards are marked" in lines


def test_the_case_s_own_stress_is_the_default(project: Folder) -> None:
    found = document(project, "refund")
    assert [variant["variant"] for variant in found["variants"]] == ["shard-turns", "bloated-tools.8k"]
    assert (found["suite"], found["case"], found["trials"], found["refused"]) == ("support", "refund", 3, [])


def test_parameters_are_the_case_s_own(project: Folder) -> None:
    lines = shown(project, "refund", "--stress", "shard-turns")
    assert lines[0] == "refund (shard-turns)"
    assert [line.split(maxsplit=2)[2] for line in lines if line[:6].strip().isdigit()] == [
        "I want a refund.",
        "It is for order 1042.",
        "The mug arrived broken.",
    ]
    assert "the trial has 20 s more" in lines


def test_long_talk_is_shortened_in_the_middle(project: Folder) -> None:
    lines = shown(project, "refund", "--stress", "deep-conversation.40")
    numbered = [line for line in lines if line[:6].strip().isdigit()]
    assert len(numbered) == 6
    assert [line.split()[0] for line in numbered] == ["1", "2", "3", "38", "39", "40"]
    assert all(line[6] == "+" for line in numbered[:-1])
    assert numbered[-1] == "   40   I want a refund for order 1042, the mug arrived broken."
    assert any("… 34 more turns of " in line for line in lines)


def test_a_long_message_is_shortened_with_its_size(project: Folder) -> None:
    lines = "\n".join(shown(project, "refund", "--stress", "empty-and-huge.huge"))
    assert len(lines) < 6000
    assert "1,048,016 more characters; " in lines
    assert "no longer expected:\n  - answer: {contains: refund}" in lines
    assert "expected besides:" in lines
    [variant] = document(project, "refund", "--stress", "empty-and-huge.huge")["variants"]
    assert len(variant["turns"][0]["text"]) == 1024 * 1024


def test_rewrites_are_told_in_words(project: Folder) -> None:
    lines = "\n".join(shown(project, "refund", "--stress", "bloated-tools.32k"))
    assert "the gateway changes:\n  rewrite/grow on everything, always: Grows results to about" in lines
    assert "tokens: 32000" in lines


def test_added_expectations_are_told(project: Folder) -> None:
    lines = shown(project, "refund", "--stress", "tool-injection.note")
    start = lines.index("expected besides:")
    assert lines[start + 1].startswith("  - answer: {all: [{not: {contains: ")
    assert any(line.startswith("  - request: {host: ") for line in lines[start:])
    assert "no longer expected:" not in lines


@pytest.mark.parametrize(
    ("level", "mark"), [("zero-width", "\\u200"), ("bidi", "\\u202"), ("control", "\\x"), ("mojibake", "â")]
)
def test_nothing_reaches_the_terminal_that_it_would_obey(project: Folder, level: str, mark: str) -> None:
    project.suite(
        "odd", SUITE.replace("suite: support", "suite: odd").replace("the mug", "the “blue” mug’s handle, it")
    )
    done = project("suite", "preview", "refund", "-s", "odd", "--stress", f"malformed-input.{level}")
    assert done.code == 0, done.stderr
    assert {unicodedata.category(char) for char in done.stdout.replace("\n", "")}.isdisjoint(
        {"Cc", "Cf", "Cs", "Zl"}
    )
    assert mark in done.stdout or "does not apply" in done.stdout
    assert "    1 ~ " in done.stdout


@pytest.mark.parametrize(("level", "shown_as"), [("empty", "(nothing)"), ("blank", "(white space only)")])
def test_a_message_without_letters_is_told_in_words(project: Folder, level: str, shown_as: str) -> None:
    assert f"    1 ~ {shown_as}" in shown(project, "refund", "--stress", f"empty-and-huge.{level}")


def test_a_simulated_user_is_told_in_words(project: Folder) -> None:
    script = "{turns: 4, begins: hello, script: [{otherwise: go on}]}"
    text = SUITE.replace("input: Hello there!, stress: none", f"conversation: [{{simulate: {script}}}]")
    project.suite("support", text)
    lines = "\n".join(shown(project, "shy", "--stress", "bloated-tools.8k"))
    assert "a simulated user" in lines
    assert "at most 4 messages" in lines


def test_the_document_holds_everything(project: Folder) -> None:
    found = document(project, "refund", "--stress", "deep-conversation.40", "--stress", "malformed-input.5")
    deep, typos = found["variants"]
    assert [turn["how"] for turn in deep["turns"]] == ["added"] * 39 + ["written"]
    assert [turn["how"] for turn in typos["turns"]] == ["changed"]
    assert deep["added_time_s"] == 390
    assert (deep["added"], deep["dropped"], deep["rewrites"]) == ([], [], [])
    assert all(turn["tokens"] > 0 for turn in deep["turns"])
    conflict = document(project, "refund", "--stress", "conflicting-instructions.conflict")["variants"][0]
    assert conflict["rewrites"]
    assert list(conflict["added"][0]) == ["answer"]


def test_a_preview_shows_what_would_run(project: Folder) -> None:
    """The same variants, by name, as the plan of a run has."""
    listed = {entry["variant"] for entry in document(project, "strict", "--stress", "production")["variants"]}
    done = project("eval", "run", "--isolation=none", "--dry-run", "-k", "strict", "--stress", "production")
    assert done.code == 0, done.stderr
    assert listed
    assert all(f"({name})" in done.stdout or name in done.stdout for name in listed)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["refnd", "--stress", "production"], "has no case 'refnd' (did you mean 'refund'?)"),
        (
            ["refund", "--stress", "producton"],
            "--stress[0]: unknown transform 'producton' (did you mean 'production'?)",
        ),
        (
            ["refund", "--stress", "bloated-tools.9k"],
            "--stress[0]: bloated-tools has no level '9k' (levels: 8k, 32k)",
        ),
        (["refund", "--stress", "none"], "none stands alone"),
        (["strict"], "case 'strict' has no stress of its own"),
        (["shy"], "case 'shy' has no stress of its own"),
        (["refund", "-s", "nope"], "nope"),
        ([], "missing argument"),
    ],
)
def test_bad_input(project: Folder, args: list[str], message: str) -> None:
    done = project("suite", "preview", *args)
    assert done.code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_of_several_suites_one_must_be_named(project: Folder) -> None:
    project.suite("other", SUITE.replace("suite: support", "suite: other"))
    assert "name one: --suite NAME" in project("suite", "preview", "refund").stderr
    assert document(project, "refund", "-s", "other")["suite"] == "other"
