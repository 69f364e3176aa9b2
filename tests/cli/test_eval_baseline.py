"""`aegis eval run --baseline`: lookup, fresh trials of suspects, verdict. Machines are scripted; git is real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_project import Folder, Ran

from aegis._eval import against, session, start
from aegis.baseline.found import NoBaseline, Skipped
from aegis.regression.snapshot import Facts, Snapshot, to_bytes
from aegis.regression.trials import CaseKey, Trials
from aegis.report import markdown
from aegis.results import Ledger, document
from aegis.sandbox.base import DriverInfo
from support.fake_driver import FakeDriver, FakeSandbox, Output

CASES = ("refund", "address", "invoice", "cancel")
SUITE = """\
suite: shop
agent: {command: cat}
trials: 5
cases:
""" + "".join(
    f"  - {{id: {name}, input: {name}, expect: [{{answer: {{contains: ok}}}}]}}\n" for name in CASES
)


class Shop:
    """What the agent answers, by case: whether its n-th trial, counted from 0, is right."""

    def __init__(self) -> None:
        self.right: dict[str, Callable[[int], bool]] = {}
        self.seen: dict[str, int] = {}

    def __call__(self, sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
        word = stdin.decode().split()[0]
        count = self.seen.get(word, 0)
        self.seen[word] = count + 1
        right = self.right.get(word, lambda number: True)(count)
        return Output(stdout=b"ok" if right else b"no")

    def now(self, **right: Callable[[int], bool]) -> None:
        self.right, self.seen = right, {}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    agent = Shop()
    fake = FakeDriver(program=agent, info=DriverInfo("qemu", "tcg", False, True, "QEMU 7"))
    monkeypatch.setattr(session, "open_driver", lambda isolation, **options: fake)
    monkeypatch.setattr(start, "image_identity", lambda isolation, image, root: "d1")
    return agent


def git(folder: Path, *args: str) -> str:
    options = ("-c", "user.name=shop", "-c", "user.email=shop@shop.example", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *options, *args], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(folder: Folder) -> Folder:
    folder.suite("shop", SUITE)
    git(folder.path, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "The shop's suite")
    return folder


def commit(folder: Folder, message: str) -> str:
    git(folder.path, "add", "--all")
    git(folder.path, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder.path, "rev-parse", "HEAD")


def run(folder: Folder, *options: str) -> tuple[Ran, dict[str, Any]]:
    path = folder.path / ".aegis" / "out.json"
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    ran = folder("eval", "run", "--suite", "shop", "--jobs", "1", "--json", str(path), *options)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found:
        document.validate(found)
    return ran, found


def on_main(folder: Folder, shop: Shop, **right: Callable[[int], bool]) -> str:
    """Run main, leave it for a branch, and return the run's id."""
    shop.now(**right)
    ran, found = run(folder, "--fail-under", "0")
    assert ran.code == 0, ran
    git(folder.path, "checkout", "--quiet", "-b", "change")
    commit(folder, "A change")
    return str(found["run_id"])


def never(number: int) -> bool:
    return False


def test_a_swap_is_found_and_the_fixed_case_named(repository: Folder, shop: Shop) -> None:
    base = on_main(repository, shop, invoice=never)
    shop.now(refund=never)
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 1, ran
    assert ran.last_line.startswith("RESULT: REGRESSED 15/20 trials (1 case got worse: refund"), ran
    assert found["verdict"] == "REGRESSED"
    assert [case["case"] for case in found["regressions"]] == ["refund"]
    (refund,) = found["regressions"]
    assert (refund["before"]["passed"], refund["now"]["passed"], refund["confirmation"]["judged"]) == (
        5,
        0,
        10,
    )
    assert found["baseline"]["comparison"]["base"]["run_id"] == base
    assert found["baseline"]["behind"] == 0
    assert found["baseline"]["confirmed"]["trials"] == 10
    assert [trial["number"] for trial in found["confirmations"]] == list(range(6, 16))
    assert [trial["weather"] for trial in found["confirmations"]] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert found["counts"]["planned"] == len(found["trials"]) == 20
    assert found["fail_under"] is None
    assert "10 fresh trials" in ran.stderr


def test_a_case_that_only_looked_worse_is_cleared(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now(refund=lambda number: number >= 3)
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 0, ran
    (refund,) = [case for case in found["baseline"]["comparison"]["cases"] if case["status"] == "cleared"]
    assert refund["confirmation"] == {"passed": 10, "judged": 10, "lost": 0}


def test_without_confirmation_the_trials_decide(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now(refund=never)
    ran, found = run(repository, "--baseline", "main", "--confirm", "0")
    assert ran.code == 1, ran
    assert found["confirmations"] == []
    assert [case["case"] for case in found["regressions"]] == ["refund"]


def test_a_threshold_counts_beside_the_baseline(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop, invoice=never)
    shop.now(invoice=never)
    ran, _ = run(repository, "--baseline", "main")
    assert ran.code == 0, ran
    ran, found = run(repository, "--baseline", "main", "--fail-under", "95")
    assert (ran.code, found["verdict"]) == (1, "BELOW_THRESHOLD"), ran


def test_never_informs_only(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now(refund=never)
    ran, found = run(repository, "--baseline", "main", "--fail-on", "never")
    assert ran.code == 0, ran
    assert [case["case"] for case in found["regressions"]] == ["refund"]


def test_a_new_failure_counts_where_it_is_asked_for(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now(refund=lambda number: number != 2)
    assert run(repository, "--baseline", "main")[0].code == 0
    shop.now(refund=lambda number: number != 2)
    ran, found = run(repository, "--baseline", "main", "--fail-on", "new-failure")
    assert ran.code == 1, ran
    assert found["baseline"]["comparison"]["new_failures"] == [{"case": "refund", "variant": "baseline"}]


def test_no_baseline_is_no_pass(repository: Folder, shop: Shop) -> None:
    shop.now()
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 3, ran
    assert ran.last_line.startswith("RESULT: INCONCLUSIVE"), ran
    assert found["baseline"]["problem"]
    assert found["baseline"]["comparison"] is None
    assert found["counts"]["passed"] == 20


def test_a_run_of_a_selection_is_compared_with_the_same_cases(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now(refund=never)
    ran, found = run(repository, "--baseline", "main", "-k", "refund or cancel")
    assert ran.code == 1, ran
    comparison = found["baseline"]["comparison"]
    assert (comparison["compared"], comparison["removed"]) == (2, [])


def test_changed_new_and_removed_cases_are_listed_and_the_others_compared(
    repository: Folder, shop: Shop
) -> None:
    on_main(repository, shop)
    text = SUITE.replace("input: address", "input: address now").replace("id: cancel", "id: stop")
    repository.suite("shop", text)
    commit(repository, "Other cases")
    shop.now()
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 0, ran
    comparison = found["baseline"]["comparison"]
    assert [key["case"] for key in comparison["changed"]] == ["address"]
    assert [key["case"] for key in comparison["new"]] == ["stop"]
    assert [key["case"] for key in comparison["removed"]] == ["cancel"]
    assert comparison["compared"] == 2


def test_another_machine_is_another_environment(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    repository.suite("shop", SUITE.replace("trials: 5", "sandbox: {memory: 1GiB}\ntrials: 5"))
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 3, ran
    assert found["baseline"]["skipped"] or "environment" in found["baseline"]["problem"]


def test_only_the_worst_of_a_broken_suite_are_tried_again(repository: Folder, shop: Shop) -> None:
    cases = "".join(
        f"  - {{id: c{number:02}, input: c{number:02}, expect: [{{answer: {{contains: ok}}}}]}}\n"
        for number in range(14)
    )
    repository.suite("shop", SUITE.partition("cases:\n")[0] + "cases:\n" + cases)
    commit(repository, "More cases")
    on_main(repository, shop)
    shop.now(**{f"c{number:02}": never for number in range(14)})
    ran, found = run(repository, "--baseline", "main")
    assert ran.code == 1, ran
    assert len(found["confirmations"]) == 100
    assert len(found["regressions"]) == 10
    assert found["baseline"]["comparison"]["overall"]["worse"] is True


def test_the_baseline_is_kept_with_the_run_and_resume_compares(
    repository: Folder, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the last planned trial, before the first fresh one."""
    on_main(repository, shop)
    shop.now(refund=never)
    with monkeypatch.context() as patch:

        async def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(session._Execution, "_confirm", stopped)
        ran = repository("eval", "run", "--suite", "shop", "--jobs", "1", "--baseline", "main")
        assert ran.code == 130, ran
    with closing(Ledger(repository.path / ".aegis")) as ledger:
        assert ledger.run("latest").status == "interrupted"
    ran = repository("eval", "resume", "latest")
    assert ran.code == 1, ran
    assert "REGRESSED" in ran.last_line
    again = repository("eval", "resume", "latest")
    assert (again.code, again.last_line) == (1, ran.last_line)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--isolation", "none", "--baseline", "main"), "without isolation can be compared with nothing"),
        (("--baseline", "main", "--replay", "latest"), "a replay is compared with nothing"),
        (("--strict",), "no baseline is named"),
        (("--confirm", "3"), "no baseline is named"),
        (("--baseline", "main", "--confirm", "-1"), "between 0 and 1000"),
        (("--baseline", "main", "--min-trials", "0"), "at least 1"),
        (("--baseline", "main", "--fail-on", "never", "--fail-on", "drift"), "stands alone"),
        (("--baseline", "no-such-thing"), "no-such-thing"),
        (("--changed-since", "no-such-thing"), "no-such-thing"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    repository: Folder, shop: Shop, options: tuple[str, ...], said: str
) -> None:
    shop.now()
    ran, found = run(repository, *options)
    assert ran.code == 2, ran
    assert said in ran.stderr, ran
    assert "Traceback" not in ran.stderr
    assert (found, shop.seen) == ({}, {})


def test_too_few_trials_are_no_pass(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now()
    ran, _ = run(repository, "--baseline", "main", "--min-trials", "6")
    assert ran.code == 3, ran
    assert "6 are asked for" in ran.last_line


def test_changed_cases_run_first_and_all_run(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    repository.suite("shop", SUITE.replace("input: invoice", "input: invoice please"))
    for seed in ("1", "2", "3"):
        shop.now()
        ran, found = run(repository, "--fail-under", "0", "--changed-since", "main", "--seed", seed)
        assert ran.code == 0, ran
        assert next(iter(shop.seen)) == "invoice"
        assert list(shop.seen.values()) == [5, 5, 5, 5]
        assert "1 case with inputs changed since main" in ran.stderr
        assert found["counts"]["planned"] == 20


def test_where_nothing_changed_that_is_said(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    ran, _ = run(repository, "--fail-under", "0", "--changed-since", "main")
    assert "no case's inputs have changed since main" in ran.stderr


def test_nothing_that_others_have_pushed_controls_the_terminal(repository: Folder, shop: Shop) -> None:
    """A branch's name out of somebody's results stands in the lines before the run, in the last one and in files."""
    shop.now()
    head = git(repository.path, "rev-parse", "HEAD")
    facts = Facts("run-1", "shop", "e" * 64, "qemu", commit=head, branch="\x1b]0;owned\x07\u202e", dirty=True)
    pushed = Snapshot(facts, {CaseKey("refund"): Trials(passed=5)})
    exported = repository.path / "theirs.aegis"
    exported.write_bytes(to_bytes(pushed))
    ran, found = run(repository, "--baseline", str(exported))
    assert ran.code == 3, ran
    assert found["baseline"]["problem"], found
    said = ran.stdout + ran.stderr + markdown.summary(found)
    for hidden in ("\x1b", "\x07", "\u202e"):
        assert hidden not in said


def test_header_and_result_lines_show_escapes_as_text(repository: Folder, shop: Shop) -> None:
    on_main(repository, shop)
    shop.now()
    why = "the branch \x1b[31mred\u202e has no results"

    def nothing(*_: object, **__: object) -> None:
        raise NoBaseline(why, fix="push \x1b[0m", skipped=(Skipped("run-1", None, why),))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(against.lookup, "find", nothing)
        ran, _ = run(repository, "--baseline", "main")
    assert ran.code == 3, ran
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "\u202e" not in ran.stdout + ran.stderr
    assert "no baseline: the branch \\x1b[31mred\\u202e has no results" in ran.stderr
    assert "\\x1b[31mred" in ran.last_line


def test_show_wants_the_environment_of_the_suite_as_it_is(repository: Folder, shop: Shop) -> None:
    shop.now()
    _, found = run(repository, "--fail-under", "0")
    shown = json.loads(repository("baseline", "show", "main", "--json").stdout)
    assert (shown["environment"], shown["environment_of"]) == (found["environment"], None)
    assert shown["baseline"]["run_id"] == found["run_id"]
    repository.suite("shop", SUITE.replace("command: cat", "command: cat -u"))
    changed = repository("baseline", "show", "main", "--json")
    assert json.loads(changed.stdout)["environment"] == shown["environment"], "the agent is what is compared"
    repository.suite("shop", SUITE.replace("suite: shop", "suite: shop\nsandbox: {memory: 1GiB}"))
    changed = repository("baseline", "show", "main", "--json")
    assert changed.code == 3, changed
    assert "environment" in json.loads(changed.stdout)["problem"]
    repository.suite("shop", "suite: [")
    fallback = json.loads(repository("baseline", "show", "main", "--json").stdout)
    assert (fallback["environment"], fallback["environment_of"]) == (found["environment"], found["run_id"])
