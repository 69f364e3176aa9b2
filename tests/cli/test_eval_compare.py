"""`aegis eval compare` and `aegis.eval.compare`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cli_project import Folder
from compared_project import Runs

import aegis
from aegis.errors import UsageError
from aegis.report.compared import lines
from aegis.report.text import columns
from aegis.results import Ledger
from aegis.results.comparisons import validate
from support.compared_runs import Rates, behaviour

BASE, HEAD = "20261120-090000-b4se", "20261123-101500-ab12"
BEFORE = {"refund": (20, 0), "cancel": (20, 0), "lookup": (17, 3), "gone": (20, 0)}
NOW = {"refund": (1, 4), "cancel": (5, 0), "lookup": (4, 1), "added": (3, 0)}


@pytest.fixture
def runs(folder: Folder) -> Runs:
    return Runs(folder.path)


@pytest.fixture
def compared(folder: Folder, runs: Runs) -> Folder:
    """A ledger in which one case got worse, and its agent calls its tools in another order."""
    before = {
        "refund": [
            behaviour("lookup", "refund", "mail", answer="Your refund of 42 euros is on its way.", tokens=100)
        ]
        * 20
    }
    now = {
        "refund": [
            behaviour(
                "refund", "mail", host="evil.example", answer="Sorry, your refund is denied.", tokens=180
            )
        ]
        * 5
    }
    runs.add(BASE, BEFORE, before, commit="9" * 40, branch="main")
    runs.add(HEAD, NOW, now, commit="1" * 40, branch="feature", started_at="2026-11-23T10:15:00Z")
    return folder


def test_it_names_what_got_worse(compared: Folder) -> None:
    ran = compared("eval", "compare", BASE, HEAD)
    assert ran.code == 1
    assert f"base  run {BASE} of 9999999 (main), 77 of 80 trials passed" in ran.stdout
    assert f"head  run {HEAD} of 1111111 (feature), 13 of 18 trials passed" in ran.stdout
    assert "without confirmation" in ran.stdout
    assert "REGRESSED  refund: passed 20 of 20 before, 1 of 5 now (p = 0.00" in ran.stdout
    assert "new cases: added" in ran.stdout
    assert "removed cases: gone" in ran.stdout
    assert "flaky  lookup: passed 17 of 20 before; all of 5 trials pass with a chance of 40 %" in ran.stdout
    assert "  new host evil.example: 5 of 5 trials" in ran.stdout
    assert "  tool calls: before lookup → refund → mail (20 of 20); now refund → mail (5 of 5)" in ran.stdout
    assert ran.last_line.startswith("RESULT: REGRESSED 13/18 trials (1 case got worse: refund")
    assert ran.last_line.endswith(f"suite refunds base {BASE} head {HEAD}")


def test_a_run_without_a_difference_says_so(folder: Folder, runs: Runs) -> None:
    rates, did = {"refund": (20, 0)}, {"refund": [behaviour("lookup")] * 20}
    runs.add(BASE, rates, did)
    runs.add(HEAD, rates, did, started_at="2026-11-23T10:15:00Z")
    ran = folder("eval", "compare", BASE, "latest")
    assert ran.code == 0
    assert "no difference: no case got worse or better, and nothing was done differently" in ran.stdout
    assert "REGRESSED" not in ran.stdout
    assert ran.last_line.startswith(
        "RESULT: PASS 20/20 trials, 100.0 % (1 case compared, none got worse) suite"
    )


def test_a_case_side_by_side(compared: Folder) -> None:
    ran = compared("eval", "compare", BASE, HEAD, "--case", "refund")
    body = ran.stdout.partition("case refund\n")[2]
    assert "passed 20 of 20" in body
    rows = [[part.strip() for part in line.split("│")] for line in body.splitlines() if "│" in line]
    assert ["- lookup", ""] in rows
    assert ["refund", "refund"] in rows
    assert ["crm.example (20 of 20)", ""] in rows
    assert ["", "evil.example (5 of 5)"] in rows
    assert ["100 tokens a trial", "180 tokens a trial (× 1.80)"] in rows
    # lookup is called on one side only: its arguments can't be compared.
    assert "argument lookup" not in body
    assert "2 further arguments with the same values as before" in body
    assert f"  aegis trace show {HEAD}/refund/2   (now, failed)" in body
    assert f"  aegis trace show {HEAD}/refund/1   (now, passed)" in body
    assert f"  aegis trace show {BASE}/refund/1   (before, passed)" in body


def test_the_words_of_the_answers_are_compared(compared: Folder) -> None:
    document = aegis.eval.compare(BASE, HEAD, case="refund").document
    text = " ".join(line for line, _ in lines(document, 400))
    assert "[-Your-]" not in text
    assert "refund [-of 42 euros-] is [-on its way.-]" in text
    assert "{+denied.+}" in text


@pytest.mark.parametrize("width", [20, 40, 79, 80, 81, 120, 300])
def test_every_width_has_room(compared: Folder, width: int) -> None:
    document = aegis.eval.compare(BASE, HEAD, case="refund").document
    case = document["case"]
    from aegis.report.sidebyside import case_lines

    rows = [line for line, _ in case_lines(case, width) if "│" in line or line[:2] in ("- ", "+ ")]
    assert rows
    assert max(map(columns, rows)) <= width
    assert any("│" in row for row in rows) == (width >= 80)


def test_changed_arguments_are_shown_by_their_path(folder: Folder, runs: Runs) -> None:
    from aegis.regression.drift.behaviour import Behaviour, ToolUse

    def asks(amount: int) -> Behaviour:
        return Behaviour((ToolUse("refund", {"order": {"id": "1042"}, "amount": amount}),))

    runs.add(BASE, {"refund": (20, 0)}, {"refund": [asks(42)] * 20})
    runs.add(HEAD, {"refund": (5, 0)}, {"refund": [asks(42)] * 2 + [asks(4200)] * 3})
    body = folder("eval", "compare", BASE, HEAD, "--case", "refund").stdout
    rows = [[part.strip() for part in line.split("│")] for line in body.splitlines() if "│" in line]
    assert "argument refund $.amount" in body
    assert ["42 (20 of 20)", "4200 (3 of 5)"] in rows
    assert ["", "42 (2 of 5)"] in rows
    assert "1 further argument with the same values as before" in body


def test_new_removed_and_changed_cases_can_be_looked_at(folder: Folder, runs: Runs, compared: Folder) -> None:
    assert (
        "new: the baseline does not have it"
        in compared("eval", "compare", BASE, HEAD, "--case", "added").stdout
    )
    assert (
        "removed: only the baseline has it"
        in compared("eval", "compare", BASE, HEAD, "--case", "gone").stdout
    )
    runs.add("20261124-1", BEFORE, content="another", started_at="2026-11-24T00:00:00Z")
    ran = compared("eval", "compare", BASE, "20261124-1", "--case", "refund")
    assert ran.code == 3
    assert "changed cases, not compared: refund, cancel, lookup, gone" in ran.stdout
    assert "its content is another one than before" in ran.stdout
    assert "no case is the same as in the baseline" in ran.last_line


def test_json_fits_its_schema(compared: Folder) -> None:
    for case in ([], ["--case", "refund"], ["--case", "added"]):
        ran = compared("eval", "compare", BASE, HEAD, "--json", "-", *case)
        document = json.loads(ran.stdout)
        validate(document)
        assert document["schema"] == "aegis.comparison/1"
        assert (document["base"]["run_id"], document["head"]["run_id"]) == (BASE, HEAD)
        assert [item["case"] for item in document["regressions"]] == ["refund"]
        assert (document["case"] is not None) == bool(case)
        assert ran.code == document["exit_code"] == 1
        assert document["result"] in ran.last_line
    compared("eval", "compare", BASE, HEAD, "--json", "out.json")
    assert json.loads((compared.path / "out.json").read_text())["verdict"] == "REGRESSED"


def test_what_counts_can_be_chosen(compared: Folder) -> None:
    assert compared("eval", "compare", BASE, HEAD, "--fail-on", "never").code == 0
    ran = compared("eval", "compare", BASE, HEAD, "--fail-on", "drift")
    assert ran.code == 1
    # Besides regressions, as in a run.
    assert "1 case got worse: refund" in ran.last_line
    assert "behaviour has drifted in refund" in ran.last_line
    assert compared("eval", "compare", BASE, HEAD, "--min-trials", "50").code == 1
    refused = compared("eval", "compare", BASE, HEAD, "--fail-on", "never", "--fail-on", "drift")
    assert (refused.code, "never stands alone" in refused.stderr) == (2, True)
    strict = aegis.eval.compare(BASE, HEAD, strict=True)
    assert strict.document["policy"]["case_alpha"] == 0.01
    assert strict.document["policy"]["confirm"] == 0


def test_too_few_trials_are_inconclusive(folder: Folder, runs: Runs) -> None:
    runs.add(BASE, {"refund": (1, 0)})
    runs.add(HEAD, {"refund": (1, 0)}, started_at="2026-11-23T10:15:00Z")
    ran = folder("eval", "compare", BASE, HEAD)
    assert ran.code == 3
    assert "not judged  refund: the baseline has 1 trial of it" in ran.stdout
    assert ran.last_line.startswith("RESULT: INCONCLUSIVE 1/1 trials (1 case could not be judged: refund")
    assert "no difference" not in ran.stdout


def test_a_file_stands_for_a_run_and_needs_no_ledger(folder: Folder, runs: Runs, tmp_path: Path) -> None:
    base = runs.add(BASE, BEFORE)
    head = runs.add(HEAD, NOW)
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = Runs(other)
    elsewhere.export("base.aegis", base)
    elsewhere.export("head.aegis", head)
    result = aegis.eval.compare(str(other / "base.aegis"), str(other / "head.aegis"), project=other)
    assert [item["case"] for item in result.regressions] == ["refund"]
    assert not (other / ".aegis").exists()
    runs.export("base.aegis", base)
    assert folder("eval", "compare", "base.aegis", HEAD).code == 1


def test_a_branch_stands_for_its_nearest_results(folder: Folder, runs: Runs) -> None:
    def git(*args: str) -> str:
        options = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *options, *args], cwd=folder.path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(name: str) -> str:
        git("commit", "-q", "--allow-empty", "-m", name)
        return git("rev-parse", "HEAD")

    def add(run_id: str, rates: Rates, commit: str, branch: str) -> None:
        where = {"commit": commit, "branch": branch, "dirty": False, "prefix": ""}
        runs.add(run_id, rates, config={"git": where}, commit=commit, branch=branch)

    git("init", "-q", "-b", "main")
    add(BASE, BEFORE, commit("first"), "main")
    commit("without results")
    git("checkout", "-q", "-b", "feature")
    add(HEAD, NOW, commit("a change"), "feature")
    for head in ("latest", "feature"):
        ran = folder("eval", "compare", "main", head)
        assert ran.code == 1, ran.stderr
        assert f"base  run {BASE} of" in ran.stdout
        assert "note: main: the nearest results are 1 commit back" in ran.stdout
        assert "REGRESSED  refund: passed 20 of 20 before, 1 of 5 now" in ran.stdout
    ran = folder("eval", "compare", "nosuchbranch", "latest")
    assert (ran.code, ran.stderr.count("error:")) == (2, 1)


def test_all_shows_every_case(folder: Folder, runs: Runs) -> None:
    names = [f"case-{index:03}" for index in range(60)]
    runs.add(BASE, dict.fromkeys(names, (20, 0)))
    runs.add(HEAD, dict.fromkeys(names, (0, 5)), started_at="2026-11-23T10:15:00Z")
    short = folder("eval", "compare", BASE, HEAD)
    assert short.stdout.count("REGRESSED  ") == 20
    assert "… and 40 more: regressed (--all)" in short.stdout
    assert folder("eval", "compare", BASE, HEAD, "--all").stdout.count("REGRESSED  ") == 60


def test_what_a_reader_should_know_is_noted(folder: Folder, runs: Runs) -> None:
    runs.add(BASE, {"refund": (20, 0)}, accel="kvm", version="0.0.9", started_at="2026-11-30T00:00:00Z")
    runs.add(HEAD, {"refund": (5, 0)}, selected=True, dirty=True, commit="1" * 40)
    out = folder("eval", "compare", BASE, HEAD).stdout
    assert f"note: run {BASE} is the newer one: is it the wrong way round?" in out
    assert f"note: run {HEAD} ran only some of the suite's cases" in out
    assert "note: another accelerator: kvm before, tcg now" in out
    assert "note: another Aegis: 0.0.9 before, 0.1.0 now" in out
    assert "of 1111111 with uncommitted changes" in out


def test_what_cannot_be_compared_is_refused_with_one_message(folder: Folder, runs: Runs) -> None:
    runs.add("20260101-base", {"refund": (20, 0)})
    runs.add("20260102-suite", {"refund": (20, 0)}, suite="other")
    runs.add("20260103-world", {"refund": (20, 0)}, environment="f" * 64, isolation="process")
    runs.add("20260104-old", {"refund": (20, 0)}, keep=False)
    runs.add("20260105-cut", {"refund": (20, 0)}, status="interrupted")
    runs.add("20260106-replay", {"refund": (20, 0)}, replay_of="20260101-base")
    for head, words in {
        "20260101-base": "both sides are run 20260101-base",
        "20260102-suite": "run 20260101-base is of suite refunds, and run 20260102-suite of suite other",
        "20260103-world": "ran in different environments: qemu before, process now",
        "20260104-old": "did not keep what a comparison needs",
        "20260105-cut": "run 20260105-cut is interrupted: only whole runs are compared",
        "20260106-replay": "run 20260106-replay is a replay",
        "20260": "'20260' is the beginning of several runs",
        "2027": "there is no run '2027'",
        "nosuchbranch": "'nosuchbranch' is no run and no file, and branches can't be looked up",
    }.items():
        ran = folder("eval", "compare", "20260101-base", head)
        assert ran.code == 2, head
        assert f"error: {words}" in ran.stderr or words in ran.stderr.splitlines()[0], ran.stderr
        assert ran.stderr.count("error:") == 1
        assert ran.last_line == "RESULT: ERROR exit 2: usage error"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--case", "refnd"], "did you mean refund?"),
        (["--case", "refund", "--variant", "x"], "case refund has no variant 'x'; it has: baseline"),
        (["--variant", "x"], "a variant is of a case"),
        (["--json", "-", "--all"], "has everything already"),
    ],
)
def test_options_that_lead_nowhere(compared: Folder, args: list[str], words: str) -> None:
    ran = compared("eval", "compare", BASE, HEAD, *args)
    assert ran.code == 2
    assert words in ran.stderr


def test_without_any_run(folder: Folder) -> None:
    ran = folder("eval", "compare", BASE, HEAD)
    assert ran.code == 2
    assert "is no run of this project and no file" in ran.stderr
    assert not (folder.path / ".aegis").exists()


def test_a_lost_snapshot_is_told(compared: Folder) -> None:
    with Ledger(compared.path / ".aegis") as ledger:
        document = ledger.run(HEAD).document
        assert document is not None
        digest = document["snapshot"]
    (blob,) = (compared.path / ".aegis" / "blobs" / digest[:2]).glob(f"{digest[2:]}*")
    blob.unlink()
    ran = compared("eval", "compare", BASE, HEAD)
    assert ran.code == 3
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr


def test_the_api_refuses_what_it_does_not_know(compared: Folder) -> None:
    with pytest.raises(UsageError, match="unknown reason to fail 'x'"):
        aegis.eval.compare(BASE, HEAD, fail_on="x")
    with pytest.raises(UsageError, match="at least 1"):
        aegis.eval.compare(BASE, HEAD, min_trials=0)
    result = aegis.eval.compare(BASE, HEAD)
    assert (result.verdict, result.exit_code) == ("REGRESSED", 1)
    assert {item["grade"] for item in result.drift} == {"always", "significant"}


def test_what_an_agent_wrote_cannot_control_the_terminal(folder: Folder, runs: Runs) -> None:
    evil = "\x1b[2J\u202e"
    runs.add(BASE, {"refund": (20, 0)}, {"refund": [behaviour(evil, host=evil, answer=evil)] * 20})
    runs.add(HEAD, {"refund": (0, 5)}, {"refund": [behaviour(f"{evil}2", host=f"{evil}2", answer="x")] * 5})
    out = folder("eval", "compare", BASE, HEAD, "--case", "refund").stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[2J\\u202e" in out
