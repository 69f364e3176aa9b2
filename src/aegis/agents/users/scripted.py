"""A user whose messages are known beforehand."""

from __future__ import annotations

from collections.abc import Iterator


class ScriptedUser:
    """Says these messages, whatever the answers are (`aegis.agents.base.UserTurns`)."""

    def __init__(self, *messages: str) -> None:
        self.total: int | None = len(messages)
        self._left: Iterator[str] = iter(messages)

    async def next(self, answer: str | None) -> str | None:
        return next(self._left, None)
