"""The public API: run a suite from Python, as `aegis eval run` does.

```python
import aegis
result = aegis.eval.run(suite="production-v2")
result.verdict, result.pass_rate, result.cases["refund-within-policy"].trials
```

Public names: `run`, `arun`, `resume`, `aresume`, `shrink`, `ashrink`, `audit_leaks`, `aaudit_leaks`, `plan`,
`compare`, `EvalResult`, `CaseResult`, `ComparisonResult`, `ShrinkResult`, `Plan`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from aegis._eval import dryrun, leaks
from aegis._eval import resume as resuming
from aegis._eval import shrink as shrinking
from aegis._eval import start as starting
from aegis._eval.compare import ComparisonResult, compare_runs, policy_without_trials
from aegis._eval.dryrun import Plan
from aegis._eval.keeping import KeepSetting
from aegis._eval.outcome import CaseResult, EvalResult
from aegis._eval.outputs import Outputs
from aegis._eval.request import Isolation, RunRequest, isolation_of, names_of, policy_of
from aegis._eval.shrink import ShrinkResult
from aegis.engine.keeping import Which
from aegis.errors import UsageError
from aegis.report.progress import write_line
from aegis.report.text import one_line
from aegis.results import document as documents
from aegis.results.machines import DEFAULT_MAX_BYTES

__all__ = [
    "CaseResult",
    "ComparisonResult",
    "EvalResult",
    "Plan",
    "ShrinkResult",
    "aaudit_leaks",
    "aresume",
    "arun",
    "ashrink",
    "audit_leaks",
    "compare",
    "plan",
    "resume",
    "run",
    "shrink",
]

T = TypeVar("T")


def run(
    suite: str | Path | None = None,
    *,
    sandbox: bool = True,
    isolation: Isolation | None = None,
    trials: int | None = None,
    fail_under: float | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    last_failed: bool = False,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    record: bool = False,
    replay: str | None = None,
    faults: str | Sequence[str] | None = None,
    stress: str | Sequence[str] | None = None,
    keep: Which = "none",
    checkpoints: int = 0,
    keep_max_bytes: int = DEFAULT_MAX_BYTES,
    baseline: str | None = None,
    confirm: int | None = None,
    min_trials: int | None = None,
    fail_on: str | Sequence[str] | None = None,
    strict: bool = False,
    changed_since: str | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    otlp: str | None = None,
    progress: bool = False,
) -> EvalResult:
    """Run a suite and return what came of it. Blocks; in asynchronous code use `arun`, which has the same
    arguments.

    `suite`: a name or a path; None for the only one of the project, which is looked for from the folder
    `project` (default: the current one) upwards. `sandbox=False` is short for `isolation="none"`. `trials`
    and `timeout_s` (seconds) override the suite's and the cases' own. `fail_under` is in percent, 0–100;
    None: 100, or with a baseline no rate at all.
    `keyword` is the `-k` expression; `last_failed` keeps the cases that the last run did not pass. `seed`
    orders the trials. `jobs` bounds how many run at once. `retries`: how often a trial that ended in an
    infrastructure error is repeated. `env` is added to the agent's environment. `vmm` and `require_kvm`
    restrict the choice of the virtual machine. `record` keeps every response whole; `replay` is the id of a run (or the
    beginning of one, or `latest`) that answers instead of the network: what it has not recorded is refused. `faults`:
    names of fault profiles that stand in place of the suite's own `faults`; `none`: no case meets any.
    `stress`: names of transforms and sets
    whose variants also run, in place of the suite's own `stress`; `none`: cases run as written only.
    `keep`: whose machines stay after their trials, for `aegis trial shell`: `failed` (all that did not pass), `all`,
    `none`. `checkpoints`: before every so many turns the machine is kept too, for `aegis trial fork` (1: before each;
    0: never); those of trials that pass go unless `keep` is `all`. `keep_max_bytes`: the oldest kept machines go when
    all together are larger.
    `baseline`: what the run is compared with: a branch, tag, commit, run id, or file (docs/regression.md).
    `confirm`: fresh trials of each case that looks worse (None: 10; 0: none, the run's own trials decide);
    `min_trials`: judged trials that each case needs; `fail_on`: besides regressions also `drift` or `new-failure`, or
    `never`; `strict`: fewer false alarms, less is found. `changed_since`: a branch, tag or commit; cases whose inputs
    have changed since run first.
    `json_path` and `junit_path`: where to write the run document and JUnit XML (`-`: standard output). `otlp`: URL of a
    collector that gets each trial's trace as OpenTelemetry spans; where that fails, a line on standard error says so.
    `progress` shows progress on standard error.

    The verdict is in the result, also when it is not PASS. Raises `SuiteError`, `UsageError`,
    `NothingSelectedError`, and `InfrastructureError` when no trial could be run at all.
    """
    work = arun(
        suite,
        sandbox=sandbox,
        isolation=isolation,
        trials=trials,
        fail_under=fail_under,
        seed=seed,
        jobs=jobs,
        keyword=keyword,
        last_failed=last_failed,
        retries=retries,
        timeout_s=timeout_s,
        env=env,
        vmm=vmm,
        require_kvm=require_kvm,
        record=record,
        replay=replay,
        faults=faults,
        stress=stress,
        keep=keep,
        checkpoints=checkpoints,
        keep_max_bytes=keep_max_bytes,
        baseline=baseline,
        confirm=confirm,
        min_trials=min_trials,
        fail_on=fail_on,
        strict=strict,
        changed_since=changed_since,
        project=project,
        json_path=json_path,
        junit_path=junit_path,
        otlp=otlp,
        progress=progress,
    )
    return _block(work, "arun")


async def arun(
    suite: str | Path | None = None,
    *,
    sandbox: bool = True,
    isolation: Isolation | None = None,
    trials: int | None = None,
    fail_under: float | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    last_failed: bool = False,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    record: bool = False,
    replay: str | None = None,
    faults: str | Sequence[str] | None = None,
    stress: str | Sequence[str] | None = None,
    keep: Which = "none",
    checkpoints: int = 0,
    keep_max_bytes: int = DEFAULT_MAX_BYTES,
    baseline: str | None = None,
    confirm: int | None = None,
    min_trials: int | None = None,
    fail_on: str | Sequence[str] | None = None,
    strict: bool = False,
    changed_since: str | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    otlp: str | None = None,
    progress: bool = False,
    handle_signals: bool = False,
) -> EvalResult:
    """As `run`, for asynchronous code. Cancelling it destroys the running sandboxes; what is done stays in
    the ledger.

    `handle_signals`: in the main thread, SIGINT lets running trials finish and a second one, or SIGTERM,
    stops them; the result is then `interrupted`. A signal before the first trial raises `KeyboardInterrupt`.
    """
    request = RunRequest(
        suite=suite,
        isolation=isolation_of(isolation or ("vm" if sandbox else "none")),
        trials=trials,
        fail_under=fail_under,
        seed=seed,
        jobs=jobs,
        keyword=keyword,
        last_failed=last_failed,
        retries=retries,
        timeout_s=timeout_s,
        env=dict(env or {}),
        vmm=vmm,
        require_kvm=require_kvm,
        record=record,
        replay=replay,
        faults=names_of(faults),
        stress=names_of(stress),
        keep=KeepSetting(keep, checkpoints, keep_max_bytes),
        baseline=baseline,
        policy=policy_of(confirm=confirm, min_trials=min_trials, fail_on=fail_on, strict=strict),
        changed_since=changed_since,
        project=project,
    )
    if baseline is None and (confirm, min_trials, fail_on, strict) != (None, None, None, False):
        raise UsageError(
            "confirm, min_trials, fail_on and strict are about a comparison, and no baseline is named",
            fix="add --baseline main",
        )
    outputs = Outputs(json_path, junit_path, otlp)
    return await starting.start(request, outputs, show=progress, handle_signals=handle_signals)


def resume(
    run_id: str,
    *,
    jobs: int | None = None,
    retries: int | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
    junit_path: str | Path | None = None,
    otlp: str | None = None,
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
            otlp=otlp,
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
    otlp: str | None = None,
    progress: bool = False,
    handle_signals: bool = False,
) -> EvalResult:
    """As `resume`, for asynchronous code; `handle_signals` as in `arun`."""
    return await resuming.resume(
        run_id,
        Outputs(json_path, junit_path, otlp),
        jobs=jobs,
        retries=retries,
        project=project,
        show=progress,
        handle_signals=handle_signals,
    )


def plan(
    suite: str | Path | None = None,
    *,
    trials: int | None = None,
    seed: int | None = None,
    keyword: str | None = None,
    last_failed: bool = False,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    faults: str | Sequence[str] | None = None,
    stress: str | Sequence[str] | None = None,
    project: str | Path | None = None,
) -> Plan:
    """What `run` with these arguments would do. Reads the project; writes and starts nothing. Raises like
    `run`."""
    request = RunRequest(
        suite=suite,
        trials=trials,
        seed=seed,
        keyword=keyword,
        last_failed=last_failed,
        timeout_s=timeout_s,
        env=dict(env or {}),
        faults=names_of(faults),
        stress=names_of(stress),
        project=project,
    )
    return dryrun.plan(request)


def compare(
    base: str,
    head: str,
    *,
    case: str | None = None,
    variant: str | None = None,
    fail_on: str | Sequence[str] | None = None,
    strict: bool = False,
    min_trials: int | None = None,
    project: str | Path | None = None,
    json_path: str | Path | None = None,
) -> ComparisonResult:
    """How the run `head` compares with the run `base`. Reads what the runs left behind; runs nothing.

    Both are the id of a run (or the beginning of one, or `latest`), an exported file, or a branch, tag or commit with
    results. `case`: what that case did on both sides is in the document too, for `variant` or (None) as it is
    written. `fail_on`: besides regressions also `drift` or `new-failure`, or `never`. `strict`: both levels at 0.01.
    `min_trials`: judged trials that each case of `head` needs. There are no fresh trials to confirm with, so less is
    found than in a run with a baseline. `json_path`: where to write the document (`-`: standard output).

    Raises `UsageError` when one of them isn't there, or when they are of different suites or environments.
    """
    outputs = Outputs(json_path)
    outputs.check()
    policy = policy_without_trials(min_trials=min_trials, fail_on=fail_on, strict=strict)
    result = compare_runs(base, head, policy, case=case, variant=variant, project=project)
    outputs.write_bytes(documents.to_json(result.document))
    return result


def shrink(
    trial: str,
    *,
    budget: int = 30,
    repeat: int = 1,
    project: str | Path | None = None,
    progress: bool = False,
) -> ShrinkResult:
    """Find a smallest set of faults under which a trial still fails, by running it again with fewer. Blocks; in
    asynchronous code use `ashrink`, which has the same arguments.

    `trial` is `RUN/CASE/NUMBER`. At most `budget` runs are made (a few more when infrastructure errors have to be
    repeated); `repeat`: a set is run up to so often, and fails when one run does, for agents that don't always fail.
    Nothing is written to the ledger. Raises `UsageError` for a trial that did not fail or that no fault had hit, and
    `InfrastructureError` when it cannot be run again.
    """
    return _block(ashrink(trial, budget=budget, repeat=repeat, project=project, progress=progress), "ashrink")


async def ashrink(
    trial: str,
    *,
    budget: int = 30,
    repeat: int = 1,
    project: str | Path | None = None,
    progress: bool = False,
) -> ShrinkResult:
    """As `shrink`, for asynchronous code. Cancelling it destroys the running sandbox."""

    def say(text: str) -> None:
        if progress:
            write_line(sys.stderr, one_line(text))

    return await shrinking.shrink(trial, budget=budget, repeat=repeat, project=project, say=say)


def audit_leaks(
    suite: str | Path | None = None,
    *,
    as_mode: Literal["shared", "reset", "fresh"] = "shared",
    orders: int = 3,
    max_probes: int = 120,
    isolation: Isolation = "vm",
    trials: int | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    project: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Run a suite's trials in fresh machines and one after another in shared ones, and find out which results depend on
    what ran before. Blocks; in asynchronous code use `aaudit_leaks`, which has the same arguments.

    `as_mode`: how the team runs its suite, which decides the verdict. `orders`: in how many orders a shared machine
    gets the trials; the suite's own is the first. `max_probes`: at most so many machines are started to find out who
    it was. `seed` decides the shuffled orders. The others as in `run`. Returns the audit document (`aegis.audit/1`);
    nothing is written to the ledger's runs. Raises like `run`.
    """
    return _block(
        aaudit_leaks(
            suite,
            as_mode=as_mode,
            orders=orders,
            max_probes=max_probes,
            isolation=isolation,
            trials=trials,
            seed=seed,
            jobs=jobs,
            keyword=keyword,
            retries=retries,
            timeout_s=timeout_s,
            env=env,
            vmm=vmm,
            require_kvm=require_kvm,
            project=project,
            progress=progress,
        ),
        "aaudit_leaks",
    )


async def aaudit_leaks(
    suite: str | Path | None = None,
    *,
    as_mode: Literal["shared", "reset", "fresh"] = "shared",
    orders: int = 3,
    max_probes: int = 120,
    isolation: Isolation = "vm",
    trials: int | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    keyword: str | None = None,
    retries: int = 2,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    vmm: str | None = None,
    require_kvm: bool = False,
    project: str | Path | None = None,
    progress: bool = False,
    handle_signals: bool = False,
) -> dict[str, Any]:
    """As `audit_leaks`, for asynchronous code. Cancelling it destroys the running sandboxes. `handle_signals`: in the
    main thread, SIGINT and SIGTERM do that, and raise `KeyboardInterrupt`."""
    request = RunRequest(
        suite=suite,
        isolation=isolation_of(isolation),
        trials=trials,
        seed=seed,
        jobs=jobs,
        keyword=keyword,
        retries=retries,
        timeout_s=timeout_s,
        env=dict(env or {}),
        vmm=vmm,
        require_kvm=require_kvm,
        project=project,
    )
    return await leaks.audit(
        leaks.LeakRequest(request, as_mode, orders, max_probes), show=progress, handle_signals=handle_signals
    )


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
