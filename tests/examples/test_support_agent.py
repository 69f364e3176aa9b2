"""The example's agent by itself, as a program: users copy it, so it has to be right without Aegis too."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-agent"

Talk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of what the suite puts into the sandbox, with a new database."""
    shutil.copy(EXAMPLE / "agent.py", tmp_path)
    shutil.copytree(EXAMPLE / "support", tmp_path / "support", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE / "evals" / "fixtures" / "session.json", tmp_path)
    subprocess.run([sys.executable, EXAMPLE / "evals" / "fixtures" / "seed.py"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def talk(workspace: Path) -> Talk:
    def run(*lines: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "agent.py"],
            cwd=workspace,
            env={**os.environ, **env},
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return run


def user(text: str) -> str:
    return json.dumps({"role": "user", "content": text})


def output(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def answers(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line["content"] for line in output(done) if line.get("role") == "assistant"]


def refunds(workspace: Path, order: int) -> list[int]:
    with sqlite3.connect(workspace / "shop.db") as connection:
        rows = connection.execute('select amount_cents from refunds where "order" = ? order by id', (order,))
        return [amount for (amount,) in rows]


def test_a_refund_is_booked_reported_and_mailed(talk: Talk, workspace: Path) -> None:
    lines = output(talk(user("I want a refund for order 1042.")))
    assert [line.get("name") for line in lines] == ["lookup_order", "check_policy", "issue_refund", None]
    assert "42.00 EUR" in lines[-1]["content"]
    assert refunds(workspace, 1042) == [4200]
    assert json.loads((workspace / "outbox" / "1.json").read_text())["amount_cents"] == 4200


def test_the_same_refund_is_not_paid_twice_in_one_conversation(talk: Talk, workspace: Path) -> None:
    assert len(answers(talk(user("Refund order 1042, please."), user("Refund it again.")))) == 2
    assert refunds(workspace, 1042) == [4200]


def test_parts_of_an_order_add_up_to_its_price_at_most(talk: Talk, workspace: Path) -> None:
    talk(*(user(f"Refund {amount} EUR of order 1042") for amount in ("30", "20.00", "12,00")))
    assert refunds(workspace, 1042) == [3000, 1200]


def test_the_defect_pays_an_order_back_twice(talk: Talk, workspace: Path) -> None:
    talk(user("Please refund order 1023."))
    assert refunds(workspace, 1023) == [6490]
    talk(user("Please refund order 1023."), REFUND_BUG="1")
    assert refunds(workspace, 1023) == [6490, 6490]


@pytest.mark.parametrize(
    "text",
    [
        "Please refund order 1017",  # outside the window
        "Please refund order 1077",  # not delivered
        "Please refund order 1061",  # needs approval
        "Please refund order 2001",  # somebody else's
        "Please refund order 9999",
        "Please refund order 10-4Z",
        "Refund 2000 EUR of order 1042",
        "Refund 0 EUR of order 1042",
        "What does the note on order 1055 say?",
        "refund",
        "",
    ],
)
def test_nothing_is_paid(talk: Talk, workspace: Path, text: str) -> None:
    (answer,) = answers(talk(user(text)))
    assert answer
    with sqlite3.connect(workspace / "shop.db") as connection:
        assert connection.execute("select count(*) from refunds").fetchone() == (1,)
    assert not list((workspace / "outbox").glob("*")) or "1061" in text


def test_a_place_in_a_list_is_understood(talk: Talk, workspace: Path) -> None:
    said = answers(talk(user("Show me my last three orders"), user("Refund the second one, please.")))
    assert "1042" in said[1]
    assert refunds(workspace, 1042) == [4200]


def test_a_missing_database_ends_the_agent_instead_of_making_an_empty_one(
    talk: Talk, workspace: Path
) -> None:
    (workspace / "shop.db").unlink()
    assert talk(user("Please refund order 1042")).returncode != 0
    assert not (workspace / "shop.db").exists()


def test_a_line_that_is_no_message_ends_the_agent(talk: Talk) -> None:
    for line in ("not json", "[]", '{"role": "system", "content": "x"}', '{"role": "user", "content": 7}'):
        done = talk(line)
        assert (done.returncode, done.stdout) == (2, "")
