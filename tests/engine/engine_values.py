"""Small suites, specs and scripted agents for the engine's tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aegis.agents.base import AgentResult, UserTurns, nothing_waited
from aegis.engine.spec import DeniedHost, PlannedTrial, TemplateRecipe, TrialResult, TrialSpec
from aegis.engine.trial import TrialTools
from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox, Template, TemplateSpec
from aegis.sandbox.network import Connection, Destination, NetworkAccess, NetworkPaths, Refusal
from aegis.scoring.base import Score, ScoreContext
from aegis.suite.model import Agent, Case, Expectation, FaultRule, Suite, Turn, World
from aegis.trace import Exchange, Trace, TurnRecord
from aegis.trace.faults import FaultReport
from support.fake_driver import FakeDriver

AGENT = Agent(command="cat")
RECIPE = TemplateRecipe(image="debian", memory_bytes=64 * 1024 * 1024, cpus=1)


def case(name: str = "refund", *, expect: Any = True, **fields: Any) -> Case:
    expectation = Expectation(scorer="scripted", config=expect)
    return Case(id=name, turns=(Turn(user="hello"),), expect=(expectation,), **fields)


def suite(*cases: Case, **fields: Any) -> Suite:
    return Suite(suite="s", agent=AGENT, cases=cases, **fields)


def spec(the_case: Case | None = None, **fields: Any) -> TrialSpec:
    values: dict[str, Any] = {"number": 1, "epoch": 1, "timeout_s": 30.0, **fields}
    return TrialSpec(run_id="r", suite="s", case=the_case or case(), agent=AGENT, template=RECIPE, **values)


def world(*steps: str) -> World:
    return World(run=steps)


Converse = Callable[[Sandbox, float], Awaitable[AgentResult]]


def answered(text: str = "done") -> AgentResult:
    return AgentResult(Trace(turns=(TurnRecord("hello", text, 0.1),), exit="exit code 0"), None)


async def answer_at_once(sandbox: Sandbox, timeout_s: float) -> AgentResult:
    return answered()


@dataclass
class ScriptedAgent:
    """An agent driver whose conversation is a function of the test."""

    script: Converse = answer_at_once
    protocol: str = "text"
    seen: Agent | None = None
    """The agent as the last conversation got it."""

    def check(self, agent: Agent) -> str | None:
        return None

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[()]:
        return ()

    async def converse(
        self,
        sandbox: Sandbox,
        agent: Agent,
        turns: UserTurns,
        *,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
        on_turn: Any = None,
    ) -> AgentResult:
        self.seen = agent
        return await self.script(sandbox, timeout_s)


class ScriptedScorer:
    """`config` is the verdict: true, false, or an exception to raise."""

    name = "scripted"

    def __init__(self, judge: Callable[[Any, ScoreContext], Awaitable[bool]] | None = None) -> None:
        self._judge = judge

    def check(self, config: Any) -> None:
        return None

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        passed = await self._judge(config, context) if self._judge else bool(config)
        return Score("scripted", passed, float(passed), "as wanted" if passed else "not as wanted")


@dataclass
class MemoryBlobs:
    contents: dict[str, bytes] = field(default_factory=dict)

    def get(self, digest: str) -> bytes:
        return self.contents[digest]

    def put(self, data: bytes) -> str:
        import hashlib

        digest = hashlib.sha256(data).hexdigest()
        self.contents[digest] = data
        return digest


class Handler:
    """Serves no connection."""

    async def connect(self, connection: Connection, destination: Destination) -> None:
        await connection.abort()

    def refused(self, refusal: Refusal) -> None:
        return


@dataclass
class ScriptedNetwork:
    """The way out of every attempt: what a gateway would have recorded is the test's to say."""

    exchanges: list[Exchange] = field(default_factory=list)
    setup: list[Exchange] = field(default_factory=list)
    denied: tuple[DeniedHost, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    waited_s: float = 0.0
    open_error: Exception | None = None
    problem: InfrastructureError | None = None
    faults: tuple[FaultReport, ...] = ()
    calls: list[str] = field(default_factory=list)
    """What was called, in order."""
    access: NetworkAccess = field(default_factory=lambda: NetworkAccess(Handler()))
    shown_s: float | None = None
    """What the last attempt's machine was to show."""

    async def open(
        self,
        trial: PlannedTrial,
        *,
        suite: str = "",
        faults: Sequence[FaultRule] = (),
        shown_s: float | None = None,
        weather_of: PlannedTrial | None = None,
    ) -> ScriptedNetwork:
        self.calls.append(f"open {trial}")
        self.shown_s = shown_s
        if self.open_error is not None:
            raise self.open_error
        return self

    def environment(self, paths: NetworkPaths | None) -> dict[str, str]:
        return self.variables if paths is None else {**self.variables, "https_proxy": paths.proxy}

    def start_clock(self) -> None:
        self.calls.append("start_clock")

    async def end(self) -> None:
        self.calls.append("end")

    def check(self) -> None:
        if self.problem is not None:
            raise self.problem

    async def close(self) -> None:
        self.calls.append("close")


@dataclass
class MemorySink:
    """Keeps the rules of the ledger: newest epoch only, a final result once."""

    epochs: dict[PlannedTrial, int] = field(default_factory=dict)
    final: dict[PlannedTrial, TrialResult] = field(default_factory=dict)
    attempts: list[tuple[TrialResult, bool]] = field(default_factory=list)

    def begin_attempt(self, trial: PlannedTrial) -> int:
        self.epochs[trial] = self.epochs.get(trial, 0) + 1
        return self.epochs[trial]

    def finish_attempt(self, result: TrialResult, *, final: bool) -> bool:
        trial = PlannedTrial(result.case, result.variant, result.number)
        if result.epoch != self.epochs[trial] or trial in self.final:
            return False
        self.attempts.append((result, final))
        if final:
            self.final[trial] = result
        return True

    def outcomes(self) -> dict[str, str]:
        return {str(trial): result.outcome for trial, result in self.final.items()}


def tools(
    driver: FakeDriver,
    *,
    converse: Converse = answer_at_once,
    scorer: ScriptedScorer | None = None,
    blobs: MemoryBlobs | None = None,
    network: ScriptedNetwork | None = None,
    agent: ScriptedAgent | None = None,
) -> TrialTools:
    agent = agent or ScriptedAgent(converse)
    judge = scorer or ScriptedScorer()
    return TrialTools(
        driver=driver,
        template=Template("0" * 64, TemplateSpec(image="debian"), cached=True, build_s=0.0),
        blobs=blobs or MemoryBlobs(),
        agent_driver=lambda protocol: agent,
        scorer=lambda name: judge,
        network=network or ScriptedNetwork(),
    )
