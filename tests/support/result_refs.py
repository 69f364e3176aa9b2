"""Results put into a repository's ref, and looked at on both sides; broken ones too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aegis.baseline import tree
from aegis.baseline.exchange import Exchange, Synced
from aegis.baseline.git import (
    Git,
)
from aegis.baseline.store import REF, Added, Store
from aegis.baseline.tree import Entries
from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Snapshot
from aegis.regression.trials import CaseKey
from support.repositories import Repository, trials


def result(repo: Repository, run_id: str, passed: int = 20) -> Added:
    facts = repo.facts(run_id)
    snapshot = Snapshot(facts, {CaseKey("refund"): trials(passed)})
    return Added(run_id, snapshots.to_bytes(snapshot), facts)


def add(repo: Repository, *run_ids: str) -> Store:
    store = Store(repo.path)
    store.add([result(repo, run_id) for run_id in run_ids])
    return store


def push(repo: Repository, *run_ids: str, remote: str = "origin", **options: Any) -> Synced:
    return Exchange(add(repo, *run_ids), remote, **options).push()


def pull(repo: Repository, remote: str = "origin") -> Synced:
    return Exchange(Store(repo.path), remote).pull()


def keep_only(*kept: str) -> Callable[[Entries], Entries]:
    return lambda now: Entries({run: oid for run, oid in now.runs.items() if run in kept}, now.pins)


def here(repo: Repository) -> list[str]:
    return sorted(Store(repo.path).entries().runs)


def at(remote: Path) -> list[str]:
    git_of = Git(remote)
    commit = git_of.ref(REF)
    return [] if commit is None else sorted(tree.read(git_of, commit, REF).runs)


def object_file(repo: Repository, name: str) -> Path:
    oid = repo.git("rev-parse", name)
    return repo.path / ".git" / "objects" / oid[:2] / oid[2:]


def remove_object(repo: Repository, name: str) -> None:
    object_file(repo, name).unlink()


def corrupt_object(repo: Repository, name: str) -> None:
    path = object_file(repo, name)
    path.chmod(0o644)
    path.write_bytes(b"\x78\x9c not what zlib writes")


def replace_tree(repo: Repository, entries: dict[str, bytes | str], *, only: bool = False) -> None:
    """Make the ref a tree with these entries (bytes: a blob; text: a tree) in place of its own."""
    store = Store(repo.path)
    rows = {} if only else {name: (kind, oid) for name, kind, oid in store.git.listed(REF)}
    for name, value in entries.items():
        rows[name] = ("blob", store.git.put(value)) if isinstance(value, bytes) else ("tree", value)
    made = store.git.tree((name, kind, oid) for name, (kind, oid) in rows.items())
    repo.git("update-ref", REF, store.git.commit(made, (), "Forged"))


def forge(repo: Repository, run_id: str, meta: bytes, snapshot: bytes) -> None:
    """A run whose files are these bytes."""
    g = Git(repo.path)
    run = g.tree([("meta.json", "blob", g.put(meta)), ("snapshot", "blob", g.put(snapshot))])
    runs = g.tree([(run_id, "tree", run)])
    replace_tree(repo, {"format": b"1\n", "runs": runs}, only=True)
