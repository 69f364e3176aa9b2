"""The leaky example as plain processes: a part of it in a shared folder and in fresh ones."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e_command import AEGIS, CHECKOUT, DEADLINE_S, Aegis, environment, read_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * DEADLINE_S)]

AUDIT = ("audit", "leaks", "--suite", "leaky-suite", "--isolation=none", "--seed", "1", "--json", "out.json")
PAIRS = {
    "append-to-note": ("masked", "new-note", "/workspace/notes"),
    "book-hours": ("masked", "new-project", "/workspace/desk.db"),
    "convert-dollars": ("masked", "load-rates", "/workspace/.cache"),
    "find-document": ("masked", "index-documents", "desk.searchd"),
    "letter": ("masked", "remember-name", "/workspace/.config"),
    "first-invoice": ("broken", "invoice-to-acme", "/workspace/desk.db"),
}
"""Case → what happens to it, by whom, and a part of the name of what carries it."""
CLEANED = {"append-to-note", "book-hours", "first-invoice"}


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A copy of the example project."""
    copied = tmp_path / "leaky-suite"
    source = CHECKOUT / "examples" / "leaky-suite"
    shutil.copytree(source, copied, ignore=shutil.ignore_patterns(".aegis", "__pycache__"))
    return copied


def found(document: dict[str, Any]) -> dict[str, Any]:
    return {entry["case"]: entry for entry in document["cases"] if entry["dependent"]}


def check(document: dict[str, Any], cases: set[str]) -> None:
    entries = found(document)
    assert entries.keys() == cases
    for case, entry in entries.items():
        effect, culprit, carrier = PAIRS[case]
        assert (entry["effect"], entry["culprits"], entry["minimal"]) == (effect, [culprit], True)
        (confirmed,) = [each for each in entry["carriers"] if each["confirmed"]]
        assert carrier in confirmed["name"], confirmed
        assert entry["cleaned_by_reset"] is (case in CLEANED)


def test_some_of_its_cases(aegis: Aegis, leaky: Path) -> None:
    ran = aegis(*AUDIT, "-k", "books or documents", cwd=leaky)
    assert ran.code == 1, ran
    document = read_json(leaky / "out.json")
    check(document, {"book-hours", "find-document", "first-invoice"})
    tables = {
        case: [row["table"] for each in entry["carriers"] for row in each["rows"]]
        for case, entry in found(document).items()
    }
    assert (tables["book-hours"], tables["first-invoice"]) == (["hours", "projects"], ["invoices"])
    assert "index-documents → find-document: passes only after it" in ran.stdout
    assert ran.last_line == document["result"]


def test_what_its_reset_steps_forget_is_found_as_well(aegis: Aegis, leaky: Path) -> None:
    ran = aegis(*AUDIT, "-k", "letters or notes", "--as", "reset", cwd=leaky)
    assert ran.code == 1, ran
    document = read_json(leaky / "out.json")
    assert found(document).keys() == {"letter"}
    assert "with reset steps" in ran.last_line


@pytest.mark.slow
def test_all_of_it_shows_94_and_is_81(aegis: Aegis, leaky: Path) -> None:
    ran = aegis(*AUDIT, cwd=leaky)
    assert ran.code == 1, ran
    document = read_json(leaky / "out.json")
    check(document, set(PAIRS))
    assert (document["shown"], document["true"]) == (30 / 32, 26 / 32)
    assert "leaky-suite: 94 % shown in one machine, 81 % true." in ran.stdout
    assert ran.last_line.startswith("RESULT: LEAKS exit 1: 94 % shown, 81 % true: 6 of 32 cases")


def test_ctrl_c_leaves_nothing_behind(leaky: Path) -> None:
    process = subprocess.Popen(
        [AEGIS, *AUDIT, "-k", "documents"],
        cwd=leaky,
        env=environment(TMPDIR=str(leaky)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "one after another" in line:
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, said
    assert rest.rstrip().endswith("RESULT: INCONCLUSIVE exit 130: interrupted")
    assert out == ""
    assert not (leaky / "out.json").exists()
    assert list(leaky.glob("w-*")) == []
