"""The runs of a leak audit: trials in fresh machines, and sequences of them in one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aegis._eval.prepare import Prepared, by_id
from aegis.audit import carriers
from aegis.audit.carriers import Carrier
from aegis.audit.model import Mode, Seen, Trial
from aegis.audit.model import Sequence as Ran
from aegis.engine.events import Event, Listener, ignore
from aegis.engine.local import LocalEngine
from aegis.engine.spec import BASELINE, PlannedTrial, TrialResult
from aegis.engine.trial import TrialTools, run_trial
from aegis.errors import GuestOperationError, SandboxError
from aegis.sandbox import leftovers
from aegis.sandbox.base import MIB, Changes, Sandbox
from aegis.sandbox.guest.trust import AUTHORITY, BUNDLE
from aegis.sandbox.shared import SharedDriver
from aegis.suite.model import Case

RUN_ID = "audit"
RESET_TIMEOUT_S = 300.0
MAX_FILE_BYTES = 8 * MIB
MAX_BYTES = 32 * MIB
"""Of the contents that are kept of what a culprit changed."""

Ended = Callable[[Trial, str, Seen], None]
"""Told of each trial of a sequence: the trial, the sequence's name, how it ended."""


class _Results:
    """A sink in memory: the runs of an audit are in no ledger, so that they can never be a baseline."""

    def __init__(self) -> None:
        self.final: list[TrialResult] = []
        self._epochs: dict[PlannedTrial, int] = {}

    def begin_attempt(self, trial: PlannedTrial) -> int:
        self._epochs[trial] = self._epochs.get(trial, 0) + 1
        return self._epochs[trial]

    def finish_attempt(self, result: TrialResult, *, final: bool) -> bool:
        if final:
            self.final.append(result)
        return True


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What the culprits of one run left, and how the victim ended after it, or after some of it was undone."""

    carriers: tuple[Carrier, ...]
    more: int
    """Changes that were not looked at."""
    note: str
    """Why the changes are not known; "" when they are."""
    victim: Seen
    undone: bool = True
    """Whether everything that was to be undone was."""


@dataclass
class Bench:
    """Runs trials. At most `jobs` machines at once; use it inside the driver's and the network's `async with`."""

    tools: TrialTools
    prepared: Prepared
    jobs: int
    retries: int
    notes: list[str] = field(default_factory=list)
    """What the user must know besides the results, each once."""

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.jobs)
        self._cases = by_id(self.prepared.suite)

    async def fresh(self, trials: Sequence[Trial], listener: Listener = ignore) -> list[Seen]:
        """Each in a machine of its own; in the order of `trials`. The same trial may stand there several times.
        Raises the `InfrastructureError` that keeps every machine from starting."""
        results = _Results()

        def listen(event: Event) -> None:
            listener(event)

        engine = LocalEngine(
            self.tools,
            lambda planned, epoch: self.prepared.spec(RUN_ID, planned, epoch, self._cases),
            results,
            jobs=self.jobs,
            retries=self.retries,
            listener=listen,
        )
        await engine.run([PlannedTrial(trial.case, BASELINE, trial.number) for trial in trials])
        found: dict[Trial, list[Seen]] = {}
        for result in results.final:
            seen = _seen(result, alone=True)
            found.setdefault(seen.trial, []).append(seen)
        return [found[trial].pop() for trial in trials]

    async def sequence(
        self, mode: Mode, order: str, trials: Sequence[Trial], ended: Ended | None = None
    ) -> Ran:
        """One after another in one machine, which is destroyed afterwards."""
        async with self._free, SharedDriver(self.tools.driver) as driver:
            seen = []
            for trial in trials:
                seen.append(await self._trial(driver, trial))
                if ended is not None:
                    ended(trial, order, seen[-1])
                if mode == "reset":
                    await self._reset(driver.machine, self._cases[trial.case])
            if driver.replaced:
                self._note(f"{order}: the machine had ended {driver.replaced}×, and another took its place")
        return Ran(mode, order, tuple(seen))

    async def after(self, mode: Mode, before: Sequence[Trial], victim: Trial) -> Seen:
        """How the victim ends in a machine in which these ran before it."""
        ran = await self.sequence(mode, "probe", [*before, victim])
        return ran.seen[-1]

    async def leftovers(
        self, mode: Mode, culprits: Sequence[Trial], victim: Trial, undo: Sequence[Carrier] = ()
    ) -> Leftovers:
        """As `after`, with a look at what the culprits have left, of which `undo` is undone before the victim runs."""
        async with self._free, SharedDriver(self.tools.driver) as driver:
            machine = await self._open(driver, victim)
            note = await _mark(machine)
            running = carriers.parse_processes(await leftovers.list_processes(machine))
            for trial in culprits:
                await self._trial(driver, trial)
                if mode == "reset":
                    await self._reset(driver.machine, self._cases[trial.case])
            if driver.machine is not machine:
                note = "the machine did not outlive the culprit"
            found: tuple[Carrier, ...] = ()
            more = 0
            undone = not undo
            if not note:
                changes = await _changes(machine)
                now = carriers.parse_processes(await leftovers.list_processes(machine))
                folders = {spec.name: spec.folder for spec in self.prepared.recipe.services}
                found, more = carriers.left_behind(changes, running, now, folders), changes.more
                undone = await _undo(machine, undo, [now[key] for key in now if key not in running])
            return Leftovers(found, more, note, await self._trial(driver, victim), undone)

    async def _open(self, driver: SharedDriver, trial: Trial) -> Sandbox:
        """The machine before its first trial, with what each is given that has a network: that is no news later."""
        planned = PlannedTrial(trial.case, BASELINE, trial.number)
        network = await self.tools.network.open(planned, suite=self.prepared.suite.suite)
        try:
            return await driver.open(self.tools.template, network=network.access)
        finally:
            await asyncio.shield(network.close())

    async def _trial(self, driver: SharedDriver, trial: Trial) -> Seen:
        alone = driver.machine is None
        tools = TrialTools(
            driver=driver,
            template=self.tools.template,
            blobs=self.tools.blobs,
            agent_driver=self.tools.agent_driver,
            scorer=self.tools.scorer,
            network=self.tools.network,
            answers=self.tools.answers,
        )
        planned = PlannedTrial(trial.case, BASELINE, trial.number)
        for left in range(self.retries, -1, -1):
            attempt = await run_trial(self.prepared.spec(RUN_ID, planned, 1, self._cases), tools)
            if attempt.start_error is None or not left:
                break
        return _seen(attempt.result, alone=alone)

    async def _reset(self, machine: Sandbox | None, case: Case) -> None:
        """What the team would do after a trial of this case. A step that fails is told, and goes by."""
        for step in case.world.reset:
            if machine is None:
                return
            try:
                done = await machine.run(("/bin/sh", "-c", step), timeout_s=RESET_TIMEOUT_S)
            except SandboxError as error:
                self._note(f"reset of {case.id}: {step!r}: {error}")
                return
            if done.timed_out or not done.status.ok:
                how = (
                    f"did not end within {RESET_TIMEOUT_S:g} s" if done.timed_out else done.status.describe()
                )
                self._note(f"reset of {case.id}: {step!r} failed: {how}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _seen(result: TrialResult, *, alone: bool) -> Seen:
    outcome = result.outcome
    if outcome == "error" and not alone and result.sandbox is not None and result.agent_started_at is None:
        outcome = "failed"  # its world could not be set up beside what others had left there
    return Seen(Trial(result.case, result.number), outcome, result.reason)


async def _mark(machine: Sandbox) -> str:
    try:
        await machine.mark()
    except GuestOperationError as error:
        return f"this sandbox cannot tell what changed: {error}"
    return ""


async def _changes(machine: Sandbox) -> Changes:
    changes = await machine.changes(
        max_items=carriers.MAX_ITEMS, max_file_bytes=MAX_FILE_BYTES, max_bytes=MAX_BYTES
    )
    if machine.info.driver != "process":
        return changes
    # Written by the host for each trial: the port of its proxy, and whom its clients trust.
    own = ("/etc/environment", AUTHORITY, BUNDLE)
    kept = tuple(change for change in changes.items if change.path not in own)
    return Changes(kept, changes.more)


async def _undo(machine: Sandbox, undo: Sequence[Carrier], running: Sequence[carriers.Running]) -> bool:
    done = True
    for carrier in carriers.topmost(undo):
        if carrier.change is not None:
            done = await leftovers.undo(machine, carrier.change) and done
            continue
        for process in running:
            if process.command == carrier.name:
                done = await leftovers.end_process(machine, process.pid) and done
    return done
