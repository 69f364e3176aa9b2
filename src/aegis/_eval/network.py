"""From a suite to the network that its trials are connected to on this host."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis._eval.prepare import Prepared
from aegis._eval.replay import Recorded
from aegis.engine.network import RunNetwork
from aegis.engine.resolve import Resolved, resolve
from aegis.engine.spec import PlannedTrial
from aegis.errors import UsageError
from aegis.gateway.gateway import Recordings
from aegis.results import Ledger
from aegis.suite.model import Suite

if TYPE_CHECKING:
    from aegis._eval.session import Setting


def resolve_suite(suite: Suite, *, replay: bool, environ: Mapping[str, str] | None = None) -> Resolved:
    """The suite's network with what this host has for its secrets. Raises `UsageError` for one that is missing."""
    return resolve(
        suite.network, suite.agent.secrets, os.environ if environ is None else environ, replay=replay
    )


def make_network(
    resolved: Resolved,
    prepared: Prepared,
    plan: Sequence[PlannedTrial],
    setting: Setting,
    ledger: Ledger,
    root: Path,
    *,
    replay: Recordings | None = None,
    carried: Mapping[str, Any] | None = None,
) -> RunNetwork:
    """The run's network; nothing is started yet. Raises `UsageError`, also when the run that answers in a replay has
    no recording of a trial in the plan. `replay`: answers in place of the setting's; `carried` as in `RunNetwork`."""
    bundle = None if prepared.ca_bundle is None else _text(ledger.blobs.get(prepared.ca_bundle))
    recorded = replay
    if setting.replay_of is not None:
        recorded = answers = Recorded(ledger, setting.replay_of)
        answers.check(plan)
    return RunNetwork(
        resolved,
        ledger.blobs,
        root=root,
        ca_bundle=bundle,
        record=setting.record,
        replay=recorded,
        carried=carried,
    )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"network.ca_bundle is not a PEM file: {error}", fix="name a file of PEM certificates"
        ) from error
