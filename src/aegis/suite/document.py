"""A `Suite` back in the shape of its file, so that one made in Python passes the same checks as one that was
read."""

from __future__ import annotations

from typing import Any

from aegis.suite.model import Case, Suite
from aegis.suite.units import format_duration, format_size


def to_document(suite: Suite) -> dict[str, Any]:
    """Plain data that loads to an equal suite, apart from where its cases stand (`source_file`, lines)."""
    sandbox = suite.sandbox
    return {
        "suite": suite.suite,
        "description": suite.description,
        "agent": suite.agent.model_dump(),
        "sandbox": {
            **sandbox.model_dump(),
            "memory": format_size(sandbox.memory),
            "setup": list(sandbox.setup),
        },
        "trials": suite.trials,
        "timeout": format_duration(suite.timeout),
        "cases": [_case(case) for case in suite.cases],
    }


def _case(case: Case) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": case.id,
        "tags": list(case.tags),
        "description": case.description,
        "conversation": [{"user": turn.user} for turn in case.turns],
        "world": {"files": dict(case.world.files), "run": list(case.world.run)},
        "expect": [{entry.scorer: entry.config} for entry in case.expect],
    }
    if case.trials is not None:
        document["trials"] = case.trials
    if case.timeout is not None:
        document["timeout"] = format_duration(case.timeout)
    return document
