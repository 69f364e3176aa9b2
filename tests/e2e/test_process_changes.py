"""`aegis trial diff` as a user meets it, without machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_changes import AGENT, DIFF, LINE, SUITE
from e2e_command import Aegis, read_json

pytestmark = pytest.mark.e2e


@pytest.fixture
def project(aegis: Aegis, write_suite: Callable[..., Path]) -> Path:
    """After a run."""
    folder = write_suite("changes", SUITE)
    (folder / "agent.py").write_text(AGENT)
    ran = aegis(*["eval", "run", "--isolation=none", "--json", "out.json", "--junit-xml", "out.xml"])
    assert ran.code == 1, ran
    return folder


def test_a_failed_trial_is_told_and_looked_at(aegis: Aegis, project: Path) -> None:
    shown = aegis("eval", "show", "latest")
    run = read_json(project / "out.json")["run_id"]
    assert f"refund/1 {LINE}\nall of it: aegis trial diff {run}/refund/1\n" in shown.stdout, shown
    assert LINE in (project / "out.xml").read_text()
    assert f"  {LINE}\n" in aegis("eval", "show", "latest", "--trial", "refund/1").stdout
    ran = aegis("trial", "diff", "latest/refund/1")
    assert (ran.code, ran.stdout, ran.stderr) == (0, DIFF, ""), ran


def test_parts_of_it(aegis: Aegis, project: Path) -> None:
    stat = aegis("trial", "diff", "latest/refund/1", "--stat")
    assert stat.stdout == DIFF.partition("\n\n")[0] + "\n", stat
    everything = aegis("trial", "diff", "latest/refund/1", "--all").stdout
    assert all(f"  + /srv/db/{number} " in everything for number in range(12))
    assert "1.0 KiB, binary" in everything
    some = aegis(
        "trial", "diff", "latest/refund/1", "--path", "orders.*", "--path", "/srv/*", "--stat"
    ).stdout
    assert "13 files of them match orders.* /srv/*" in some
    assert some.count("/srv/db/") == 12
    assert "notes.txt" not in some


def test_as_json(aegis: Aegis, project: Path) -> None:
    ran = aegis("trial", "diff", "latest/refund/1", "--json", "--path", "/workspace/*.txt")
    told = json.loads(ran.stdout)
    (entry,) = [each for each in read_json(project / "out.json")["trials"] if each["case"] == "refund"]
    assert told["changes"] == entry["changes"]
    assert [(each["path"], each["how"], each["text"]) for each in told["items"]] == [
        ("/workspace/notes.txt", "deleted", ["call ann\n", None]),
        ("/workspace/orders.txt", "changed", ["one\ntwo\nthree\n", "one\n2\nthree\n"]),
    ]


def test_a_trial_that_changed_nothing(aegis: Aegis, project: Path) -> None:
    ran = aegis("trial", "diff", "latest/calm/1")
    assert (ran.code, ran.stdout) == (0, "calm/1: passed\nnothing was changed\n"), ran


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "is not RUN/CASE/NUMBER"),
        (["latest/refund/7"], "has no trial 'refund/7'; refund has trials 1 to 1"),
        (["latest/refund/1", "--variant", "hard"], "no variant 'hard'"),
        (["2019/refund/1"], "no run"),
        (["latest/refund/1", "--stat", "--all"], "exclude each other"),
    ],
)
def test_what_is_not_there(aegis: Aegis, project: Path, arguments: list[str], words: str) -> None:
    ran = aegis("trial", "diff", *arguments)
    assert ran.code == 2, ran
    assert words in ran.stderr, ran
    assert "fix:" in ran.stderr or "--stat" in arguments
    assert ran.stdout == ""


def test_without_any_run(aegis: Aegis, write_suite: Callable[..., Path]) -> None:
    write_suite("changes", SUITE)
    ran = aegis("trial", "diff", "latest/refund/1")
    assert (ran.code, ran.stderr.startswith("error: there are no runs in ")) == (2, True), ran
