"""The trace of one trial, as far as the agent's own channel shows it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the agent reported itself (`jsonl`: `{"type":"tool_call","name":…,"arguments":{…}}`)."""

    name: str
    arguments: Any = None
    result: Any = None
    turn: int = 0
    """Index of the turn (from 0) in which it was reported."""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One user message and the agent's answer to it."""

    user: str
    answer: str
    """"" when the agent ended or timed out before answering."""
    duration_s: float
    """From the message's sending to the complete answer, on the host's clock."""


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
    """The agent's own time: from its start to its end or last answer. Sandbox start and scoring are not in it."""

    @property
    def answer(self) -> str:
        """The answer that scorers read: the last turn's."""
        return self.turns[-1].answer if self.turns else ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trace:
        """The inverse of `to_json`."""
        fields = dict(data)
        fields["turns"] = tuple(TurnRecord(**turn) for turn in data.get("turns", ()))
        fields["tool_calls"] = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
        return cls(**fields)
