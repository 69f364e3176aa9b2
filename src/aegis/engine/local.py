"""Runs a plan on this host, a few sandboxes at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from aegis.engine.events import Event, Listener, Message, TrialFinished, TrialRetrying, TrialStarted, ignore
from aegis.engine.ports import Sink
from aegis.engine.spec import PlannedTrial, TrialResult, TrialSpec
from aegis.engine.trial import Attempt, TrialTools, make_result, run_trial
from aegis.errors import AegisError, HostNeedsError, SandboxError, SandboxStartError

HOPELESS_STARTS = 3
"""After so many starts in a row without a single success the host is the problem, and the run ends."""

SpecMaker = Callable[[PlannedTrial, int], TrialSpec]
"""Planned trial and epoch → the attempt's spec."""


class LocalEngine:
    """One run's executor. Results go to the sink one by one; nothing here grows with their number."""

    def __init__(
        self,
        tools: TrialTools,
        make_spec: SpecMaker,
        sink: Sink,
        *,
        jobs: int,
        retries: int = 2,
        listener: Listener = ignore,
    ) -> None:
        """`jobs` sandboxes run at once; a trial that ends in `error` is repeated up to `retries` times."""
        self._tools = tools
        self._make_spec = make_spec
        self._sink = sink
        self._jobs = max(1, jobs)
        self._retries = max(0, retries)
        self._listener = listener
        self._waiting: deque[PlannedTrial] = deque()
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._started_any = False
        self._failed_starts = 0

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to stop, so that trials may be left unfinished."""
        return self._stopping

    def request_stop(self, *, at_once: bool = False) -> None:
        """First call: no new trial starts and running ones finish. Second call, or `at_once`: running ones
        are cancelled and their sandboxes destroyed. Trials without a result stay unfinished in the sink."""
        if self._stopping or at_once:
            for worker in self._workers:
                worker.cancel()
        self._stopping = True
        self._expect(0)

    async def run(self, plan: Sequence[PlannedTrial]) -> None:
        """Run every trial of the plan, in its order, unless stopped.

        Raises the `InfrastructureError` that keeps every sandbox, or what it is connected to, from starting, and what
        the sink raises (`LedgerError`); running trials are cancelled then, and unfinished ones stay
        unfinished.
        """
        self._waiting = deque(plan)
        self._expect(len(self._waiting))
        self._workers = [asyncio.create_task(self._work()) for _ in range(min(self._jobs, len(plan)))]
        try:
            await self._watch()
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._expect(0)

    async def _watch(self) -> None:
        """Wait for all workers; the first one that breaks ends the run with its error."""
        waiting = set(self._workers)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for worker in done:
                if not worker.cancelled() and (error := worker.exception()) is not None:
                    raise error

    async def _work(self) -> None:
        while self._waiting and not self._stopping:
            await self._trial(self._waiting.popleft())

    async def _trial(self, planned: PlannedTrial) -> None:
        for retries_left in range(self._retries, -1, -1):
            self._expect(len(self._waiting) + 1)
            attempt = await self._attempt(planned)
            result = attempt.result
            self._watch_starts(attempt)
            # A repetition is a new start: once asked to stop, the trial is left for a resume instead.
            repeat = result.outcome == "error" and (self._stopping or retries_left > 0)
            self._finish(planned, result, final=not repeat)
            if not repeat or self._stopping:
                return
            self._emit(TrialRetrying(planned, result.reason, retries_left))

    async def _attempt(self, planned: PlannedTrial) -> Attempt:
        epoch = self._sink.begin_attempt(planned)
        spec = self._make_spec(planned, epoch)
        self._emit(TrialStarted(planned, epoch))
        try:
            return await run_trial(spec, self._tools)
        except asyncio.CancelledError:
            self._sink.finish_attempt(make_result(spec, "cancelled", "stopped before its end"), final=False)
            raise

    def _watch_starts(self, attempt: Attempt) -> None:
        """Raise what keeps every sandbox from starting, once it is plain that it does."""
        if attempt.result.sandbox is not None:
            self._started_any = True
        error = attempt.start_error
        if self._started_any or error is None:
            return
        self._failed_starts += 1
        if isinstance(error, HostNeedsError) or self._failed_starts >= HOPELESS_STARTS:
            self._sink.finish_attempt(attempt.result, final=False)
            raise _as_host_problem(error)

    def _finish(self, planned: PlannedTrial, result: TrialResult, *, final: bool) -> None:
        if not self._sink.finish_attempt(result, final=final):
            self._emit(Message(f"{planned}: a newer attempt has replaced this one; its result was dropped"))
        elif final:
            self._emit(TrialFinished(planned, result))

    def _expect(self, remaining: int) -> None:
        self._tools.driver.expect(self._tools.template, 0 if self._stopping else remaining)

    def _emit(self, event: Event) -> None:
        self._listener(event)


def _as_host_problem(error: AegisError) -> AegisError:
    if not isinstance(error, SandboxError):
        return error
    return SandboxStartError(f"no sandbox starts on this host: {error}", fix=error.fix or "run aegis doctor")
