"""The contract of a scorer: a trace and the final state of the sandbox in, a score with a reason out.

A scorer lives in a file of its own and registers under the name that suites use (docs/scorers.md). Its
configuration is checked when the suite is loaded, not when the trial runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import Processes, Sandbox, ServiceSpec
from aegis.suite.model import Case
from aegis.trace import Trace

if TYPE_CHECKING:
    from aegis.llm.cache import AnswerCache


@dataclass(frozen=True, slots=True)
class Part:
    """One of several things that a scorer judges together, such as a rule of `resilience`."""

    name: str
    passed: bool | None
    """None: there was nothing to judge."""
    reason: str
    """One line that begins with the name; where it failed, with the evidence."""


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's judgement of one trial."""

    scorer: str
    passed: bool
    value: float
    """0–1; 1.0 or 0.0 for scorers that only pass or fail."""
    reason: str
    """One line a person understands without the suite at hand: what was expected, what was found. Lines after it are a
    diff."""
    cost: Mapping[str, Any] | None = None
    """What judging itself took, where a model judged (`model`, `input_tokens`, `output_tokens`, `usd`, `cached`): never
    a part of the agent's own usage. None for every other scorer."""
    parts: tuple[Part, ...] = ()
    """What it is made of, where a scorer judges several things."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**data, "parts": tuple(Part(**part) for part in data.get("parts", ()))})


class ConfigError(Exception):
    """A scorer's configuration is wrong. `path` leads to the key inside the configuration (for the line
    number).

    `others` holds further problems of the same configuration, each as (path, message).
    """

    def __init__(
        self,
        message: str,
        path: tuple[str | int, ...] = (),
        *,
        others: tuple[tuple[tuple[str | int, ...], str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.others = others


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """What a scorer may look at."""

    case: Case
    trace: Trace
    sandbox: Sandbox
    """The machine as the agent left it. The agent's processes have been ended; what the agent wrote is
    untrusted."""
    check_files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of files that the scorer's configuration named (`CheckFiles`), by the path as written."""
    fetch_blob: Callable[[str], bytes] | None = None
    """The bytes of recorded bodies that are stored apart (`trace.Body.blob`), by digest."""
    answers: AnswerCache | None = None
    """Where a judge keeps its model's answers; None: every question is asked anew."""
    services: tuple[ServiceSpec, ...] = ()
    """What runs in the sandbox beside the agent."""
    before: Any = None
    """What the scorer's own `before` returned for this expectation; None for scorers without one."""
    processes: Processes | GuestOperationError | None = None
    """What ran when the agent had ended, before what it left behind was ended, or why that could not be listed. None
    unless a scorer of the case has `needs_processes`."""

    def body(self, digest: str) -> bytes:
        """`fetch_blob`. Raises `InfrastructureError` when there is none."""
        if self.fetch_blob is None:
            raise InfrastructureError(f"the recorded body {digest} is not at hand")
        return self.fetch_blob(digest)


class Scorer(Protocol):
    """Registered by name; one instance serves every trial and keeps no state.

    A scorer may have more members: `async before(config, context)`, called when the world is set up and the agent has
    not started, whose result (JSON) is `context.before` in `score`; `check_services(config, declared)`, which raises
    `ConfigError` when the suite lacks a service that the configuration names (`aegis.scoring.services`);
    `needs_processes = True`, for which `context.processes` is filled.
    """

    name: str

    def check(self, config: Any) -> None:
        """Raise `ConfigError` when the configuration is wrong. Pure: reads no file, starts nothing."""

    def files(self, config: Any) -> tuple[str, ...]:
        """Paths of files of the suite's folder that scoring will need; loaded with the plan, given in
        `check_files`."""

    async def score(self, config: Any, context: ScoreContext) -> Score:
        """Judge. Raises `InfrastructureError` when it could not tell (the trial becomes an `error`); a
        missing file, a wrong type or a broken database that the agent was to make is a failed score, not an
        exception."""
