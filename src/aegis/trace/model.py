"""The trace of one trial: what the agent's own channel shows, and what the gateway saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.trace.calls import ModelCall
from aegis.trace.exchange import Exchange
from aegis.trace.faults import FaultReport
from aegis.trace.usage import Usage


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call, however it was seen. One call that was seen in several ways is one `ToolCall`.

    The agent may report it (`jsonl`: `{"type":"tool_call","name":…,"arguments":{…}}`), a model may be seen to ask for
    it, and an MCP server to run it.
    """

    name: str
    arguments: Any = None
    """As the model asked; as the agent or the MCP request told when no model was seen to ask."""
    result: Any = None
    """What the model was told, else what the MCP server or the agent told; None when nobody did."""
    turn: int = 0
    """Index of the turn (from 0) in which it was reported or asked for."""
    seen: tuple[str, ...] = ("agent",)
    """How it was seen: `agent` reported it, a `model` asked for it, an `mcp` server ran it, the `provider` of the
    model ran it within its answer."""
    id: str = ""
    """The model's id of the call; "" when it gave none."""
    is_error: bool = False
    """Whoever ran it said that it failed."""
    asked_in: int | None = None
    """Exchange in which the model asked for it."""
    answered_in: int | None = None
    """Exchange whose request told the model the result."""
    permission: str = ""
    """How the agent's question whether it may run it was answered: `allow_once`, `allow_always`, `reject_once`,
    `reject_always`, or `cancelled` where nothing fit; "" when it did not ask (only protocol `acp` can)."""
    exchanges: tuple[int, ...] = ()
    """What it did: exchanges with hosts that are no model's, between the asking and the result."""
    started_s: float | None = None
    """When it was asked for, in the trial's seconds; None when only the agent reported it."""
    ended_s: float | None = None
    """When its result was sent to the model, or the MCP server had answered."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolCall:
        """The inverse of `dataclasses.asdict`; fields that older traces lack have their defaults."""
        fields = dict(data)
        for name in ("seen", "exchanges"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One user message and the agent's answer to it."""

    user: str
    answer: str
    """"" when the agent ended or timed out before answering."""
    duration_s: float
    """From the message's sending to the complete answer, on the host's clock, waiting at the gateway included."""
    started_s: float | None = None
    """When the message was sent, in seconds since the agent's start; None in traces from before this was kept."""
    entry: int | None = None
    """Which entry of the case's conversation (from 0) said it; None in traces from before this was kept."""
    simulated: bool = False
    """Whether a simulated user said it."""
    user_ended: str = ""
    """Why a simulated user said no more after the answer: `goal reached: …`, `gave up: …`, `bound: 12 turns`,
    `no rule matched`; "" where the conversation just went on."""


@dataclass(frozen=True, slots=True)
class ServiceLog:
    """What a service of the sandbox wrote in one trial. The machine's word: hostile."""

    name: str
    lines: tuple[str, ...] = ()
    """The newest, at most 64 KiB, of both its outputs as they came."""
    dropped: int = 0
    """Earlier lines that were too many to keep."""
    ended: str | None = None
    """How it ended; None while it ran."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ServiceLog:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**data, "lines": tuple(data["lines"])})


@dataclass(frozen=True, slots=True)
class Trace:
    turns: tuple[TurnRecord, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    stderr_tail: str = ""
    """The last 16 KiB of the agent's standard error, decoded with replacement."""
    stdout_tail: str = ""
    """The last 16 KiB of what the agent wrote outside the protocol (or of its output when it failed)."""
    exit: str | None = None
    """How the agent's process ended: `exit code 0`, `killed by signal 9`; None while a lasting agent was still up."""
    duration_s: float = 0.0
    """From the agent's start to its end or last answer. Sandbox start and scoring are not in it."""
    waited_s: float = 0.0
    """Seconds of them in which the gateway made the agent wait for a provider's shared limit, or a simulated user
    thought."""
    recorded: bool = False
    """Whether a gateway watched the trial. Without one, the fields below say nothing."""
    exchanges: tuple[Exchange, ...] = ()
    """Everything that passed the gateway, refused connections included, in the order of arrival."""
    model_calls: tuple[ModelCall, ...] = ()
    """The model calls among the exchanges, in their order."""
    usage: Usage | None = None
    """Totals; None when no gateway watched."""
    faults: tuple[FaultReport, ...] = ()
    """The fault rules of the trial and what came of each, also of those that hit nothing."""
    services: tuple[ServiceLog, ...] = ()
    """What ran in the sandbox beside the agent."""

    @property
    def own_s(self) -> float:
        """Seconds of the agent's own time: what it took without what it was made to wait."""
        return max(0.0, self.duration_s - self.waited_s)

    @property
    def answer(self) -> str:
        """The answer that scorers read: the last turn's."""
        return self.turns[-1].answer if self.turns else ""

    @property
    def turn_times_s(self) -> tuple[tuple[float, float], ...]:
        """When each turn began and ended, in seconds since the agent's start."""
        times: list[tuple[float, float]] = []
        for turn in self.turns:
            before_s = times[-1][1] if times else 0.0
            started_s = before_s if turn.started_s is None else turn.started_s
            times.append((started_s, started_s + turn.duration_s))
        return tuple(times)

    @property
    def denied_hosts(self) -> tuple[str, ...]:
        """`host:port` of every refused connection, each once, in the order of the first attempts."""
        denied = (f"{item.host}:{item.port}" for item in self.exchanges if item.kind == "denied")
        return tuple(dict.fromkeys(denied))

    @property
    def unopened_hosts(self) -> tuple[str, ...]:
        """`host:port` of the TLS connections that were passed through unopened: what they held is not known."""
        passed = (f"{item.host}:{item.port}" for item in self.exchanges if item.kind == "tls-passthrough")
        return tuple(dict.fromkeys(passed))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trace:
        """The inverse of `to_json`. Traces that were stored before there was a gateway lack its fields."""
        fields = dict(data)
        fields["turns"] = tuple(TurnRecord(**turn) for turn in data.get("turns", ()))
        fields["tool_calls"] = tuple(ToolCall.from_json(call) for call in data.get("tool_calls", ()))
        fields["exchanges"] = tuple(Exchange.from_json(item) for item in data.get("exchanges", ()))
        fields["model_calls"] = tuple(ModelCall.from_json(call) for call in data.get("model_calls", ()))
        fields["usage"] = Usage.from_json(data["usage"]) if data.get("usage") else None
        fields["faults"] = tuple(FaultReport.from_json(item) for item in data.get("faults", ()))
        fields["services"] = tuple(ServiceLog.from_json(item) for item in data.get("services", ()))
        return cls(**fields)
