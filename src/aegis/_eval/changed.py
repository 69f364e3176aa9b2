"""`--changed-since`: cases whose inputs have changed run first, so that what a change breaks is seen early. All others
run as well: what was not changed is what breaks unnoticed."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from aegis._eval import prepare
from aegis._eval.loading import load
from aegis._eval.prepare import Prepared, Source
from aegis._eval.request import RunRequest
from aegis.engine.plan import shuffled
from aegis.engine.ports import BlobStore
from aegis.engine.projectfiles import run_git
from aegis.engine.spec import PlannedTrial
from aegis.errors import AegisError, UsageError
from aegis.report.text import counted
from aegis.results import Ledger
from aegis.suite.project import Project

_NAMED = 5


def order(
    request: RunRequest,
    source: Source,
    prepared: Prepared,
    planned: Collection[PlannedTrial],
    seed: int,
    ledger: Ledger,
) -> tuple[tuple[PlannedTrial, ...], tuple[str, ...]]:
    """The plan in the order of execution, and what to say of it. Raises `UsageError` when what `changed_since` names is
    no commit."""
    plan = shuffled(tuple(planned), seed)
    if request.changed_since is None:
        return plan, ()
    commit = _left_at(source.project.root, request.changed_since)
    since = f"{request.changed_since} ({commit[:12]})"
    now = prepare.contents(prepared, planned)
    try:
        before = _contents_at(commit, request, source, planned, ledger.blobs)
    except AegisError as error:
        return plan, (f"note: the suite of {since} cannot be read, so no case is put first: {error}",)
    fresh = {key for key, digest in now.items() if before.get(key) != digest}
    if not fresh:
        return plan, (f"no case's inputs have changed since {since}",)
    cases = list(dict.fromkeys(trial.case for trial in planned if (trial.case, trial.variant) in fresh))
    named = ", ".join(cases[:_NAMED]) + (f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else "")
    first = tuple(trial for trial in plan if (trial.case, trial.variant) in fresh)
    last = tuple(trial for trial in plan if (trial.case, trial.variant) not in fresh)
    note = f"{counted(len(cases), 'case')} with inputs changed since {since} first: {named}"
    return (*first, *last), (note,)


def _left_at(root: Path, name: str) -> str:
    """The commit where this work left what `name` says; the named commit itself when they share no history."""
    if run_git(root, "rev-parse", "--git-dir") is None:
        raise UsageError(
            f"--changed-since {name}: {root} is not in a git repository, or there is no git",
            fix="leave --changed-since away",
        )
    for tried in (name, f"origin/{name}"):
        found = run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{tried}^{{commit}}")
        if found is not None:
            commit = found.decode().strip()
            shared = run_git(root, "merge-base", "HEAD", commit)
            return commit if shared is None else shared.decode().strip()
    raise UsageError(
        f"--changed-since {name}: there is no such branch, tag or commit here",
        fix=f"git fetch origin {name}, or name another one",
    )


def _contents_at(
    commit: str, request: RunRequest, source: Source, planned: Collection[PlannedTrial], blobs: BlobStore
) -> Mapping[tuple[str, str], str]:
    """Digests of the cases' contents as that commit had them; none for cases that it lacked. Raises `AegisError` when
    its suite cannot be read."""
    root = source.project.root
    with tempfile.TemporaryDirectory(prefix="aegis-before-") as name:
        folder = Path(name).resolve()
        packed = run_git(root, "archive", "--format=tar", commit, "--", ".")
        if packed is None:
            raise UsageError("git has no files of the project's folder there")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        project = Project(folder, folder / source.project.evals_dir.relative_to(root), source.project.config)
        path = folder / source.path.resolve().relative_to(root.resolve())
        if not path.is_file():
            raise UsageError(f"there was no {path.relative_to(folder)}")
        suite = load(path, project, faults=request.faults, stress=request.stress)
        there = {case.id for case in suite.cases}
        kept = [trial for trial in planned if trial.case in there]
        then = prepare.read_files(Source(project, path, suite), blobs, None)
        return prepare.contents_where_possible(then, kept)
