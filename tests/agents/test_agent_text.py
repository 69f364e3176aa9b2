"""Protocol `text`, with real programs."""

from __future__ import annotations

import pytest

from aegis.agents.base import MAX_ANSWER_BYTES
from aegis.agents.text import as_input
from aegis.sandbox.base import Sandbox
from aegis.suite.model import Agent
from support.process_sandbox import converse


def text(command: str, **env: str) -> Agent:
    return Agent(command=command, protocol="text", env=env)


def test_the_message_goes_in_and_the_answer_comes_out() -> None:
    result = converse(text("tr a-z A-Z"), "refund order 1042")
    assert (result.failure, result.timed_out) == (None, False)
    assert result.trace.answer == "REFUND ORDER 1042"
    assert result.trace.exit == "exit code 0"
    assert result.trace.turns[0].user == "refund order 1042"
    assert result.trace.duration_s >= result.trace.turns[0].duration_s >= 0


def test_several_messages_are_parted_by_an_empty_line_and_answered_once() -> None:
    asked: list[int] = []
    result = converse(text("cat"), "one\n", "two\nlines", "three", on_turn=asked.append)
    assert asked == [0, 1, 2]
    assert [turn.answer for turn in result.trace.turns] == ["", "", "one\n\ntwo\nlines\n\nthree"]


def test_each_message_ends_its_line() -> None:
    assert as_input(["a", "b\n"]) == b"a\n\nb\n"


def test_environment_and_files_reach_the_agent() -> None:
    result = converse(text("cat note; echo $MODEL", MODEL="m1"), "x", files={"note": "from a file\n"})
    assert result.trace.answer == "from a file\nm1"


def test_an_agent_that_ignores_its_input_may_answer() -> None:
    assert converse(text("echo ready"), "x" * 1_000_000).trace.answer == "ready"


def test_an_agent_that_writes_before_it_reads_is_no_deadlock() -> None:
    result = converse(text("head -c 2000000 /dev/zero | tr '\\0' y; cat >/dev/null"), "z" * 2_000_000)
    assert result.failure is None
    assert len(result.trace.answer) == 2_000_000


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        ("exit 3", "agent ended with exit code 3"),
        ("echo 'ValueError: no such order' >&2; exit 1", "exit code 1: ValueError: no such order"),
        ("kill -9 $$", "agent was killed by signal 9"),
        ("no-such-program", "exit code 127: "),
    ],
)
def test_a_bad_end_is_the_agents_failure_with_its_last_words(command: str, failure: str) -> None:
    result = converse(text(f"echo partial; {command}"), "x")
    assert result.failure is not None
    assert failure in result.failure
    assert "\n" not in result.failure
    assert (result.trace.answer, result.trace.stdout_tail) == ("", "partial\n")


def test_terminal_escapes_do_not_reach_the_failure() -> None:
    result = converse(text(r"printf '\033[2Jgone\007\n' >&2; exit 1"), "x")
    assert result.failure == "agent ended with exit code 1: [2Jgone"


def test_an_endless_output_is_cut_and_the_agent_ended() -> None:
    result = converse(text("yes"), "x")
    assert result.failure == "agent printed more than 8MiB"
    assert not result.timed_out
    assert len(result.trace.stdout_tail) <= 16 * 1024
    assert result.trace.answer == ""


def test_an_answer_at_the_bound_is_whole() -> None:
    result = converse(text(f"head -c {MAX_ANSWER_BYTES} /dev/zero | tr '\\0' y"), "x")
    assert result.failure is None
    assert len(result.trace.answer) == MAX_ANSWER_BYTES


def test_a_flood_on_standard_error_is_kept_to_its_end() -> None:
    result = converse(text("seq 1 200000 >&2; echo done"), "x")
    assert result.trace.answer == "done"
    assert result.trace.stderr_tail.endswith("199999\n200000\n")
    assert len(result.trace.stderr_tail) <= 16 * 1024


def test_bytes_that_are_not_utf_8_are_replaced_and_noted() -> None:
    result = converse(text(r"printf 'a\377b'"), "x")
    assert result.failure is None
    assert result.trace.answer == "a\ufffdb"
    assert "not UTF-8" in result.trace.stdout_tail


def test_a_real_replacement_character_is_not_noted() -> None:
    result = converse(text("cat"), "a\ufffdb")
    assert (result.trace.answer, result.trace.stdout_tail) == ("a\ufffdb", "")


def test_an_agent_that_never_ends_times_out_and_is_ended_with_its_children() -> None:
    left: list[bytes] = []

    async def look(sandbox: Sandbox) -> None:
        left.append((await sandbox.run(("/bin/sh", "-c", "kill -0 $(cat pids)"))).stderr)
        left.append(await sandbox.get_file("pids"))

    command = "(setsid sleep 5000 & echo $! > pids); echo thinking; echo slow >&2; sleep 5000"
    result = converse(text(command), "x", timeout_s=3, then=look)
    assert result.timed_out
    assert result.failure == "timed out: no complete answer within 3s"
    assert [turn.answer for turn in result.trace.turns] == [""]
    assert (result.trace.stdout_tail, result.trace.stderr_tail) == ("thinking\n", "slow\n")
    assert result.trace.exit is None
    assert left[1].strip().isdigit()
    assert b"o such process" in left[0]


def test_a_child_left_behind_holds_nothing_up() -> None:
    result = converse(text("sleep 5000 & echo done"), "x")
    assert (result.failure, result.trace.answer) == (None, "done")


def test_a_child_that_goes_on_writing_is_ended_too() -> None:
    result = converse(text("(while sleep 0.05; do echo more; done) & echo done"), "x")
    assert (result.failure, result.timed_out) == (None, False)
    assert result.trace.answer.startswith("done")
