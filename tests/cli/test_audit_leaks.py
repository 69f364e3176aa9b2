"""`aegis audit leaks` in folders of this host: what it finds, what it refuses, how it ends."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from cli_project import Folder

from aegis.audit import document

HEAD = """\
suite: s
agent: {command: "sh -c 'read -r script; eval \\"$script\\"'"}
cases:
"""


def case(name: str, script: str, answer: str, world: str = "{}") -> str:
    expect = f"[{{answer: {{equals: {json.dumps(answer)}}}}}]"
    return f"  - {{id: {name}, input: {json.dumps(script)}, world: {world}, expect: {expect}}}\n"


MAKES = case("makes", "mkdir made; echo ok", "ok", "{reset: [rmdir made]}")
NEEDS = case("needs", "cd made 2>/dev/null && echo ok || echo missing", "ok")
STEADY = case("steady", "echo ok", "ok")


def audit(folder: Folder, *args: str) -> tuple[int, dict[str, Any], str, str]:
    ran = folder("audit", "leaks", "--isolation=none", "--seed", "1", "--json", "out.json", *args)
    path = folder.path / "out.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found:
        jsonschema.Draft202012Validator(document.schema()).validate(found)
        assert ran.last_line == found["result"]
        assert ran.code == found["exit_code"]
    return ran.code, found, ran.stdout, ran.stderr


def test_a_masked_case_its_culprit_and_the_folder_that_carried_it(folder: Folder) -> None:
    folder.suite("s", HEAD + STEADY + MAKES + NEEDS)
    code, found, out, err = audit(folder)
    assert code == 1, err
    (entry,) = found["cases"]
    assert (entry["case"], entry["effect"], entry["culprits"]) == ("needs", "masked", ["makes"])
    assert [(each["name"], each["kind"]) for each in entry["carriers"] if each["confirmed"]] == [
        ("/workspace/made", "folder")
    ]
    assert entry["cleaned_by_reset"] is True
    assert "s: 100 % shown in one machine, 67 % true." in out
    assert "makes → needs: passes only after it" in out
    assert [group["mode"] for group in found["groups"]] == ["fresh", *["shared"] * 3, *["reset"] * 3]


def test_run_with_its_reset_steps_the_same_suite_is_clean(folder: Folder) -> None:
    folder.suite("s", HEAD + STEADY + MAKES + NEEDS)
    code, found, _out, err = audit(folder, "--as", "reset")
    assert code == 0, err
    assert found["studied"] == "reset"
    assert found["cases"] == []
    assert "67 % shown, 67 % true" in err


def test_as_fresh_it_is_told_and_no_failure(folder: Folder) -> None:
    folder.suite("s", HEAD + MAKES + NEEDS)
    code, found, _out, err = audit(folder, "--as", "fresh")
    assert code == 0, err
    assert [entry["case"] for entry in found["cases"] if entry["dependent"]] == ["needs"]
    assert "100 % would be shown, 50 % true" in err


def test_a_world_that_cannot_be_set_up_twice_is_a_broken_case(folder: Folder) -> None:
    first = case("first", "echo ok", "ok", "{run: [mkdir data]}")
    second = case("second", "echo ok", "ok", "{run: [mkdir data]}")
    folder.suite("s", HEAD + first + second)
    code, found, out, err = audit(folder)
    assert code == 1, err
    broken = {entry["case"]: entry for entry in found["cases"]}
    assert broken["second"]["effect"] == "broken"
    assert broken["second"]["culprits"] == ["first"]
    assert "second" in out


def test_two_that_are_needed_together(folder: Folder) -> None:
    left, right = case("left", "echo l > left; echo ok", "ok"), case("right", "echo r > right; echo ok", "ok")
    both = case("both", "cat left right 2>/dev/null | tr -d '\\n'", "lr")
    folder.suite("s", HEAD + left + STEADY + right + both)
    code, found, out, err = audit(folder, "--orders", "2")
    assert code == 1, err
    (entry,) = found["cases"]
    assert (entry["case"], set(entry["culprits"]), entry["minimal"]) == ("both", {"left", "right"}, True)
    assert "passes only after them" in out


def test_an_agent_that_fails_every_other_time_is_no_leak(folder: Folder) -> None:
    """What it fails by is outside of all machines: it differs from run to run, whoever ran before it."""
    count = folder.path.parent / "count"
    count.write_text("0")
    script = f"n=$(cat {count}); echo $((n + 1)) > {count}; test $((n % 2)) = 0 && echo ok || echo no"
    folder.suite("s", HEAD + STEADY + case("moody", script, "ok"))
    code, found, out, err = audit(folder, "--trials", "3", "--orders", "4", "--jobs", "1")
    assert code == 0, err
    assert [(entry["case"], entry["why"]) for entry in found["cases"]] == [("moody", "chance")]
    assert "moody: no more than its own chance" in out


def test_a_trial_can_pollute_the_next_one_of_its_own_case(folder: Folder) -> None:
    folder.suite("s", HEAD + case("once", "mkdir d 2>/dev/null && echo ok || echo twice", "ok"))
    code, found, _out, err = audit(folder, "--trials", "2")
    assert code == 1, err
    (entry,) = found["cases"]
    assert (entry["case"], entry["culprits"]) == ("once", ["once"])


def test_without_probes_nobody_can_tell(folder: Folder) -> None:
    folder.suite("s", HEAD + MAKES + NEEDS)
    code, found, _out, err = audit(folder, "--max-probes", "0")
    assert code == 3, err
    assert "could not be decided; try --max-probes" in err
    assert found["probes"] == {"used": 0, "max": 0}


def test_one_trial_alone_tells_nothing(folder: Folder) -> None:
    folder.suite("s", HEAD + STEADY)
    code, _, _, err = audit(folder)
    assert code == 3
    assert "one trial has nothing before it" in err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-k", "nothing-like-it"], 5, "matches none"),
        (["--orders", "0"], 2, "the number of orders must be between 1 and 50"),
        (["--max-probes", "-1"], 2, "the number of probes must be"),
        (["--trials", "0"], 2, "at least 1"),
        (["--as", "reset"], 2, "none of the selected cases has reset steps"),
        (["--as", "dirty"], 2, "invalid value for '--as'"),
        (["--vmm", "qemu"], 2, "isolation is 'none'"),
        (["--json", "no/such/folder.json"], 2, "there is no folder"),
    ],
)
def test_what_is_refused_is_told_once(folder: Folder, args: list[str], code: int, words: str) -> None:
    folder.suite("s", HEAD + STEADY + NEEDS)
    ran = folder("audit", "leaks", "--isolation=none", *args)
    assert ran.code == code, ran
    assert words in ran.stderr.lower()
    assert ran.stderr.count("error:") == 1
    assert ran.last_line.startswith(f"RESULT: ERROR exit {code}")


def test_nothing_of_it_becomes_a_run(folder: Folder) -> None:
    folder.suite("s", HEAD + STEADY + NEEDS)
    audit(folder)
    assert "no runs" in folder("eval", "list").stdout.lower() + folder("eval", "list").stderr.lower()
    assert folder("eval", "run", "--isolation=none", "--last-failed").code == 5


def test_a_reset_step_that_fails_is_told(folder: Folder) -> None:
    folder.suite("s", HEAD + case("a", "echo ok", "ok", "{reset: [exit 4]}") + STEADY)
    code, found, _out, err = audit(folder)
    assert code == 0, err
    assert any("'exit 4' failed: exit code 4" in note for note in found["notes"])


def test_the_document_goes_to_standard_output_in_place_of_the_report(folder: Folder) -> None:
    folder.suite("s", HEAD + STEADY + NEEDS)
    ran = folder("audit", "leaks", "--isolation=none", "-q", "--json", "-")
    assert json.loads(ran.stdout)["schema"] == "aegis.audit/1"
    assert ran.stderr.count("\n") == 1
