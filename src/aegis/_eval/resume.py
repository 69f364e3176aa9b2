"""Resuming a run from what the ledger keeps of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from aegis._eval import against, prepare
from aegis._eval.against import Comparing
from aegis._eval.keeping import KeepSetting
from aegis._eval.network import make_network, resolve_suite
from aegis._eval.outcome import EvalResult
from aegis._eval.outputs import Outputs
from aegis._eval.prepare import LEDGER_FOLDER, Prepared
from aegis._eval.request import RunRequest, check_limits, isolation_of
from aegis._eval.session import Job, Setting, conclude, execute
from aegis.engine.plan import shuffled
from aegis.engine.resolve import Resolved
from aegis.engine.spec import PlannedTrial
from aegis.errors import SuiteError, UsageError
from aegis.report.progress import write_line
from aegis.results import Ledger, RunRecord
from aegis.results.records import PLAN
from aegis.sandbox.base import DriverInfo
from aegis.suite import find_project


async def resume(
    run_id: str,
    outputs: Outputs,
    *,
    jobs: int | None,
    retries: int | None,
    project: str | Path | None,
    show: bool,
    handle_signals: bool,
) -> EvalResult:
    """Run what is missing. Raises like `aegis.eval.resume`."""
    check_limits(jobs=jobs, retries=retries or 0)
    outputs.check()
    found = find_project(Path(project or "."))
    with closing(Ledger(found.root / LEDGER_FOLDER)) as ledger:
        record = ledger.run(run_id)
        missing = ledger.missing(record.run_id)
        if not missing and record.document is not None and record.status == "complete":
            if show:
                write_line(sys.stderr, f"run {record.run_id} misses nothing")
            outputs.write(record.document)
            outputs.export(record.document, ledger)
            return EvalResult(record.document)
        if not missing and not _waits_for_confirmation(record, ledger):
            ledger.claim_run(record.run_id)
            return conclude(ledger, record.run_id, outputs, 0.0)
        job = _resumed(record, missing, found.root, ledger, jobs=jobs, retries=retries)
        note = _changed_since(record, job.prepared, found.root)
        return await execute(job, outputs, show=show, handle_signals=handle_signals, notes=note)


def _waits_for_confirmation(record: RunRecord, ledger: Ledger) -> bool:
    """Whether the run was stopped between its last planned trial and the first fresh one of a suspect."""
    kept = record.config.get("baseline")
    return kept is not None and bool(Comparing(ledger, kept).unplanned(against.now_of(ledger, record.run_id)))


def _resumed(
    record: RunRecord,
    missing: list[tuple[str, str, int]],
    root: Path,
    ledger: Ledger,
    *,
    jobs: int | None,
    retries: int | None,
) -> Job:
    requested = record.config["requested"]
    setting = Setting(
        isolation=isolation_of(requested["isolation"]),
        vmm=requested["vmm"],
        require_kvm=requested["require_kvm"],
        jobs=requested["jobs"] if jobs is None else jobs,
        retries=requested["retries"] if retries is None else retries,
        seed=record.config["seed"],
        record=requested.get("record", False),
        replay_of=record.config.get("replay_of"),
        keep=KeepSetting.from_json(requested.get("keep")),
    )
    prepared = Prepared.from_json(json.loads(ledger.blobs.get(record.config["content"])))
    planned = tuple(PlannedTrial(*trial) for trial in missing)
    resolved = resolve_suite(prepared.suite, replay=setting.replay_of is not None)
    _refuse_other_network(record, resolved)
    kept = record.config.get("baseline")
    return Job(
        run_id=record.run_id,
        root=root,
        prepared=prepared,
        plan=shuffled(planned, setting.seed),
        setting=setting,
        ledger=ledger,
        network=make_network(resolved, prepared, planned, setting, ledger, root),
        base=Path(record.config["suite_path"]).parent,
        begin=lambda info: _claim(record, info, ledger),
        comparing=None if kept is None else Comparing(ledger, kept),
        whole=Counter(
            (trial.case, trial.variant) for trial in ledger.trials(record.run_id) if trial.purpose == PLAN
        ),
        earlier_s=(record.document or {}).get("duration_s", 0.0),
    )


def _refuse_other_network(record: RunRecord, resolved: Resolved) -> None:
    """A route with `unless` depends on this host's environment: half of a run against a model and half against what
    stands in for it would be no run at all."""
    before = record.config.get("network", {}).get("routes")
    if before is None or before == resolved.describe()["routes"]:
        return
    secrets = sorted({route.unless for route in resolved.network.routes.values() if route.unless})
    raise UsageError(
        f"run {record.run_id} was begun with other routes than this environment gives it ({', '.join(secrets)})",
        fix="resume it with the secrets that it was begun with, or start a new run",
    )


def _claim(record: RunRecord, info: DriverInfo, ledger: Ledger) -> None:
    before = record.config["isolation"]
    if (info.driver, info.accel) != (before["driver"], before["accel"]):
        was, now = (f"{driver}/{accel or '-'}" for driver, accel in _kinds(before, info))
        raise UsageError(
            f"run {record.run_id} was begun on {was} and cannot go on on {now}",
            fix="resume it where it was begun, or start a new run",
        )
    ledger.claim_run(record.run_id)


def _kinds(before: Mapping[str, Any], info: DriverInfo) -> tuple[tuple[str, str | None], ...]:
    return (before["driver"], before["accel"]), (info.driver, info.accel)


def _changed_since(record: RunRecord, prepared: Prepared, root: Path) -> list[str]:
    """A line that says that the suite in the project is no longer the one of the run; empty when it is."""
    request = RunRequest(suite=record.config["suite_path"], env=record.config["env"], project=root)
    try:
        same = prepare.find(request).suite == prepared.suite
    except (SuiteError, UsageError):
        same = False
    return [] if same else [f"the suite has changed since: run {record.run_id} is finished as it was planned"]
