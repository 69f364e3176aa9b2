"""What the server knows of a program: its pipes, its input that waits, and how it ended."""

from __future__ import annotations

import time
from typing import Any

from . import wire


class Channel:
    """A program's output pipe on its way to the host."""

    def __init__(self, fd: int, stream: int, number: int) -> None:
        self.fd = fd
        self.stream = stream
        self.number = number
        self.credit = wire.WINDOW
        self.open = True


class Program:
    """One stream: a program and its pipes. `terminal` programs have one descriptor for all three."""

    def __init__(
        self, stream: int, group: int, stdin: int | None, outputs: list[Channel], terminal: bool
    ) -> None:
        self.stream = stream
        self.group = group
        self.stdin = stdin
        self.outputs = outputs
        self.terminal = terminal
        self.pending = (
            bytearray()
        )  # input not yet taken by the program; bounded by the window granted to the host
        self.input_ended = False
        self.started = time.monotonic()
        self.begun = False
        self.gone = False
        """Ended, and nothing of its group was left."""
        self.held = False
        """Prepared and not yet attached: its output and its end wait for the host that attaches."""
        self.early: bytearray | None = None
        """Its output until the line that says that it is ready, which comes first when it is attached."""
        self.exit: dict[str, Any] | None = None
