"""A replayed agent, on standard input and output: one JSON object a line.

In:  {"role": "user", "content": "…"}
Out: {"type": "tool_call", "name": "cd", "arguments": {"folder": "temp"}, "result": "…"}, as many as there are, and
     {"role": "assistant", "content": "…"}

It stands in for a model that makes no mistakes: it recognises the conversation by the user's words, and does for each
message what the package's ground truth does, on the package's simulated services. What these hold then is in
state.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from replay import Conversation, Services, conversations

ALIKE = 0.8
"""From this ratio on a message counts as the same: a slip of the hand is no other request."""

STATE = Path("state.json")


class Agent:
    def __init__(self, known: list[Conversation], *, forget: bool = False) -> None:
        self._known = known
        self._forget = forget
        self._services: Services | None = None
        self._conversation: Conversation | None = None
        self._next = 0

    def hear(self, text: str) -> Iterator[dict[str, Any]]:
        """The lines that answer a message."""
        if self._conversation is None:
            self._conversation = next((one for one in self._known if alike(text, one.messages[0])), None)
            self._services = Services(self._conversation) if self._conversation else None
        if self._conversation is None or self._services is None or not self._expects(text):
            yield {"role": "assistant", "content": "Is there something that I can do for you?"}
            return
        done = 0
        for expression in self._calls():
            call = self._services.call(expression)
            done += 1
            yield {"type": "tool_call", "name": call.name, "arguments": call.arguments, "result": call.result}
        self._next += 1
        STATE.write_text(json.dumps(self._services.state(), ensure_ascii=False), encoding="utf-8")
        yield {"role": "assistant", "content": f"Done, with {done} calls."}

    def _expects(self, text: str) -> bool:
        assert self._conversation is not None
        left = self._conversation.messages[self._next :]
        return bool(left) and alike(text, left[0])

    def _calls(self) -> tuple[str, ...]:
        assert self._conversation is not None
        calls, later = self._conversation.calls[self._next], self._conversation.calls[self._next + 1 :]
        # A defect that you can switch on. See "Watch it fail" in the README.
        return calls[:-1] if self._forget and not any(later) else calls


def alike(text: str, expected: str) -> bool:
    if expected in text:
        return True
    matcher = SequenceMatcher(None, text, expected, autojunk=False)
    return matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE


def main() -> int:
    agent = Agent(conversations(), forget=os.environ.get("FORGET", "0") == "1")
    for line in sys.stdin:
        for answer in agent.hear(json.loads(line)["content"]):
            sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
