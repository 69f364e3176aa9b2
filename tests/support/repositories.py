"""Real git repositories with runs of a suite in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Facts, Snapshot
from aegis.regression.trials import CaseKey, Trials
from aegis.results import Ledger
from aegis.results.records import RunRecord

ENVIRONMENT = "e" * 64
_BEGIN = datetime(2026, 1, 5, 12, tzinfo=UTC)


def git(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> str:
    """A git command as a user would give it, without this host's own settings."""
    alone = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "Somebody",
        "GIT_AUTHOR_EMAIL": "somebody@localhost",
        "GIT_COMMITTER_NAME": "Somebody",
        "GIT_COMMITTER_EMAIL": "somebody@localhost",
    }
    done = subprocess.run(
        ["git", *args],
        cwd=folder,
        env={**os.environ, **alone, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout.strip()


def trials(passed: int, failed: int = 0, content: str = "c1") -> Trials:
    return Trials(passed=passed, failed=failed, content=content)


class Repository:
    """A work tree on branch `main`, with a project and its ledger."""

    def __init__(self, path: Path, *, clone_of: str | None = None, options: tuple[str, ...] = ()) -> None:
        self.path = path
        if clone_of is None:
            path.mkdir(parents=True)
            git(path, "init", "--quiet", "--initial-branch=main")
            (path / "aegis.toml").touch()
            (path / ".gitignore").write_text(".aegis/\n")
            git(path, "add", ".")
        else:
            git(path.parent, "clone", "--quiet", *options, clone_of, str(path))

    def git(self, *args: str) -> str:
        return git(self.path, *args)

    def commit(self, message: str = "Change") -> str:
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def branch(self) -> str | None:
        return self.git("branch", "--show-current") or None

    def facts(self, run_id: str, **changes: Any) -> Facts:
        """Of a run of what is checked out, an hour after the run whose number is one less."""
        number = int("".join(c for c in run_id if c.isdigit()) or 0)
        facts = Facts(
            run_id=run_id,
            suite="support",
            environment=ENVIRONMENT,
            isolation="qemu",
            accel="kvm",
            commit=self.head(),
            branch=self.branch(),
            started_at=(_BEGIN + timedelta(hours=number % 10_000)).isoformat(),
            verdict="PASS",
        )
        return replace(facts, **changes)

    def ran(
        self,
        run_id: str,
        cases: Mapping[str, Trials] | None = None,
        *,
        status: str = "complete",
        **changes: Any,
    ) -> Facts:
        """A run of what is checked out, in the ledger."""
        cases = {"refund": trials(20)} if cases is None else cases
        passed, judged = sum(t.passed for t in cases.values()), sum(t.judged for t in cases.values())
        facts = self.facts(run_id, passed=passed, planned=judged, complete=status == "complete", **changes)
        snapshot = Snapshot(facts, {CaseKey(case): found for case, found in cases.items()})
        with Ledger(self.path / ".aegis") as ledger:
            record = RunRecord(run_id, facts.suite, "running", facts.started_at, {})
            ledger.create_run(record, [(case, "baseline", 1) for case in cases])
            digest = ledger.blobs.put(snapshots.to_bytes(snapshot))
            ledger.finish_run(run_id, status, document(facts, digest))
        return facts


def document(facts: Facts, digest: str | None) -> dict[str, Any]:
    """As much of a run document as baselines need."""
    git_state = {"commit": facts.commit, "branch": facts.branch, "dirty": facts.dirty, "prefix": ""}
    return {
        "run_id": facts.run_id,
        "suite": facts.suite,
        "verdict": facts.verdict,
        "counts": {"planned": facts.planned, "passed": facts.passed, "cancelled": 0},
        "isolation": {"driver": facts.isolation, "accel": facts.accel, "security_boundary": True},
        "started_at": facts.started_at,
        "environment": facts.environment,
        "snapshot": digest,
        "selected": facts.selected,
        "git": git_state if facts.commit else None,
        "replay_of": facts.replay_of,
    }


def bare(path: Path) -> Path:
    git(path.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
    return path
