"""What has been seen of a conversation so far, so that a timeout in the middle loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aegis.agents.base import Earlier, nothing_waited
from aegis.agents.tail import Tail
from aegis.suite.units import format_size
from aegis.trace import ToolCall, Trace, TurnRecord

MAX_ANSWERS_BYTES = 512 * 1024 * 1024
"""All answers of a conversation together, in characters: they stay in memory until the trial is judged."""


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
    it, or goes on where it stood after what was said `earlier`."""

    def __init__(
        self, waited_s: Callable[[], float] = nothing_waited, earlier: Earlier | None = None
    ) -> None:
        self.stderr = Tail()
        self.stdout = Tail()
        self.exit: str | None = None
        earlier = earlier or Earlier()
        self.turns: list[TurnRecord] = list(earlier.turns)
        self.tool_calls: list[ToolCall] = list(earlier.tool_calls)
        self._read_waited_s = waited_s
        self._ended: _Moment | None = None
        self._exited: _Moment | None = None
        now = self._now()
        self._started = _Moment(now.at_s - earlier.duration_s, now.waited_s)
        self._open: tuple[str, float] | None = None
        self._answers_chars = sum(len(turn.answer) for turn in self.turns)

    def ask(self, message: str) -> None:
        """A message is being sent."""
        self._open = (message, time.monotonic())

    def answer(self, text: str) -> None:
        """The complete answer to the message asked last; also the end of the agent's own time, so far. Raises
        `AgentFault` when the answers have become too long."""
        if self._open is not None:
            if self._answers_chars + len(text) > MAX_ANSWERS_BYTES:
                size = format_size(MAX_ANSWERS_BYTES)
                raise AgentFault(f"agent answered with more than {size} in all", quote_stderr=False)
            self._answers_chars += len(text)
            user, since = self._open
            self._ended = self._now()
            duration_s = max(0.0, self._ended.at_s - since)
            started_s = since - self._started.at_s
            self.turns.append(TurnRecord(user=user, answer=text, duration_s=duration_s, started_s=started_s))
            self._open = None

    def tool_call(self, name: str, arguments: Any, result: Any, *, id: str = "") -> None:
        self.tool_calls.append(ToolCall(name, arguments, result, turn=len(self.turns), id=id))

    def report(self, call: ToolCall, index: int | None = None) -> int:
        """As `tool_call`, of one whose details may still change: then it stands at `index`, which is returned."""
        if index is None:
            self.tool_calls.append(call)
            return len(self.tool_calls) - 1
        self.tool_calls[index] = call
        return index

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
