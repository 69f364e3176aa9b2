"""`aegis audit leaks`: the same trials in fresh machines and in shared ones, and what makes them differ."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from aegis import agents
from aegis._eval import leakstudy, prepare
from aegis._eval.header import decide_jobs, isolation_lines, network_lines
from aegis._eval.importable import importable
from aegis._eval.leakbench import Bench
from aegis._eval.network import make_network, resolve_suite
from aegis._eval.prepare import LEDGER_FOLDER, Prepared, Source
from aegis._eval.request import RunRequest
from aegis._eval.session import ANSWERS_FOLDER, Setting, utc_now
from aegis._eval.signals import StopSignals
from aegis.audit import compare, document
from aegis.audit.findings import Report
from aegis.audit.model import Mode, Seen, Trial
from aegis.audit.model import Sequence as Ran
from aegis.audit.orders import make_orders
from aegis.engine.events import Event, Listener, Message, TrialFinished, TrialRetrying, TrialStarted
from aegis.engine.network import RunNetwork
from aegis.engine.spec import BASELINE, PlannedTrial
from aegis.engine.trial import TrialTools
from aegis.errors import UsageError
from aegis.llm.cache import FolderCache
from aegis.report.progress import LINE_COLUMNS, Progress, write_line
from aegis.report.text import counted, one_line
from aegis.results import Ledger
from aegis.sandbox.base import DriverInfo
from aegis.sandbox.select import open_driver
from aegis.scoring import registry

MAX_ORDERS = 50
MAX_PROBES = 10_000


@dataclass(frozen=True, slots=True)
class LeakRequest:
    """The arguments of `aegis.eval.audit_leaks`; see there for what they mean."""

    run: RunRequest
    as_mode: Mode = "shared"
    orders: int = 3
    max_probes: int = 120

    def check(self) -> None:
        """Raise `UsageError` for a number out of its range or a combination that makes no sense."""
        self.run.check()
        if self.as_mode not in ("fresh", "shared", "reset"):
            raise UsageError(f"unknown way to run a suite {self.as_mode!r}", fix="use shared, reset or fresh")
        if not 1 <= self.orders <= MAX_ORDERS:
            raise UsageError(f"the number of orders must be between 1 and {MAX_ORDERS}, not {self.orders}")
        if not 0 <= self.max_probes <= MAX_PROBES:
            raise UsageError(
                f"the number of probes must be between 0 and {MAX_PROBES:,}, not {self.max_probes}"
            )


async def audit(request: LeakRequest, *, show: bool, handle_signals: bool) -> dict[str, Any]:
    """The audit document. Raises like `aegis.eval.audit_leaks`; a signal raises `KeyboardInterrupt`."""
    request.check()
    source = prepare.find(request.run)
    planned, seed = prepare.choose(request.run, source.suite, None)
    # Harder variants are the same cases in other words: what they would leave behind, the cases leave as well.
    planned = tuple(trial for trial in planned if trial.variant == BASELINE)
    resets = {case.id for case in source.suite.cases if case.world.reset}
    if request.as_mode == "reset" and not resets & {trial.case for trial in planned}:
        raise UsageError(
            "--as reset: none of the selected cases has reset steps",
            fix="write world.reset, or use --as shared",
        )
    root = source.project.root
    with closing(Ledger(root / LEDGER_FOLDER)) as ledger:
        resolved = resolve_suite(source.suite, replay=False)
        prepared = prepare.read_files(source, ledger.blobs, request.run.timeout_s)
        setting = Setting(
            isolation=request.run.isolation,
            vmm=request.run.vmm,
            require_kvm=request.run.require_kvm,
            jobs=request.run.jobs,
            retries=request.run.retries,
            seed=seed,
        )
        work = _Audit(
            request=request,
            source=source,
            prepared=prepared,
            setting=setting,
            ledger=ledger,
            network=make_network(resolved, prepared, planned, setting, ledger, root),
            plan=tuple(Trial(trial.case, trial.number) for trial in planned),
            with_reset=bool(resets & {trial.case for trial in planned}),
            show=show,
        )
        signals = StopSignals(work.say, enabled=handle_signals)
        try:
            with signals, importable(root, source.path.parent):
                return await work.run()
        except asyncio.CancelledError:
            if signals.requested:
                raise KeyboardInterrupt from None
            raise


@dataclass
class _Audit:
    request: LeakRequest
    source: Source
    prepared: Prepared
    setting: Setting
    ledger: Ledger
    network: RunNetwork
    plan: tuple[Trial, ...]
    with_reset: bool
    show: bool
    _progress: Progress | None = None

    def say(self, text: str) -> None:
        """A line of progress: above the display of the part that runs, or alone."""
        if self._progress is not None:
            self._progress.message(text)
        elif self.show:
            with contextlib.suppress(OSError, ValueError):
                write_line(sys.stderr, one_line(text, LINE_COLUMNS))

    async def run(self) -> dict[str, Any]:
        begun, started_at = time.monotonic(), utc_now()
        setting, recipe = self.setting, self.prepared.recipe
        orders = make_orders(self.plan, self.request.orders, setting.seed)
        try:
            self._begin(len(self.plan))
            self._introduce(len(orders))
            most = setting.jobs or os.cpu_count() or 1
            async with open_driver(
                setting.isolation,
                base_dir=self.source.project.root,
                vmm=setting.vmm,
                require_kvm=setting.require_kvm,
                jobs=most,
            ) as driver:
                spec = recipe.spec(b"" if recipe.files is None else self.ledger.blobs.get(recipe.files))
                template = await driver.template(spec, progress=self.say)
                jobs, why = decide_jobs(setting.jobs, driver.slots(spec), len(self.plan), spec.memory_bytes)
                for line in isolation_lines(driver.info, jobs, why):
                    self.say(line)
                tools = TrialTools(
                    driver=driver,
                    template=template,
                    blobs=self.ledger.blobs,
                    agent_driver=agents.get,
                    scorer=registry.get,
                    network=self.network,
                    answers=FolderCache(self.ledger.folder / ANSWERS_FOLDER),
                )
                bench = Bench(tools, self.prepared, jobs, setting.retries)
                async with self.network:
                    report = await self._report(bench, orders)
        finally:
            self._end()
        about = {
            "suite": self.source.suite.suite,
            "seed": setting.seed,
            "isolation": _isolation(driver.info),
            "started_at": started_at,
            "duration_s": round(time.monotonic() - begun, 3),
        }
        return document.build(report, about)

    def _introduce(self, orders: int) -> None:
        suite = self.source.suite
        cases = len({trial.case for trial in self.plan})
        self.say(
            f"suite {suite.suite}: {counted(len(self.plan), 'trial')} of {counted(cases, 'case')}, each in a fresh "
            f"machine, and in {counted(orders, 'order')} in one machine; seed {self.setting.seed}"
        )
        for note in network_lines(self.network.resolved, self.setting):
            self.say(note)

    async def _report(self, bench: Bench, orders: dict[str, tuple[Trial, ...]]) -> Report:
        fresh = tuple(await bench.fresh(self.plan, _listener(self)))
        modes: tuple[Mode, ...] = ("shared", "reset") if self.with_reset else ("shared",)
        progress = self._begin(len(modes) * sum(map(len, orders.values())))
        self.say("the same trials, one after another in one machine")
        ran = await self._sequences(bench, modes, orders, progress)
        self._end()
        shared, reset = (tuple(each for each in ran if each.mode == mode) for mode in ("shared", "reset"))
        studied: Mode = "reset" if self.request.as_mode == "reset" else "shared"
        sequences = reset if studied == "reset" else shared
        findings = await leakstudy.study(
            bench,
            studied,
            fresh,
            sequences,
            max_probes=self.request.max_probes,
            with_reset=self.with_reset and studied == "shared",
            say=self.say,
        )
        return Report(
            fresh=fresh,
            shared=shared,
            reset=reset,
            as_mode=self.request.as_mode,
            studied=studied,
            findings=findings,
            suite_value=compare.suite_value(fresh, compare.pooled(sequences)),
            probes=sum(finding.probes for finding in findings),
            max_probes=self.request.max_probes,
            notes=(*self._notes(), *bench.notes),
        )

    async def _sequences(
        self, bench: Bench, modes: tuple[Mode, ...], orders: dict[str, tuple[Trial, ...]], progress: Progress
    ) -> list[Ran]:
        def ended(mode: Mode) -> Callable[[Trial, str, Seen], None]:
            def tell(trial: Trial, order: str, seen: Seen) -> None:
                variant = f"{mode}, {order}"
                progress.finished(trial.case, variant, trial.number, seen.outcome, seen.reason)

            return tell

        tasks = [
            asyncio.create_task(bench.sequence(mode, order, trials, ended(mode)))
            for mode in modes
            for order, trials in orders.items()
        ]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _notes(self) -> list[str]:
        notes = []
        if not self.with_reset:
            notes.append(
                "no case has reset steps (world.reset), so there is nothing to compare with and without them"
            )
        shared = [name for name, each in self.source.suite.network.upstreams.items() if each.scope == "run"]
        if shared:
            notes.append(
                f"upstreams that all trials share, fresh machines included, are not looked at: {', '.join(shared)}"
            )
        if self.setting.isolation == "none":
            notes.append(
                "without machines (--isolation=none) a fresh folder stands for a fresh machine: what trials leave "
                "elsewhere on this host, such as /tmp, is in all of them"
            )
        return notes

    def _begin(self, total: int) -> Progress:
        """The display of the next part, in place of the last one's."""
        self._end()
        self._progress = Progress(total, quiet=not self.show).__enter__()
        return self._progress

    def _end(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.__exit__()


def _isolation(info: DriverInfo) -> dict[str, Any]:
    return {"driver": info.driver, "accel": info.accel, "security_boundary": info.security_boundary}


def _listener(audit: _Audit) -> Listener:
    progress = audit._progress
    assert progress is not None

    def listen(event: Event) -> None:
        match event:
            case TrialStarted(trial=trial):
                progress.started(*_named(trial))
            case TrialRetrying(trial=trial, reason=reason):
                progress.retrying(*_named(trial), reason)
            case TrialFinished(trial=trial, result=result):
                progress.finished(*_named(trial), result.outcome, result.reason)
            case Message(text=text):
                progress.message(text)

    return listen


def _named(trial: PlannedTrial) -> tuple[str, str, int]:
    return trial.case, "fresh", trial.number
