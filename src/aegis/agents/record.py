"""What has been seen of a conversation so far, so that a timeout in the middle loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aegis.agents.base import nothing_waited
from aegis.agents.tail import Tail
from aegis.suite.model import Turn
from aegis.trace import ToolCall, Trace, TurnRecord


class AgentFault(Exception):
    """The agent did something wrong: what, in one line. The last line of its standard error is added to the
    failure unless the text says it all (`quote_stderr=False`)."""

    def __init__(self, text: str, *, quote_stderr: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.quote_stderr = quote_stderr


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    waited_s: float


class Record:
    """Turns, tool calls and output tails of one conversation, filled while it goes on. The clock starts with
    it."""

    def __init__(self, waited_s: Callable[[], float] = nothing_waited) -> None:
        self.stderr = Tail()
        self.stdout = Tail()
        self.exit: str | None = None
        self.turns: list[TurnRecord] = []
        self.tool_calls: list[ToolCall] = []
        self._read_waited_s = waited_s
        self._ended: _Moment | None = None
        self._exited: _Moment | None = None
        self._started = self._now()
        self._open: tuple[str, float] | None = None

    def ask(self, turn: Turn) -> None:
        """A message is being sent."""
        self._open = (turn.user, time.monotonic())

    def answer(self, text: str) -> None:
        """The complete answer to the message asked last; also the end of the agent's own time, so far."""
        if self._open is not None:
            user, since = self._open
            self._ended = self._now()
            duration_s = max(0.0, self._ended.at_s - since)
            started_s = since - self._started.at_s
            self.turns.append(TurnRecord(user=user, answer=text, duration_s=duration_s, started_s=started_s))
            self._open = None

    def tool_call(self, name: str, arguments: Any, result: Any) -> None:
        self.tool_calls.append(ToolCall(name, arguments, result, turn=len(self.turns)))

    def mark_end(self) -> None:
        """The agent's program has ended; what Aegis still waits for afterwards is not the agent's time."""
        self._exited = self._now()

    def stop_clock(self) -> None:
        """The last answer is complete, or the agent has ended or run out of time."""
        self._ended = self._now()

    def _now(self) -> _Moment:
        return self._exited or _Moment(time.monotonic(), self._read_waited_s())

    def trace(self) -> Trace:
        """Everything so far; a message still waiting for its answer is a turn with the answer ""."""
        if self._open is not None:
            self.answer("")
        ended = self._ended or self._now()
        return Trace(
            turns=tuple(self.turns),
            tool_calls=tuple(self.tool_calls),
            stderr_tail=self.stderr.text(),
            stdout_tail=self.stdout.text(),
            exit=self.exit,
            duration_s=max(0.0, ended.at_s - self._started.at_s),
            waited_s=max(0.0, ended.waited_s - self._started.waited_s),
        )
