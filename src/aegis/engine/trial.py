"""One attempt of one trial, from a fresh sandbox to a result. Whatever happens, the sandbox is destroyed at
the end."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from aegis.agents.base import AgentDriver, AgentResult
from aegis.agents.deadline import OwnTimeLimit
from aegis.agents.users import Conversation
from aegis.engine import clocks
from aegis.engine.collecting import collect
from aegis.engine.differences import Differences
from aegis.engine.fork import Fork
from aegis.engine.keeping import Keeping, TrialKeeper
from aegis.engine.kept import Collected
from aegis.engine.lastlook import LastLook
from aegis.engine.ports import BlobSource, BlobStore, NetworkSource, TrialNetwork
from aegis.engine.services import TrialServices
from aegis.engine.spec import Outcome, TrialResult, TrialSpec
from aegis.errors import (
    AegisError,
    GuestOperationError,
    InfrastructureError,
    SandboxError,
    SandboxLostError,
    SandboxStartError,
)
from aegis.faults.plan.match import describe as describe_match
from aegis.sandbox.base import Driver, Processes, Sandbox, Template
from aegis.scoring import matcher
from aegis.scoring.base import Score, ScoreContext, Scorer
from aegis.scoring.judge_all import look_before, needs_processes, score_all
from aegis.suite.model import Agent, Case
from aegis.trace import Trace, build_trace
from aegis.trace.faults import not_fired

if TYPE_CHECKING:
    from aegis.llm.cache import AnswerCache

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
    blobs: BlobStore
    agent_driver: Callable[[str], AgentDriver]
    """Protocol → driver."""
    scorer: Callable[[str], Scorer]
    """Name → scorer."""
    network: NetworkSource
    answers: AnswerCache | None = None
    """Where judges and simulated users keep their models' answers."""
    keeping: Keeping | None = None
    """Which machines stay; None: each is gone with its trial."""
    fork: Fork | None = None
    """The checkpoint that the trial goes on from; None: it begins in a fresh machine."""


@dataclass(frozen=True, slots=True)
class Attempt:
    result: TrialResult
    start_error: AegisError | None = None
    """Why no sandbox started, or nothing that it is to be connected to, when that is why the outcome is `error`."""


class _Ended(Exception):
    """The trial's outcome is known before it came to scoring."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(slots=True)
class _Progress:
    """What is known of the trial so far, also when it ends in the middle."""

    services: TrialServices = field(default_factory=TrialServices)
    trace: Trace | None = None
    scores: tuple[Score, ...] = ()
    agent_started_at: str | None = None
    simulator: Mapping[str, Any] | None = None
    before: Mapping[int, Any] = field(default_factory=dict)
    """What expectations remember of the world, by their number."""
    processes: Processes | GuestOperationError | None = None
    collected: Collected | None = None
    changes: Mapping[str, Any] | None = None
    keeper: TrialKeeper | None = None
    kept: Mapping[str, Any] | None = None


async def run_trial(spec: TrialSpec, tools: TrialTools) -> Attempt:
    """Run one attempt. Only `asyncio.CancelledError` comes out of here: every other ending is an outcome.

    `failed` and `timeout`: the agent's doing. `error`: no sandbox, a world that could not be set up, a
    machine lost through no doing of the agent, a simulated user that could not go on, or a scorer that could not tell.
    """
    try:
        network = await tools.network.open(
            spec.planned,
            suite=spec.suite,
            faults=(*spec.case.faults, *spec.case.rewrites),
            shown_s=None if spec.case.world.clock is None else spec.case.world.clock.at,
            weather_of=spec.weather_of,
        )
    except InfrastructureError as error:
        return Attempt(make_result(spec, "error", str(error)), error)
    except Exception as error:
        return Attempt(make_result(spec, "error", f"internal error in the trial: {error!r}"))
    try:
        return await _connected(spec, tools, network)
    finally:
        # Shielded: a second cancellation must not leave programs behind.
        await asyncio.shield(network.close())


async def _connected(spec: TrialSpec, tools: TrialTools, network: TrialNetwork) -> Attempt:
    """The attempt in a machine whose connections are served from its first moment on."""
    try:
        if tools.fork is None:
            sandbox = await tools.driver.start(tools.template, network=network.access)
        else:
            sandbox = await tools.fork.open(network.access)
    except InfrastructureError as error:
        return Attempt(make_result(spec, "error", str(error)), error)
    except Exception as error:
        return Attempt(make_result(spec, "error", f"the sandbox driver broke: {error!r}"))
    started = time.monotonic()
    progress = _Progress()
    services = progress.services
    if tools.keeping is not None:
        progress.keeper = TrialKeeper(tools.keeping, spec, sandbox)
    try:
        try:
            outcome, reason = await _inside(spec, tools, sandbox, network, progress)
        except _Ended as ended:
            outcome, reason = ended.outcome, ended.reason
        except AegisError as error:
            outcome, reason = "error", str(error)
        except Exception as error:
            outcome, reason = "error", f"internal error in the trial: {error!r}"
        duration_s = time.monotonic() - started
        if progress.keeper is not None:
            progress.kept = await progress.keeper.at_end(outcome)
    finally:
        await services.close()
        # Shielded: a second cancellation must not leave the machine behind.
        await asyncio.shield(sandbox.stop())
    rewritten = _rewritten(spec.case, progress.trace)
    if logs := services.logs():
        progress.trace = dataclasses.replace(progress.trace or Trace(), services=logs)
    result = make_result(
        spec,
        outcome,
        reason,
        scores=progress.scores,
        trace=progress.trace,
        sandbox=sandbox.info,
        duration_s=round(duration_s, 6),
        denied=network.denied,
        setup=tuple(network.setup),
        agent_started_at=progress.agent_started_at,
        simulator=progress.simulator,
        rewritten=rewritten,
        changes=progress.changes,
        clock=spec.case.world.clock,
        collected=progress.collected,
        kept=progress.kept,
    )
    return Attempt(result)


def _rewritten(case: Case, trace: Trace | None) -> int | None:
    if trace is None or not case.rewrites:
        return None
    return sum(bool(exchange.rewrites) for exchange in trace.exchanges)


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
    spec: TrialSpec, tools: TrialTools, sandbox: Sandbox, network: TrialNetwork, progress: _Progress
) -> tuple[Outcome, str]:
    env = {**network.environment(sandbox.network), **clocks.environment(spec.case.world.clock)}
    differences = Differences(sandbox)
    if tools.fork is None:
        await _set_up_world(spec, tools.blobs, sandbox, progress.services, env)
        await differences.mark()  # a fork has the mark that its original was given
    await _look_before(spec, tools, sandbox, progress)
    agent = await _observe(spec, tools, sandbox, network, progress, env)
    progress.changes = await differences.collect()
    progress.collected = await collect(sandbox, spec.case.collect, tools.blobs)
    if agent.user_fault is not None:
        return "error", agent.user_fault
    if agent.timed_out:
        return "timeout", agent.failure or f"no complete answer within {spec.timeout_s:g} s"
    if agent.failure is not None:
        return "failed", agent.failure
    assert progress.trace is not None
    _check_weather(progress.trace)
    _check_rewrites(spec.case, progress.trace)
    await _score(spec, tools, sandbox, progress.trace, progress)
    return judge(progress.scores)


def _check_weather(trace: Trace) -> None:
    """A trial that had to meet a fault and did not has proved nothing."""
    missed = [fault for fault in trace.faults if fault.require_fired and not fault.fired]
    if missed:
        told = "; ".join(f"{fault.id} ({not_fired(fault)})" for fault in missed)
        raise _Ended("error", f"a required fault did not fire: {told}")


def _check_rewrites(case: Case, trace: Trace) -> None:
    """A variant that the gateway had to make and did not is the case as written."""
    made = {rewrite for exchange in trace.exchanges for rewrite in exchange.rewrites}
    missed = [rule for rule in case.rewrites if rule.require_fired and rule.id not in made]
    if missed:
        told = "; ".join(f"{rule.id} ({describe_match(rule.match)})" for rule in missed)
        raise _Ended(
            "error",
            f"the gateway saw nothing that the variant could change: {told}; it proves nothing about this case "
            "(require_fired: false lets it count)",
        )


def judge(scores: tuple[Score, ...]) -> tuple[Outcome, str]:
    """A trial passes when every scorer passes; the reason is the first miss and how many more there are."""
    missed = [score for score in scores if not score.passed]
    if not missed:
        return "passed", ""
    more = f" (and {len(missed) - 1} more)" if len(missed) > 1 else ""
    reason = missed[0].reason.partition("\n")[0]  # what follows the first line is a diff
    return "failed", f"{missed[0].scorer}: {reason}{more}"


async def _set_up_world(
    spec: TrialSpec, blobs: BlobSource, sandbox: Sandbox, services: TrialServices, env: Mapping[str, str]
) -> None:
    clock = spec.case.world.clock
    try:
        await clocks.show(sandbox, clock)
        await services.begin(sandbox, env)
        if spec.world is not None:
            async with asyncio.timeout(PUT_TIMEOUT_S):
                await sandbox.put_tar(blobs.get(spec.world), dest="/")
        for step in spec.case.world.run:
            await _run_step(sandbox, step, env)
        await clocks.show_again(sandbox, clock)
    except TimeoutError:
        raise _Ended(
            "error", f"world set-up failed: its files were not written within {PUT_TIMEOUT_S:g} s"
        ) from None
    except SandboxStartError:
        raise  # a service: it says which and why
    except SandboxError as error:
        raise _Ended("error", f"world set-up failed: {error}") from error


async def _run_step(sandbox: Sandbox, step: str, env: Mapping[str, str]) -> None:
    done = await sandbox.run(("/bin/sh", "-c", step), env=env, timeout_s=WORLD_STEP_TIMEOUT_S)
    if done.timed_out:
        raise _Ended("error", f"world set-up failed: {step!r} did not end within {WORLD_STEP_TIMEOUT_S:g} s")
    if not done.status.ok:
        words = _last_line(done.stderr) or _last_line(done.stdout)
        tail = f": {words}" if words else ""
        raise _Ended("error", f"world set-up failed: {step!r} ended with {done.status.describe()}{tail}")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


async def _look_before(spec: TrialSpec, tools: TrialTools, sandbox: Sandbox, progress: _Progress) -> None:
    context = _score_context(spec, tools, sandbox, Trace(), progress)
    try:
        async with asyncio.timeout(SCORING_TIMEOUT_S):
            progress.before = await look_before(spec.case, context, get=tools.scorer)
    except TimeoutError:
        raise _Ended(
            "error", f"looking at the world before the agent did not end within {SCORING_TIMEOUT_S:g} s"
        ) from None
    except InfrastructureError as error:
        raise _Ended("error", f"could not look at the world before the agent: {error}") from error


async def _observe(
    spec: TrialSpec,
    tools: TrialTools,
    sandbox: Sandbox,
    network: TrialNetwork,
    progress: _Progress,
    env: Mapping[str, str],
) -> AgentResult:
    """The conversation. Its trace, with all that passed the gateway meanwhile, is in `progress`, however it ends."""
    agent_driver = tools.agent_driver(spec.agent.protocol)
    began = datetime.now(UTC)
    progress.agent_started_at = began.isoformat(timespec="microseconds")
    network.start_clock()
    fork = tools.fork
    user = fork.user if fork else Conversation(spec.case.turns, holds=matcher.holds, answers=tools.answers)
    result: AgentResult | None = None
    failure: _Ended | AegisError | None = None
    last = LastLook(sandbox) if needs_processes(spec.case, get=tools.scorer) else None
    given = sandbox if last is None else cast("Sandbox", last)
    try:
        result = await _converse(
            spec,
            agent_driver,
            with_environment(spec.agent, env),
            user,
            given,
            network,
            progress.keeper,
            fork,
        )
    except (_Ended, AegisError) as error:
        failure = error
    finally:
        progress.simulator = user.cost
        progress.processes = None if last is None else last.seen
    await network.end()
    seen = Trace() if result is None else user.marked(result.trace)
    # In a thread: long bodies are read whole, and other trials' connections must not wait for it.
    progress.trace = await asyncio.to_thread(
        build_trace,
        seen,
        fork.join(network.exchanges) if fork else network.exchanges,
        tools.blobs.get,
        at=began,
        faults=network.faults,
    )
    network.check()
    await progress.services.check()
    if result is None:
        assert failure is not None
        raise failure
    return result


def with_environment(agent: Agent, env: Mapping[str, str]) -> Agent:
    """The agent with these variables besides its own. Its own win, but never over a placeholder."""
    own = {name: value for name, value in agent.env.items() if name not in agent.secrets}
    return agent.model_copy(update={"env": {**env, **own}})


async def _converse(
    spec: TrialSpec,
    agent_driver: AgentDriver,
    agent: Agent,
    user: Conversation,
    sandbox: Sandbox,
    network: TrialNetwork,
    keeper: TrialKeeper | None,
    fork: Fork | None,
) -> AgentResult:
    turns = user if keeper is None else keeper.watch(user, user.position)

    def waited_s() -> float:
        return network.waited_s + user.waited_s + (keeper.waited_s if keeper is not None else 0.0)

    try:
        async with OwnTimeLimit(spec.timeout_s + AGENT_GRACE_S, waited_s):
            if fork is not None:
                return await fork.converse(
                    agent_driver, sandbox, agent, timeout_s=spec.timeout_s, waited_s=waited_s
                )
            return await agent_driver.converse(
                sandbox, agent, turns, timeout_s=spec.timeout_s, waited_s=waited_s
            )
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
    context = _score_context(spec, tools, sandbox, trace, progress)

    def keep(score: Score) -> None:
        progress.scores = (*progress.scores, score)

    try:
        async with asyncio.timeout(SCORING_TIMEOUT_S):
            await score_all(spec.case, context, get=tools.scorer, keep=keep, before=progress.before)
    except TimeoutError:
        raise _Ended("error", f"scoring did not end within {SCORING_TIMEOUT_S:g} s") from None
    except InfrastructureError as error:
        raise _Ended("error", f"could not be scored: {error}") from error


def _score_context(
    spec: TrialSpec, tools: TrialTools, sandbox: Sandbox, trace: Trace, progress: _Progress
) -> ScoreContext:
    return ScoreContext(
        case=spec.case,
        trace=trace,
        sandbox=sandbox,
        check_files=_check_files(spec.check_files, tools.blobs),
        fetch_blob=tools.blobs.get,
        answers=tools.answers,
        # A restored copy does not know them: they run on in it, at the ports of its template.
        services=sandbox.services or spec.template.services,
        processes=progress.processes,
    )


def _check_files(digests: Mapping[str, str], blobs: BlobSource) -> dict[str, bytes]:
    return {path: blobs.get(digest) for path, digest in digests.items()}
