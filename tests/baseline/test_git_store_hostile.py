"""What a results ref holds comes from other people's branches: nothing of it is trusted."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aegis.baseline.facts import Meta, meta_bytes
from aegis.baseline.store import REF, Store
from aegis.errors import UsageError
from support.repositories import Repository
from support.result_refs import (
    add,
    corrupt_object,
    forge,
    here,
    push,
    remove_object,
    replace_tree,
    result,
)


def test_a_newer_format(repo: Repository, remote: Path, other: Repository) -> None:
    push(repo, "run-1")
    replace_tree(repo, {"format": b"2\n"})
    with pytest.raises(UsageError, match=r"written by a newer Aegis \(format 2, this one reads 1\)"):
        Store(repo.path).runs()
    repo.git("push", "-q", "--force", "origin", REF)
    with pytest.raises(UsageError, match="newer Aegis") as caught:
        push(other, "run-2")
    assert caught.value.fix == "pip install --upgrade aegis-evals"
    assert here(other) == ["run-2"]


@pytest.mark.parametrize("format_", [None, b"", b"1.5", b"one", b"-1", b"1" * 2000])
def test_something_else_in_the_ref(repo: Repository, format_: bytes | None) -> None:
    replace_tree(repo, {} if format_ is None else {"format": format_}, only=True)
    with pytest.raises(UsageError, match="holds something else than results of Aegis"):
        Store(repo.path).entries()


def test_a_ref_whose_objects_are_gone(repo: Repository) -> None:
    add(repo, "run-1")
    remove_object(repo, f"{REF}^{{tree}}")
    with pytest.raises(UsageError, match="the results in refs/aegis/results are damaged") as caught:
        Store(repo.path).entries()
    assert "git update-ref -d refs/aegis/results" in (caught.value.fix or "")


@pytest.mark.parametrize("damage", ["removed", "corrupt"])
@pytest.mark.parametrize("file", ["meta.json", "snapshot"])
def test_one_damaged_run_does_not_hide_the_others(repo: Repository, damage: str, file: str) -> None:
    store = add(repo, "run-1", "run-2")
    (remove_object if damage == "removed" else corrupt_object)(repo, f"{REF}:runs/run-1/{file}")
    found = {run.run_id: run for run in store.runs()}
    assert found["run-2"].meta is not None
    assert store.snapshot("run-2", found["run-2"].meta)[1].facts.run_id == "run-2"
    broken = found["run-1"]
    if file == "meta.json":
        assert broken.problem == "its description is missing, damaged or too large"
    else:
        assert broken.meta is not None
        with pytest.raises(UsageError, match="is missing or damaged"):
            store.snapshot("run-1", broken.meta)


@pytest.mark.parametrize(
    "name", ["..", ".git", "a b", "a\nb", "\x1b[31m", "-rf", "x" * 129, "größe", "a\tb", "run-2:x", "latest"]
)
def test_names_that_no_run_has_are_left_out(repo: Repository, name: str) -> None:
    add(repo, "run-1")
    good = repo.git("rev-parse", f"{REF}:runs/run-1")
    rows = f"040000 tree {good}\t{name}\x00040000 tree {good}\trun-1\x00"
    runs = subprocess.run(
        ["git", "mktree", "-z"], cwd=repo.path, input=rows.encode(), capture_output=True, check=True
    ).stdout.decode().strip()  # fmt: skip
    replace_tree(repo, {"runs": runs})
    assert here(repo) == ["run-1"]
    add(repo, "run-3")
    assert here(repo) == ["run-1", "run-3"]


def test_names_that_no_pin_has_are_left_out(repo: Repository) -> None:
    store = add(repo, "run-1")
    good, bad = store.git.put(b"run-1\n"), store.git.put(b"../run-1\n")
    rows = b""
    for name in (b"%1b%5B31m", b"\xff", b"%ED%A0%80", b"%2Egit", b"x" * 200, b"a%2fb", b"%E2%80%AE", b"main"):
        rows += b"100644 blob %s\t%s\0" % (good.encode(), name)
    rows += b"100644 blob %s\twrong\0" % bad.encode()
    pins = store.git.run("mktree", "-z", stdin=rows).out.decode().strip()
    replace_tree(repo, {"pins": pins})
    assert dict(Store(repo.path).entries().pins) == {"main": "run-1"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"facts": None}, "its description has no facts"),
        ({"facts": {"run_id": "run-2"}}, "its description is of another run"),
        ({"facts": {"run_id": "../../etc"}}, "its description is of another run"),
        ({"facts": {"commit": "--upload-pack=x"}}, "its description has a wrong commit"),
        ({"facts": {"commit": 7}}, "its description has a wrong commit"),
        ({"facts": {"passed": True}}, "its description has a wrong passed"),
        ({"facts": {"passed": -1}}, "its description has a wrong passed"),
        ({"facts": {"passed": 1e400}}, "its description has a wrong passed"),
        ({"facts": {"suite": "x" * 2000}}, "its description has a wrong suite"),
        ({"facts": {"complete": "yes"}}, "its description has a wrong complete"),
        ({"sha256": "x"}, "its description has no digest"),
        ({"prefix": ["a"]}, "its description has a wrong prefix"),
        ({"more": "x" * 70_000}, "its description is missing, damaged or too large"),
    ],
)
def test_a_description_is_checked(repo: Repository, changes: dict[str, Any], problem: str) -> None:
    given = result(repo, "run-1")
    meta = json.loads(meta_bytes(Meta(given.facts, "", hashlib.sha256(given.data).hexdigest())))
    for key, value in changes.items():
        meta[key] = meta["facts"] | value if isinstance(value, dict) else value
    forge(repo, "run-1", json.dumps(meta).encode(), given.data)
    (stored,) = Store(repo.path).runs()
    assert (stored.meta, stored.problem) == (None, problem)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 60_000, b"\xff\xfe", b"null"])
def test_a_description_that_is_no_json(repo: Repository, data: bytes) -> None:
    forge(repo, "run-1", data, b"")
    (stored,) = Store(repo.path).runs()
    assert stored.problem in ("its description is no JSON", "its description has no facts")


def test_fields_of_a_later_version_are_no_problem(repo: Repository) -> None:
    given = result(repo, "run-1")
    meta = json.loads(meta_bytes(Meta(given.facts, "", hashlib.sha256(given.data).hexdigest())))
    meta["facts"]["region"] = "eu"
    forge(repo, "run-1", json.dumps(meta).encode(), given.data)
    assert Store(repo.path).runs()[0].meta is not None


def test_a_snapshot_of_another_run_is_refused(repo: Repository) -> None:
    good, bad = result(repo, "run-1"), result(repo, "run-2")
    meta = Meta(good.facts, "", hashlib.sha256(bad.data).hexdigest())
    forge(repo, "run-1", meta_bytes(meta), bad.data)
    with pytest.raises(UsageError, match="is of another run than its description says"):
        Store(repo.path).snapshot("run-1", meta)
    with pytest.raises(UsageError, match="missing or damaged"):
        Store(repo.path).snapshot("run-1", Meta(good.facts, "", hashlib.sha256(good.data).hexdigest()))
