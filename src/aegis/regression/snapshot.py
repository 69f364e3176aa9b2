"""What of a run a later one is compared with: counts and behaviour, small enough to be kept for years."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from aegis.errors import UsageError
from aegis.regression.drift.behaviour import Behaviour
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


_MAGIC = b"aegis.snapshot/"


def to_bytes(snapshot: Snapshot) -> bytes:
    """The snapshot as bytes; equal snapshots have equal ones."""
    rows = [[*key, t.passed, t.failed, t.errors, t.missing, t.content] for key, t in snapshot.trials.items()]
    data = {"facts": asdict(snapshot.facts), "trials": rows}
    return _MAGIC + b"1\n" + zlib.compress(json.dumps(data, sort_keys=True).encode())


def from_bytes(data: bytes, where: str) -> Snapshot:
    """The snapshot again. Raises `UsageError`, which names `where`, for data that is corrupt, foreign or newer."""
    head, _, body = data.partition(b"\n")
    if not head.startswith(_MAGIC) or not head[len(_MAGIC) :].isdigit():
        raise UsageError(
            f"{where} is no snapshot of a run", fix="name a file that aegis baseline export wrote"
        )
    if int(head[len(_MAGIC) :]) > 1:
        raise UsageError(f"{where} was written by a newer Aegis", fix="pip install --upgrade aegis-evals")
    try:
        read = json.loads(zlib.decompress(body))
        trials = {CaseKey(row[0], row[1]): Trials(*row[2:]) for row in read["trials"]}
        return Snapshot(Facts(**read["facts"]), trials)
    except (zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{where} is damaged: {error}", fix="export it again") from error
