"""One attempt of one trial, from a fresh sandbox to a result. Whatever happens, the sandbox is destroyed at
the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis.agents.base import AgentDriver, AgentResult
from aegis.engine.ports import BlobSource
from aegis.engine.spec import Outcome, TrialResult, TrialSpec
from aegis.errors import AegisError, InfrastructureError, SandboxError, SandboxLostError
from aegis.sandbox.base import Driver, Sandbox, Template
from aegis.scoring.base import Score, ScoreContext, Scorer
from aegis.scoring.judge_all import score_all
from aegis.trace import Trace

WORLD_STEP_TIMEOUT_S = 300.0
"""Of one command of `world.run`. It is the suite's, not the agent's, so the trial's timeout does not
apply."""
PUT_TIMEOUT_S = 300.0
AGENT_GRACE_S = 90.0
"""How much longer than its timeout a conversation may take to be ended, on a very slow host."""
SCORING_TIMEOUT_S = 900.0
"""Of all scorers of a trial together."""
REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class TrialTools:
    """What an executor brings to a trial; the same for all trials of a run."""

    driver: Driver
    template: Template
    blobs: BlobSource
    agent_driver: Callable[[str], AgentDriver]
    """Protocol → driver."""
    scorer: Callable[[str], Scorer]
    """Name → scorer."""


@dataclass(frozen=True, slots=True)
class Attempt:
    result: TrialResult
    start_error: AegisError | None = None
    """Why no sandbox started, when that is why the outcome is `error`."""


class _Ended(Exception):
    """The trial's outcome is known before it came to scoring."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(slots=True)
class _Progress:
    """What is known of the trial so far, also when it ends in the middle."""

    trace: Trace | None = None
    scores: tuple[Score, ...] = ()


async def run_trial(spec: TrialSpec, tools: TrialTools) -> Attempt:
    """Run one attempt. Only `asyncio.CancelledError` comes out of here: every other ending is an outcome.

    `failed` and `timeout`: the agent's doing. `error`: no sandbox, a world that could not be set up, a
    machine lost through no doing of the agent, or a scorer that could not tell.
    """
    try:
        sandbox = await tools.driver.start(tools.template)
    except InfrastructureError as error:
        return Attempt(make_result(spec, "error", str(error)), error)
    except Exception as error:
        return Attempt(make_result(spec, "error", f"the sandbox driver broke: {error!r}"))
    started = time.monotonic()
    progress = _Progress()
    try:
        outcome, reason = await _inside(spec, tools, sandbox, progress)
    except _Ended as ended:
        outcome, reason = ended.outcome, ended.reason
    except AegisError as error:
        outcome, reason = "error", str(error)
    except Exception as error:
        outcome, reason = "error", f"internal error in the trial: {error!r}"
    finally:
        duration_s = time.monotonic() - started
        # Shielded: a second cancellation must not leave the machine behind.
        await asyncio.shield(sandbox.stop())
    result = make_result(
        spec,
        outcome,
        reason,
        scores=progress.scores,
        trace=progress.trace,
        sandbox=sandbox.info,
        duration_s=round(duration_s, 6),
    )
    return Attempt(result)


def make_result(spec: TrialSpec, outcome: Outcome, reason: str, **fields: Any) -> TrialResult:
    """The result of this attempt. The reason is cut to one line of at most `REASON_CHARS` characters."""
    line = " ".join(reason.split())
    if len(line) > REASON_CHARS:
        line = line[: REASON_CHARS - 1] + "…"
    planned = spec.planned
    return TrialResult(
        run_id=spec.run_id,
        case=planned.case,
        variant=planned.variant,
        number=planned.number,
        epoch=spec.epoch,
        outcome=outcome,
        reason=line,
        **fields,
    )


async def _inside(
    spec: TrialSpec, tools: TrialTools, sandbox: Sandbox, progress: _Progress
) -> tuple[Outcome, str]:
    await _set_up_world(spec, tools.blobs, sandbox)
    agent = await _converse(spec, tools.agent_driver(spec.agent.protocol), sandbox)
    progress.trace = agent.trace
    if agent.timed_out:
        return "timeout", agent.failure or f"no complete answer within {spec.timeout_s:g} s"
    if agent.failure is not None:
        return "failed", agent.failure
    await _score(spec, tools, sandbox, agent.trace, progress)
    return judge(progress.scores)


def judge(scores: tuple[Score, ...]) -> tuple[Outcome, str]:
    """A trial passes when every scorer passes; the reason is the first miss and how many more there are."""
    missed = [score for score in scores if not score.passed]
    if not missed:
        return "passed", ""
    more = f" (and {len(missed) - 1} more)" if len(missed) > 1 else ""
    return "failed", f"{missed[0].scorer}: {missed[0].reason}{more}"


async def _set_up_world(spec: TrialSpec, blobs: BlobSource, sandbox: Sandbox) -> None:
    try:
        if spec.world is not None:
            async with asyncio.timeout(PUT_TIMEOUT_S):
                await sandbox.put_tar(blobs.get(spec.world), dest="/")
        for step in spec.case.world.run:
            await _run_step(sandbox, step)
    except TimeoutError:
        raise _Ended(
            "error", f"world set-up failed: its files were not written within {PUT_TIMEOUT_S:g} s"
        ) from None
    except SandboxError as error:
        raise _Ended("error", f"world set-up failed: {error}") from error


async def _run_step(sandbox: Sandbox, step: str) -> None:
    done = await sandbox.run(("/bin/sh", "-c", step), timeout_s=WORLD_STEP_TIMEOUT_S)
    if done.timed_out:
        raise _Ended("error", f"world set-up failed: {step!r} did not end within {WORLD_STEP_TIMEOUT_S:g} s")
    if not done.status.ok:
        words = _last_line(done.stderr) or _last_line(done.stdout)
        tail = f": {words}" if words else ""
        raise _Ended("error", f"world set-up failed: {step!r} ended with {done.status.describe()}{tail}")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


async def _converse(spec: TrialSpec, agent_driver: AgentDriver, sandbox: Sandbox) -> AgentResult:
    try:
        async with asyncio.timeout(spec.timeout_s + AGENT_GRACE_S):
            return await agent_driver.converse(sandbox, spec.agent, spec.case.turns, timeout_s=spec.timeout_s)
    except TimeoutError:
        # Its time was up long ago; that the machine no longer obeys is what a workload that starves it looks
        # like.
        raise _Ended(
            "timeout", f"no complete answer within {spec.timeout_s:g} s, and its machine stopped responding"
        ) from None
    except SandboxLostError as lost:
        if lost.by_guest:
            raise _Ended("failed", "the agent shut its machine down") from lost
        raise


async def _score(
    spec: TrialSpec, tools: TrialTools, sandbox: Sandbox, trace: Trace, progress: _Progress
) -> None:
    context = ScoreContext(
        case=spec.case, trace=trace, sandbox=sandbox, check_files=_check_files(spec.check_files, tools.blobs)
    )

    def keep(score: Score) -> None:
        progress.scores = (*progress.scores, score)

    try:
        async with asyncio.timeout(SCORING_TIMEOUT_S):
            await score_all(spec.case, context, get=tools.scorer, keep=keep)
    except TimeoutError:
        raise _Ended("error", f"scoring did not end within {SCORING_TIMEOUT_S:g} s") from None
    except InfrastructureError as error:
        raise _Ended("error", f"could not be scored: {error}") from error


def _check_files(digests: Mapping[str, str], blobs: BlobSource) -> dict[str, bytes]:
    return {path: blobs.get(digest) for path, digest in digests.items()}
