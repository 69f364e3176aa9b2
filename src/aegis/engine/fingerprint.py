"""What must be equal for two runs to be comparable: the cases and the world they run in, never the agent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aegis.engine.template import CaseFiles
from aegis.suite.document import turn_document
from aegis.suite.model import Case, Suite, Turn


def fingerprint(
    suite: Suite,
    files: Mapping[str, CaseFiles],
    *,
    image: str,
    isolation: str,
    network: Mapping[str, Any],
) -> str:
    """SHA-256 (hex) over the suite's cases with the contents of their files, the machine, the isolation, and what can
    be reached.

    `image` is the image's digest where it is known, else its reference; `isolation` is `vm` or `none`; `network` is
    `Resolved.describe()`: a route that applies on one host only makes two runs of the same suite differ. Not in it:
    the agent and its set-up, numbers of trials, timeouts, descriptions, order of cases, places in files, and what the
    programs of upstreams read.
    """
    content = {
        "suite": suite.suite,
        "protocol": suite.agent.protocol,
        **({"permissions": suite.agent.permissions} if suite.agent.protocol == "acp" else {}),
        "machine": {"image": image, "memory": suite.sandbox.memory, "cpus": suite.sandbox.cpus},
        "isolation": isolation,
        "network": dict(network),
        "cases": [_content(case, files[case.id]) for case in sorted(suite.cases, key=lambda case: case.id)],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _content(case: Case, files: CaseFiles) -> dict[str, Any]:
    faults = [rule.model_dump(mode="json", exclude={"source"}) for rule in case.faults]
    return {
        "id": case.id,
        "turns": [_turn(turn) for turn in case.turns],
        "world": {
            "files": files.world,
            "run": case.world.run,
            **({} if case.world.clock is None else {"clock": case.world.clock.model_dump(mode="json")}),
        },
        "expect": [[item.scorer, item.config] for item in case.expect],
        "checks": dict(files.checks),
        **({"faults": faults} if faults else {}),
        **({"stress": [rule.model_dump(mode="json") for rule in case.stress]} if case.stress else {}),
    }


def _turn(turn: Turn) -> Any:
    """The message alone where there is nothing else, as it always was: fingerprints stay what they are."""
    if turn.simulate is None and not turn.expect:
        return turn.user
    return turn_document(turn)
