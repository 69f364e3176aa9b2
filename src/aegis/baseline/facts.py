"""What is known of a run as a small JSON file, and whether such a run can be a baseline."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.baseline.found import Wanted
from aegis.regression.snapshot import Facts
from aegis.results.records import RunRecord

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_META_BYTES = 64 * 1024
_MAX_TEXT_CHARS = 1000
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Meta:
    """What the git ref knows of a run without its snapshot."""

    facts: Facts
    prefix: str
    """The project's folder in the repository: one repository may hold several projects."""
    sha256: str
    """Of the snapshot's bytes."""


def meta_bytes(meta: Meta) -> bytes:
    data = {"facts": dataclasses.asdict(meta.facts), "prefix": meta.prefix, "sha256": meta.sha256}
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def read_meta(data: bytes, run_id: str) -> Meta:
    """The other way. The bytes come from whoever may push: raises `ValueError`, with the reason, unless each field is
    what it must be. Fields that this version doesn't know are left out."""
    try:
        read = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("its description is no JSON") from error
    if not isinstance(read, dict) or not isinstance(read.get("facts"), dict):
        raise ValueError("its description has no facts")
    facts = _facts(read["facts"])
    if facts.run_id != run_id:
        raise ValueError("its description is of another run")
    prefix, sha256 = read.get("prefix", ""), read.get("sha256")
    if not isinstance(prefix, str) or len(prefix) > _MAX_TEXT_CHARS:
        raise ValueError("its description has a wrong prefix")
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise ValueError("its description has no digest")
    return Meta(facts, prefix, sha256)


def _facts(read: Mapping[str, Any]) -> Facts:
    given: dict[str, Any] = {}
    for field in dataclasses.fields(Facts):
        if field.name not in read:
            if field.default is dataclasses.MISSING:
                raise ValueError(f"its description lacks {field.name}")
            continue
        value = read[field.name]
        if not _fits(value, str(field.type)):
            raise ValueError(f"its description has a wrong {field.name}")
        given[field.name] = value
    facts = Facts(**given)
    if facts.commit is not None and not _COMMIT.fullmatch(facts.commit):
        raise ValueError("its description has a wrong commit")
    return facts


def _fits(value: object, kind: str) -> bool:
    match kind:
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12
        case "str":
            return isinstance(value, str) and len(value) <= _MAX_TEXT_CHARS
        case _:
            return value is None or (isinstance(value, str) and len(value) <= _MAX_TEXT_CHARS)


def facts_of(run: RunRecord) -> Facts:
    """Of a run in the ledger (its summary will do)."""
    document = run.document or {}
    isolation, git = document.get("isolation") or {}, document.get("git") or {}
    counts = document.get("counts") or {}
    return Facts(
        run_id=run.run_id,
        suite=run.suite,
        environment=document.get("environment") or "",
        isolation=isolation.get("driver") or "unknown",
        accel=isolation.get("accel"),
        commit=git.get("commit"),
        branch=git.get("branch"),
        dirty=bool(git.get("dirty")),
        started_at=document.get("started_at") or run.created_at,
        complete=run.status == "complete" and not counts.get("cancelled"),
        selected=bool(document.get("selected")),
        replay_of=document.get("replay_of"),
        verdict=document.get("verdict") or "",
        passed=counts.get("passed", 0),
        planned=counts.get("planned", 0),
    )


def never(facts: Facts) -> str | None:
    """Why such a run can be no baseline, however it is asked for; None when it can."""
    if facts.replay_of:
        return f"it was answered from the recording of run {facts.replay_of}"
    if not facts.complete:
        return "it is not complete: some of its trials were not run"
    if facts.isolation == "process":
        return "it ran without isolation"
    if not facts.environment:
        return "it was made by an Aegis that kept nothing to compare with"
    return None


def not_by_itself(facts: Facts) -> str | None:
    """Why such a run is taken only when it is named; None when it is taken anyway."""
    if facts.commit is None:
        return "it was made outside of a commit"
    if facts.dirty:
        return "it ran with uncommitted changes"
    if facts.selected:
        return "only some of the suite's cases were run"
    return None


def mismatch(facts: Facts, wanted: Wanted) -> str | None:
    """Why the run can't be compared with this one; None when it can."""
    if facts.suite != wanted.suite:
        return f"it is of the suite {facts.suite}, not {wanted.suite}"
    if facts.run_id == wanted.run_id:
        return "it is the run that is to be compared"
    if facts.environment != wanted.environment:
        return f"it ran in another environment than this run's ({driver(facts)}; machine, network or agent's protocol)"
    return None


def driver(facts: Facts) -> str:
    return f"driver {facts.isolation}" + (f" with {facts.accel}" if facts.accel else "")
