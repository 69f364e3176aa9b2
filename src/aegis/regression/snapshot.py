"""What of a run a later one is compared with: counts and behaviour, small enough to be kept for years."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from aegis.errors import UsageError
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.trials import CaseKey, Trials

SCHEMA = "aegis.snapshot/1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run without looking at its trials."""

    run_id: str
    suite: str
    environment: str
    """Digest of all that must be equal for two runs to be comparable, apart from the cases themselves
    (`engine.fingerprint.environment`)."""
    isolation: str
    """The driver: `qemu`, `firecracker`, or `process` for none."""
    accel: str | None = None
    commit: str | None = None
    """Full hash; None outside of a repository and before its first commit."""
    branch: str | None = None
    dirty: bool = False
    """Whether tracked files differed from the commit."""
    started_at: str = ""
    """ISO 8601."""
    complete: bool = True
    """Whether every planned trial came to its end, the baseline's own errors included."""
    selected: bool = False
    """Whether only some of the suite's cases were run (`-k`, `--last-failed`)."""
    replay_of: str | None = None
    verdict: str = ""
    passed: int = 0
    planned: int = 0
    version: str = ""
    """Of the Aegis that ran it."""


@dataclass(frozen=True)
class Snapshot:
    """One run. Trials of confirmation are not in it: they were run because their case had failed."""

    facts: Facts
    trials: Mapping[CaseKey, Trials]
    """In the order of the suite, each with its case's content."""
    behaviours: Mapping[CaseKey, Sequence[Behaviour]] = field(default_factory=dict)
    """Of the judged trials."""


def to_bytes(snapshot: Snapshot) -> bytes:
    """A stand-in until the real codec is merged."""
    trials = [
        [*key, t.passed, t.failed, t.errors, t.missing, t.content] for key, t in snapshot.trials.items()
    ]
    behaviours = [[*key, [asdict(trial) for trial in found]] for key, found in snapshot.behaviours.items()]
    data = {"facts": asdict(snapshot.facts), "trials": trials, "behaviours": behaviours}
    return json.dumps({"schema": SCHEMA, **data}).encode()


def from_bytes(data: bytes, where: str) -> Snapshot:
    """Raises `UsageError`, which names `where`."""
    try:
        read = json.loads(data)
        trials = {CaseKey(row[0], row[1]): Trials(*row[2:]) for row in read["trials"]}
        behaviours = {
            CaseKey(row[0], row[1]): [_behaviour(item) for item in row[2]] for row in read["behaviours"]
        }
        return Snapshot(Facts(**read["facts"]), trials, behaviours)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{where} is no snapshot of a run: {error}") from error


def _behaviour(data: dict[str, object]) -> Behaviour:
    fields: dict[str, object] = {
        "tools": tuple(ToolUse(**tool) for tool in data["tools"]),  # type: ignore[attr-defined]
        "requests": tuple(Request(**request) for request in data["requests"]),  # type: ignore[attr-defined]
    }
    return Behaviour(**(data | fields))  # type: ignore[arg-type]


def pool_behaviours(snapshots: Sequence[Snapshot]) -> dict[CaseKey, Sequence[Behaviour]]:
    """A stand-in too."""
    newest = snapshots[0]
    return {
        key: [
            trial
            for snapshot in snapshots
            if snapshot.trials[key].content == newest.trials[key].content
            for trial in snapshot.behaviours.get(key, ())
        ]
        for key in newest.behaviours
    }
