"""One run from its first sandbox to its document."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aegis import agents
from aegis._eval import against
from aegis._eval.against import Comparing, Now
from aegis._eval.header import decide_jobs, isolation_lines, network_lines, plan_line
from aegis._eval.importable import importable
from aegis._eval.keeping import KeepSetting
from aegis._eval.outcome import EvalResult
from aegis._eval.outputs import Outputs
from aegis._eval.prepare import Prepared, by_id
from aegis._eval.request import Isolation
from aegis._eval.signals import StopSignals
from aegis._eval.sink import LedgerSink
from aegis.engine.events import Event, Listener, Message, TrialFinished, TrialRetrying, TrialStarted
from aegis.engine.local import LocalEngine
from aegis.engine.network import RunNetwork
from aegis.engine.plan import shuffled
from aegis.engine.spec import PlannedTrial
from aegis.engine.trial import TrialTools
from aegis.errors import AegisError
from aegis.llm.cache import FolderCache
from aegis.regression import snapshot as snapshots
from aegis.regression.nocycles import uncollected
from aegis.regression.trials import CaseKey
from aegis.report.terminal import Progress
from aegis.report.text import counted
from aegis.results import Ledger, verdict
from aegis.results import document as documents
from aegis.results.records import PLAN
from aegis.sandbox.base import Driver, DriverInfo, Template
from aegis.sandbox.select import open_driver
from aegis.scoring import registry

ANSWERS_FOLDER = "answers"
"""Below the ledger's folder: what the models of judges and of simulated users have answered."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a run is executed, apart from what it runs."""

    isolation: Isolation
    vmm: str | None
    require_kvm: bool
    jobs: int | None
    retries: int
    seed: int
    record: bool = False
    replay_of: str | None = None
    """Id of the run that answers instead of the network."""
    keep: KeepSetting = field(default_factory=KeepSetting)


@dataclass(frozen=True, slots=True)
class Job:
    """Trials to run, what they are connected to, and where their results go."""

    run_id: str
    root: Path
    """The project's folder, which image files are relative to."""
    prepared: Prepared
    plan: Sequence[PlannedTrial]
    """In the order of execution."""
    setting: Setting
    ledger: Ledger
    network: RunNetwork
    base: Path
    """The suite file's folder."""
    begin: Callable[[DriverInfo], None]
    """Called when the template stands, before the first trial: puts the run into the ledger, or claims it."""
    earlier_s: float = 0.0
    """Seconds that earlier executions of the run took."""
    comparing: Comparing | None = None
    """With a baseline, when one was asked for."""
    whole: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(case, variant) → trials of the whole plan, also those that were run before."""


def new_run_id() -> str:
    """`YYYYMMDD-HHMMSS-xxxx`, in UTC: sorts by time, and two runs of one second differ."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


async def execute(
    job: Job, outputs: Outputs, *, show: bool, handle_signals: bool, notes: Sequence[str] = ()
) -> EvalResult:
    """Run the job's trials, conclude the run, and write the outputs. `notes` are shown first.

    Raises what keeps the run from starting or going on (`AegisError`); what was done until then is in the
    ledger, and once the run exists there, so is its document. A signal before that raises
    `KeyboardInterrupt`.
    """
    execution = _Execution(job, Progress(len(job.plan), quiet=not show))
    signals = StopSignals(execution.progress.message, enabled=handle_signals)
    try:
        with execution.progress, signals:
            for note in (*notes, *network_lines(job.network.resolved, job.setting)):
                execution.progress.message(note)
            with importable(job.root, job.base):
                await execution.run(signals)
    except BaseException as error:
        if execution.begun is not None:
            # The first error is the one to tell; the ledger marks a run that could not be concluded as
            # interrupted.
            with contextlib.suppress(AegisError):
                conclude(job.ledger, job.run_id, outputs, execution.duration_s())
        elif isinstance(error, asyncio.CancelledError) and signals.requested:
            raise KeyboardInterrupt from None
        raise
    return conclude(job.ledger, job.run_id, outputs, execution.duration_s())


class _Execution:
    """The part of a run in which sandboxes exist."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.job = job
        self.progress = progress
        self.begun: float | None = None
        """Monotonic time since which the run is in the ledger."""

    def duration_s(self) -> float:
        return self.job.earlier_s + time.monotonic() - (self.begun or time.monotonic())

    async def run(self, signals: StopSignals) -> None:
        job, setting, recipe = self.job, self.job.setting, self.job.prepared.recipe
        self.progress.message(plan_line(job.prepared.suite, job.plan, setting.seed, job.run_id))
        files_tar = b"" if recipe.files is None else job.ledger.blobs.get(recipe.files)
        most = min(setting.jobs or os.cpu_count() or 1, max(1, len(job.plan)))
        async with open_driver(
            setting.isolation,
            base_dir=job.root,
            vmm=setting.vmm,
            require_kvm=setting.require_kvm,
            jobs=most,
            keepable=setting.keep.any,
        ) as driver:
            spec = recipe.spec(files_tar)
            template = await driver.template(spec, progress=self.progress.message)
            jobs, why = decide_jobs(setting.jobs, driver.slots(spec), len(job.plan), spec.memory_bytes)
            for line in isolation_lines(driver.info, jobs, why):
                self.progress.message(line)
            async with job.network:
                job.begin(driver.info)
                self.begun = time.monotonic()
                engine = self._engine(driver, template, jobs)
                signals.attach(engine)
                await engine.run(job.plan)
                if job.comparing is not None and not engine.stopping:
                    await self._confirm(engine, job.comparing)

    async def _confirm(self, engine: LocalEngine, comparing: Comparing) -> None:
        """Run the fresh trials that the comparison wants, of those that have no outcome yet."""
        ledger, run_id = self.job.ledger, self.job.run_id
        wanted = comparing.to_confirm(against.now_of(ledger, run_id))
        ledger.add_confirmations(run_id, wanted)
        missing = {PlannedTrial(*trial) for trial in ledger.missing(run_id)}
        plan = shuffled([trial for trial in wanted if trial in missing], self.job.setting.seed)
        if not plan:
            return
        cases = dict.fromkeys(str(CaseKey(trial.case, trial.variant)) for trial in plan)
        self.progress.message(
            f"{counted(len(cases), 'case')} may have got worse: {counted(len(plan), 'fresh trial')} to confirm "
            f"({', '.join(cases)})"
        )
        self.progress.expect_more(len(plan))
        await engine.run(plan)

    def _engine(self, driver: Driver, template: Template, jobs: int) -> LocalEngine:
        job = self.job
        cases = by_id(job.prepared.suite)
        return LocalEngine(
            TrialTools(
                driver=driver,
                template=template,
                blobs=job.ledger.blobs,
                agent_driver=agents.get,
                scorer=registry.get,
                network=job.network,
                answers=FolderCache(job.ledger.folder / ANSWERS_FOLDER),
                keeping=job.setting.keep.keeping(job.ledger.folder, job.network, self.progress.message),
            ),
            lambda planned, epoch: job.prepared.spec(
                job.run_id, planned, epoch, cases, like=self._like(planned)
            ),
            LedgerSink(job.ledger, job.run_id),
            jobs=jobs,
            retries=job.setting.retries,
            listener=_listener(self.progress),
        )

    def _like(self, planned: PlannedTrial) -> int | None:
        """The planned trial whose weather a fresh one meets."""
        number = self.job.whole.get((planned.case, planned.variant), planned.number)
        return None if planned.number <= number else documents.weather_of(planned.number, number)


def conclude(ledger: Ledger, run_id: str, outputs: Outputs, duration_s: float) -> EvalResult:
    """Make the document of what the ledger holds, compared with its baseline where it has one, keep it there, and write
    the outputs."""
    with uncollected():
        document, unfinished = _concluded(ledger, run_id, duration_s)
    outputs.write(document)
    outputs.export(document, ledger)
    return EvalResult(document, interrupted=unfinished)


def _concluded(ledger: Ledger, run_id: str, duration_s: float) -> tuple[dict[str, Any], bool]:
    """The document, and whether trials of the run were not done. The ledger has both."""
    now = against.now_of(ledger, run_id)
    unfinished = any(trial.outcome is None for trial in now.trials)
    compared = None
    if (baseline := now.run.config.get("baseline")) is not None:
        comparing = Comparing(ledger, baseline)
        unfinished = unfinished or bool(comparing.unplanned(now))
        compared = comparing.judge(now, _threshold(now))
    document = documents.build(
        now.run,
        now.trials,
        duration_s=round(duration_s, 3),
        compared=compared,
        places=against.contents_of(ledger, now.run)[1],
    )
    facts = replace(now.snapshot.facts, verdict=document["verdict"])
    document["snapshot"] = ledger.blobs.put(snapshots.to_bytes(replace(now.snapshot, facts=facts)))
    ledger.finish_run(run_id, "interrupted" if unfinished else "complete", document)
    return document, unfinished


def _threshold(now: Now) -> verdict.Verdict | None:
    """What the pass rate says; None when none was asked for."""
    fail_under = now.run.config.get("fail_under", verdict.DEFAULT_FAIL_UNDER)
    planned = [trial for trial in now.trials if trial.purpose == PLAN]
    counts = Counter(trial.outcome for trial in planned if trial.outcome is not None)
    return None if fail_under is None else verdict.decide(counts, len(planned), fail_under)


def _listener(progress: Progress) -> Listener:
    def listen(event: Event) -> None:
        match event:
            case TrialStarted(trial=trial):
                progress.started(*trial)
            case TrialRetrying(trial=trial, reason=reason):
                progress.retrying(*trial, reason)
            case TrialFinished(trial=trial, result=result):
                progress.finished(*trial, result.outcome, result.reason)
            case Message(text=text):
                progress.message(text)

    return listen
