"""The public API: run a suite from Python, as `aegis eval run` does.

```python
import aegis
result = aegis.eval.run(suite="production-v2")
result.verdict, result.pass_rate, result.cases["refund-within-policy"].trials
```

Public names: `run`, `arun`, `resume`, `aresume`, `plan`, `EvalResult`, `CaseResult`, `Plan`, `new_run_id`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aegis._eval import prepare
from aegis._eval.gitinfo import git_info
from aegis._eval.outcome import CaseResult, EvalResult
from aegis._eval.outputs import Outputs
from aegis._eval.prepare import LEDGER_FOLDER, Prepared, Source
from aegis._eval.request import Isolation, RunRequest, check_limits, isolation_of
from aegis._eval.session import Job, Setting, conclude, execute, image_identity, new_run_id, utc_now
from aegis.engine.fingerprint import fingerprint
from aegis.engine.spec import PlannedTrial
from aegis.errors import SuiteError, UsageError
from aegis.results import Ledger, RunRecord
from aegis.sandbox.base import DriverInfo
from aegis.suite import find_project

__all__ = ["CaseResult", "EvalResult", "Plan", "aresume", "arun", "new_run_id", "plan", "resume", "run"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do (`aegis eval run --dry-run`)."""

    source: Source
    prepared: Prepared
    trials: tuple[PlannedTrial, ...]
    """In the order of the run."""
    seed: int
    files_bytes: int
    """Size of the archive that would go into the template."""


def run(
    suite: str | Path | None = None,
    *,
    sandbox: bool = True,
    isolation: Isolation | None = None,
    trials: int | None = None,
    fail_under: float = 100.0,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    last_failed: bool = False,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    progress: bool = False,
) -> EvalResult:
    """Run a suite and return what came of it. Blocks; in asynchronous code use `arun`, which has the same
    arguments.

    `suite`: a name or a path; None for the only one of the project, which is looked for from the folder
    `project` (default: the current one) upwards. `sandbox=False` is short for `isolation="none"`. `trials`
    and `timeout_s` (seconds) override the suite's and the cases' own. `fail_under` is in percent, 0–100.
    `keyword` is the `-k` expression; `last_failed` keeps the cases that the last run did not pass. `seed`
    orders the trials. `jobs` bounds how many run at once. `retries`: how often a trial that ended in an
    infrastructure error is repeated. `env` is added to the agent's environment. `vmm` and `require_kvm`
    restrict the choice of the virtual machine. `json_path` and `junit_path`: where to write the run document
    and JUnit XML (`-`: standard output). `progress` shows progress on standard error.

    The verdict is in the result, also when it is not PASS. Raises `SuiteError`, `UsageError`,
    `NothingSelectedError`, and `InfrastructureError` when no trial could be run at all.
    """
    request = _request(locals())
    return _block(_arun(request, Outputs(json_path, junit_path), show=progress), "arun")


async def arun(
    suite: str | Path | None = None,
    *,
    sandbox: bool = True,
    isolation: Isolation | None = None,
    trials: int | None = None,
    fail_under: float = 100.0,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    last_failed: bool = False,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    progress: bool = False,
    handle_signals: bool = False,
) -> EvalResult:
    """As `run`, for asynchronous code. Cancelling it destroys the running sandboxes; what is done stays in
    the ledger.

    `handle_signals`: in the main thread, SIGINT lets running trials finish and a second one, or SIGTERM,
    stops them; the result is then `interrupted`. A signal before the first trial raises `KeyboardInterrupt`.
    """
    request = _request(locals())
    return await _arun(request, Outputs(json_path, junit_path), show=progress, handle_signals=handle_signals)


def resume(
    run_id: str,
    *,
    jobs: int | None = None,
    retries: int | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    progress: bool = False,
) -> EvalResult:
    """Run what is missing of an interrupted run, as it was planned, whatever became of the suite file since.

    `run_id` may be shortened, or `latest`. A run that misses nothing comes back as it is. Blocks, like `run`.
    Raises `UsageError` when there is no such run, or when it is still going on.
    """
    return _block(
        aresume(
            run_id,
            jobs=jobs,
            retries=retries,
            project=project,
            json_path=json_path,
            junit_path=junit_path,
            progress=progress,
        ),
        "aresume",
    )


async def aresume(
    run_id: str,
    *,
    jobs: int | None = None,
    retries: int | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    progress: bool = False,
    handle_signals: bool = False,
) -> EvalResult:
    """As `resume`, for asynchronous code; `handle_signals` as in `arun`."""
    check_limits(jobs=jobs, retries=retries or 0)
    outputs = Outputs(json_path, junit_path)
    outputs.check()
    found = find_project(Path(project or "."))
    with closing(Ledger(found.root / LEDGER_FOLDER)) as ledger:
        record = ledger.run(run_id)
        missing = ledger.missing(record.run_id)
        if not missing and record.document is not None:
            outputs.write(record.document)
            return EvalResult(record.document)
        job = _resumed(record, missing, found.root, ledger, jobs=jobs, retries=retries)
        if not missing:
            ledger.claim_run(job.run_id)
            return conclude(job, outputs, job.earlier_s)
        note = _changed_since(record, job.prepared, found.root)
        return await execute(job, outputs, show=progress, handle_signals=handle_signals, notes=note)


def plan(request: RunRequest) -> Plan:
    """What `run` with these arguments would do. Reads the project; writes and starts nothing."""
    request.check()
    source = prepare.find(request)
    failed = _failed_before(request, source)
    trials, seed = prepare.choose(request, source.suite, failed)
    measured = _Measure()
    prepared = prepare.read_files(source, measured, request.timeout_s)
    size = measured.sizes.get(prepared.recipe.files or "", 0)
    return Plan(source, prepared, trials, seed, size)


async def _arun(
    request: RunRequest, outputs: Outputs, *, show: bool, handle_signals: bool = False
) -> EvalResult:
    request.check()
    outputs.check()
    source = prepare.find(request)
    failed = _failed_before(request, source)
    trials, seed = prepare.choose(request, source.suite, failed)
    with closing(Ledger(source.project.root / LEDGER_FOLDER)) as ledger:
        prepared = prepare.read_files(source, ledger.blobs, request.timeout_s)
        setting = Setting(
            isolation=request.isolation,
            vmm=request.vmm,
            require_kvm=request.require_kvm,
            jobs=request.jobs,
            retries=request.retries,
            seed=seed,
        )
        run_id = new_run_id()

        def begin(info: DriverInfo) -> None:
            config = _config(request, source, prepared, setting, ledger, info)
            record = RunRecord(run_id, source.suite.suite, "running", config["started_at"], config)
            ledger.create_run(record, trials)

        job = Job(run_id, source.project.root, prepared, trials, setting, ledger, begin)
        return await execute(job, outputs, show=show, handle_signals=handle_signals)


def _request(arguments: Mapping[str, Any]) -> RunRequest:
    isolation = arguments["isolation"] or ("vm" if arguments["sandbox"] else "none")
    names = RunRequest.__dataclass_fields__.keys() - {"isolation", "env"}
    values = {name: arguments[name] for name in names}
    return RunRequest(isolation=isolation_of(isolation), env=dict(arguments["env"] or {}), **values)


def _failed_before(request: RunRequest, source: Source) -> set[str] | None:
    if not request.last_failed:
        return None
    return prepare.last_failed(source.project.root / LEDGER_FOLDER, source.suite.suite)


def _config(
    request: RunRequest,
    source: Source,
    prepared: Prepared,
    setting: Setting,
    ledger: Ledger,
    info: DriverInfo,
) -> dict[str, Any]:
    """What the ledger keeps of a run; the suite itself is a blob, as it may be large."""
    image = image_identity(setting, prepared.recipe.image, source.project.root)
    content = json.dumps(prepared.to_json(), separators=(",", ":")).encode("ascii")
    return {
        "content": ledger.blobs.put(content),
        "suite_path": str(source.path),
        "requested": {
            "isolation": setting.isolation,
            "vmm": setting.vmm,
            "require_kvm": setting.require_kvm,
            "jobs": setting.jobs,
            "retries": setting.retries,
        },
        "env": dict(request.env),
        "fail_under": request.fail_under,
        "seed": setting.seed,
        "isolation": {
            "driver": info.driver,
            "accel": info.accel,
            "security_boundary": info.security_boundary,
            "isolated_state": info.isolated_state,
            "version": info.version,
        },
        "git": git_info(source.project.root),
        "fingerprint": fingerprint(source.suite, prepared.files, image=image, isolation=setting.isolation),
        "started_at": utc_now(),
    }


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
    )
    return Job(
        run_id=record.run_id,
        root=root,
        prepared=Prepared.from_json(json.loads(ledger.blobs.get(record.config["content"]))),
        plan=tuple(PlannedTrial(*trial) for trial in missing),
        setting=setting,
        ledger=ledger,
        begin=lambda info: _claim(record, info, ledger),
        earlier_s=(record.document or {}).get("duration_s", 0.0),
    )


def _claim(record: RunRecord, info: DriverInfo, ledger: Ledger) -> None:
    before = record.config["isolation"]
    if (info.driver, info.accel) != (before["driver"], before["accel"]):
        was, now = (f"{driver}/{accel or '-'}" for driver, accel in _kinds(before, info))
        raise UsageError(
            f"run {record.run_id} was begun on {was} and would go on on {now}: one run has one kind of machine",
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


def _block(work: Coroutine[Any, Any, T], instead: str) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise UsageError(
        "an event loop is running in this thread, so this call would block it",
        fix=f"use: await aegis.eval.{instead}(...)",
    )


class _Measure:
    """Takes the place of the blobs where nothing may be written: keeps sizes only."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.sizes[digest] = len(data)
        return digest

    def get(self, digest: str) -> bytes:
        raise KeyError(digest)
