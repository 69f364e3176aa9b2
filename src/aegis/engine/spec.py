"""A trial as a value: what to run, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aegis.engine.kept import Collected
from aegis.sandbox.base import (
    ImageLayer,
    PreparedProcess,
    Readiness,
    SandboxInfo,
    ServiceSpec,
    TemplateSpec,
)
from aegis.scoring.base import Score
from aegis.suite.model import Agent, Case, Clock, Network
from aegis.trace import Exchange, Trace

Outcome = Literal["passed", "failed", "timeout", "error", "cancelled"]
"""`failed` and `timeout` are the agent's doing, `error` is the infrastructure's; `cancelled` says nothing of
either."""

BASELINE = "baseline"
"""The variant that is the case as written."""


class PlannedTrial(NamedTuple):
    """One entry of a plan."""

    case: str
    variant: str
    number: int
    """From 1."""

    def __str__(self) -> str:
        case = self.case if self.variant == BASELINE else f"{self.case}[{self.variant}]"
        return f"{case}/{self.number}"


@dataclass(frozen=True, slots=True)
class TemplateRecipe:
    """A `TemplateSpec` whose files are a blob digest, so that it is small enough to be stored and sent."""

    image: str
    memory_bytes: int
    cpus: int
    files: str | None = None
    """Digest of the tar archive of the suite's files; None when there are none."""
    setup: tuple[str, ...] = ()
    setup_timeout_s: float = 600.0
    env: Mapping[str, str] = field(default_factory=dict)
    prepared: tuple[PreparedProcess, ...] = ()
    layers: tuple[ImageLayer, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    made_for: Mapping[str, str] = field(default_factory=dict)

    def spec(self, files_tar: bytes) -> TemplateSpec:
        """What a driver takes; `files_tar` is the content behind `files`."""
        return TemplateSpec(
            image=self.image,
            memory_bytes=self.memory_bytes,
            cpus=self.cpus,
            files_tar=files_tar,
            setup=self.setup,
            setup_timeout_s=self.setup_timeout_s,
            env=dict(self.env),
            prepared=self.prepared,
            layers=self.layers,
            services=self.services,
            made_for=dict(self.made_for),
        )

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = _plain(dataclasses.asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TemplateRecipe:
        """The inverse of `to_json`."""
        fields = dict(data)
        fields["setup"] = tuple(data["setup"])
        fields["prepared"] = tuple(
            PreparedProcess(**{**process, "argv": tuple(process["argv"])}) for process in data["prepared"]
        )
        fields["layers"] = tuple(
            ImageLayer(layer["name"], tuple(layer["packages"]), tuple(layer["run"]))
            for layer in data.get("layers", ())
        )
        fields["services"] = tuple(
            ServiceSpec(**{**service, "ready": Readiness(**service["ready"])})
            for service in data.get("services", ())
        )
        return cls(**fields)


def _plain(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """All that an executor needs to run one attempt of one trial. Files are digests of blobs."""

    run_id: str
    suite: str
    case: Case
    number: int
    epoch: int
    """Attempts of a trial count up; the result of an older one is refused."""
    agent: Agent
    template: TemplateRecipe
    timeout_s: float
    """The agent's time: from its start to its last answer. World set-up and scoring have bounds of their
    own."""
    variant: str = BASELINE
    world: str | None = None
    """Digest of the tar archive of the case's world files; None when it has none."""
    check_files: Mapping[str, str] = field(default_factory=dict)
    """Path as the scorer's configuration names it → digest."""
    network: Network = field(default_factory=Network)
    """What the trial may reach. Names and hosts of secrets stand in `agent`; their values are nowhere in a spec: the
    executor's own host has them."""
    ca_bundle: str | None = None
    """Digest of the authorities (PEM) that `network.ca_bundle` names; None when it names none."""
    like: int | None = None
    """The trial of the same case and variant whose weather this one meets; None: its own."""

    @property
    def planned(self) -> PlannedTrial:
        return PlannedTrial(self.case.id, self.variant, self.number)

    @property
    def weather_of(self) -> PlannedTrial:
        return self.planned if self.like is None else self.planned._replace(number=self.like)

    def to_json(self) -> dict[str, Any]:
        data = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        data["case"] = self.case.model_dump(mode="json")
        data["agent"] = self.agent.model_dump(mode="json")
        data["network"] = self.network.model_dump(mode="json")
        data["template"] = self.template.to_json()
        data["check_files"] = dict(self.check_files)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrialSpec:
        """The inverse of `to_json`."""
        fields = dict(data)
        fields["case"] = Case.model_validate(data["case"])
        fields["agent"] = Agent.model_validate(data["agent"])
        fields["network"] = Network.model_validate(data["network"])
        fields["template"] = TemplateRecipe.from_json(data["template"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class DeniedHost:
    """Connections and requests that the gateway refused, of one kind."""

    host: str
    """"" when none was told."""
    port: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of one attempt."""

    run_id: str
    case: str
    variant: str
    number: int
    epoch: int
    outcome: Outcome
    reason: str
    """One line; "" for `passed`."""
    scores: tuple[Score, ...] = ()
    """Empty when the agent did not get as far as being scored."""
    trace: Trace | None = None
    """None when the agent was never started."""
    sandbox: SandboxInfo | None = None
    """None when no sandbox started."""
    duration_s: float = 0.0
    """The trial's own time: from the machine's first answer to the last score. Waiting for the machine is not
    in it."""
    denied: tuple[DeniedHost, ...] = ()
    """What was refused while its world was set up and its agent ran, the most frequent first."""
    agent_started_at: str | None = None
    """ISO 8601 in UTC: second 0 of the trace. None when the agent was never started."""
    setup: tuple[Exchange, ...] = ()
    """What passed while the world was set up: no part of the trace, but a replay needs it."""
    simulator: Mapping[str, Any] | None = None
    """What the models of simulated users took (`model_calls`, `cached`, `input_tokens`, `output_tokens`, `usd`): never
    a part of the agent's own usage. None when no model played a user."""
    rewritten: int | None = None
    """Exchanges that the variant's rewrites changed. None for a case without rewrites, or when the agent was never
    started."""
    changes: Mapping[str, Any] | None = None
    """What the agent changed in its machine (`differences.described`). None when it did not come to its end, or the
    machine was gone by then."""
    clock: Clock | None = None
    """What the machine's clock showed when the agent started; None: the real time."""
    collected: Collected | None = None
    """None for a case that keeps nothing, or when its machine was lost before."""
    kept: Mapping[str, Any] | None = None
    """Machines of the attempt that stay: `end` (`bytes`, or None), `checkpoints` (numbers of the turns before which one
    was kept), `bytes` (of all), `problem` (why not all of them, or None). None when none was to be kept."""

    def to_json(self) -> dict[str, Any]:
        data = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        data["scores"] = [dataclasses.asdict(score) for score in self.scores]
        data["trace"] = self.trace and self.trace.to_json()
        data["sandbox"] = self.sandbox and dataclasses.asdict(self.sandbox)
        data["denied"] = [dataclasses.asdict(item) for item in self.denied]
        data["setup"] = [exchange.to_json() for exchange in self.setup]
        data["changes"] = None if self.changes is None else dict(self.changes)
        data["clock"] = self.clock and self.clock.model_dump(mode="json")
        data["collected"] = self.collected and dataclasses.asdict(self.collected)
        data["simulator"] = None if self.simulator is None else dict(self.simulator)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrialResult:
        """The inverse of `to_json`."""
        fields = dict(data)
        fields["scores"] = tuple(Score.from_json(score) for score in data["scores"])
        fields["trace"] = None if data["trace"] is None else Trace.from_json(data["trace"])
        fields["sandbox"] = None if data["sandbox"] is None else SandboxInfo(**data["sandbox"])
        fields["denied"] = tuple(DeniedHost(**item) for item in data["denied"])
        fields["setup"] = tuple(Exchange.from_json(item) for item in data["setup"])
        clock, collected = data.get("clock"), data.get("collected")
        fields["clock"] = None if clock is None else Clock.model_validate(clock)
        fields["collected"] = None if collected is None else Collected.from_json(collected)
        return cls(**fields)
