"""What must be equal for two runs, and for two cases, to be comparable: never the agent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aegis.engine.spec import PlannedTrial
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
    return _digest(
        {
            **_around(suite, image=image, isolation=isolation, network=network),
            "cases": [
                _content(case, files[case.id]) for case in sorted(suite.cases, key=lambda case: case.id)
            ],
        }
    )


def environment(suite: Suite, *, isolation: str, network: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the same without the cases: what two runs must share to be compared at all.

    The image counts by its reference, not by its content: it is built anew now and then, and what it holds for the
    agent is part of the agent.
    """
    return _digest(_around(suite, image=suite.sandbox.image, isolation=isolation, network=network))


def contents(
    planned: Iterable[PlannedTrial],
    files: Mapping[str, CaseFiles],
    case_of: Callable[[str, str], Case],
) -> dict[tuple[str, str], str]:
    """(case, variant) → 16 hex digits of the SHA-256 over what the agent meets in it and what is expected of it:
    cases of another content are not compared. `case_of` makes a case as its variant changes it."""
    pairs = dict.fromkeys((trial.case, trial.variant) for trial in planned)
    return {pair: _digest(_content_of_variant(case_of(*pair), files[pair[0]]))[:16] for pair in pairs}


def _content_of_variant(case: Case, files: CaseFiles) -> dict[str, Any]:
    content = _content(case, files)
    # Which other variants there are is no part of this one.
    content.pop("stress", None)
    if case.rewrites:
        content["rewrites"] = [rule.model_dump(mode="json", exclude={"source"}) for rule in case.rewrites]
    return content


def _around(suite: Suite, *, image: str, isolation: str, network: Mapping[str, Any]) -> dict[str, Any]:
    services = [
        service.model_dump(mode="json", exclude={"ready_timeout"}) for service in suite.sandbox.services
    ]
    return {
        "suite": suite.suite,
        "protocol": suite.agent.protocol,
        **({"permissions": suite.agent.permissions} if suite.agent.protocol == "acp" else {}),
        "machine": {
            "image": image,
            "memory": suite.sandbox.memory,
            "cpus": suite.sandbox.cpus,
            **({"services": services} if services else {}),
        },
        "isolation": isolation,
        "network": dict(network),
    }


def _digest(content: Mapping[str, Any]) -> str:
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
