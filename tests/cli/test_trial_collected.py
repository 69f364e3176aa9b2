"""`collect` of a suite, from a run to `aegis trial collected`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_project import Folder

from aegis.results import document as documents

SUITE = """\
suite: keeping
agent:
  command: "mkdir -p out/deep; tr -d '\\n' > out/answer.txt; echo log > out/deep/1.log; echo done; test ! -e fail"
collect: [out/**/*.log, missing.txt]
cases:
  - {id: kept, input: hello, expect: [{answer: done}], collect: [out/answer.txt]}
  - {id: failing, input: hello, expect: [{answer: done}], world: {run: [touch fail]}}
  - {id: none, input: hello, expect: [{answer: done}, {command: {run: "rm -r out"}}]}
"""


@pytest.fixture
def ran(project: Folder) -> Folder:
    project.suite("keeping", SUITE)
    documents.validate(project.json("--suite", "keeping"))
    return project


def test_files_are_in_the_document(ran: Folder) -> None:
    document = json.loads((ran.path / "out.json").read_text())
    trials = {trial["case"]: trial for trial in document["trials"]}
    assert [trials[case]["outcome"] for case in ("kept", "failing", "none")] == ["passed", "failed", "passed"]
    assert [(file["path"], file["bytes"]) for file in trials["kept"]["collected"]] == [
        ("/workspace/out/answer.txt", 5),
        ("/workspace/out/deep/1.log", 4),
    ]
    for case in ("failing", "none"):
        assert [file["path"] for file in trials[case]["collected"]] == ["/workspace/out/deep/1.log"]
        assert trials[case]["not_collected"] == [
            {"path": "/workspace/missing.txt", "why": "nothing is there"}
        ]


def test_they_are_listed(ran: Folder) -> None:
    listed = ran("trial", "collected", "latest/kept/1")
    assert (listed.code, listed.stdout.splitlines()) == (
        0,
        [
            "           5  /workspace/out/answer.txt",
            "           4  /workspace/out/deep/1.log",
            "    left out  /workspace/missing.txt: nothing is there",
            "2 files kept, 9 bytes",
        ],
    )
    document = json.loads(ran("trial", "collected", "latest/kept/1", "--json").stdout)
    assert (document["case"], len(document["collected"]), document["not_collected"][0]["path"]) == (
        *("kept", 2),
        "/workspace/missing.txt",
    )


def test_they_are_written_to_a_folder(ran: Folder, tmp_path: Path) -> None:
    place = tmp_path / "new" / "out"
    written = ran("trial", "collected", "latest/kept/1", "--to", str(place))
    assert written.code == 0
    assert written.stdout.endswith(f"2 files written below {place}, 9 bytes\n")
    assert (place / "workspace/out/answer.txt").read_text() == "hello"
    again = ran("trial", "collected", "latest/kept/1", "--to", str(place))
    assert again.code == 2
    assert "there already" in again.stderr
    (place / "workspace/out/answer.txt").write_text("mine")
    assert ran("trial", "collected", "latest/kept/1", "--to", str(place), "--force").code == 0
    assert (place / "workspace/out/answer.txt").read_text() == "hello"


def test_wrong_calls_are_told(ran: Folder) -> None:
    for arguments, words in (
        (("latest/kept/1", "--force"), "--force is about files that are written"),
        (("latest/nothing/1",), "nothing"),
        (("kept",), "is not RUN/CASE/NUMBER"),
    ):
        wrong = ran("trial", "collected", *arguments)
        assert (wrong.code, wrong.stdout) == (2, "")
        assert words in wrong.stderr


def test_a_trial_that_kept_nothing(project: Folder) -> None:
    project.suite(
        "echo", "suite: echo\nagent: {command: cat}\ncases:\n  - {id: a, input: x, expect: [{answer: x}]}\n"
    )
    project.run("--suite", "echo")
    listed = project("trial", "collected", "latest/a/1")
    assert listed.stdout == "no files were kept with this trial (collect in the suite names them)\n"


def test_a_clock_without_machines_is_refused_before_anything_starts(project: Folder) -> None:
    text = SUITE.replace("world: {run: [touch fail]}", "world: {clock: 2028-02-29}")
    project.suite("keeping", text)
    refused = project.run("--suite", "keeping")
    assert (refused.code, refused.stdout) == (2, "")
    told = "world.clock needs machines: --isolation=none has no clock but this host's (cases: failing)"
    assert told in refused.stderr
    dry = project.run("--suite", "keeping", "--dry-run").stdout
    assert "clock: 2028-02-29T00:00:00+00:00, zone UTC, which NEEDS MACHINES: the run would not start" in dry
    assert project("eval", "list").stdout.count("keeping") == 0
    assert project.run("--suite", "keeping", "-k", "kept").code == 0
