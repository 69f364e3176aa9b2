"""The agent loop: ask the model, do what it asks, show it the result, until it answers."""

from __future__ import annotations

import json
import sys
from typing import Any

from support.chat import Chat, ToolCall
from support.errors import ServiceError
from support.savings import NONE, OFFER, Savings
from support.tools import Toolbox

MAX_STEPS = 8
"""Model calls for one user message; a model that wants more is going round in circles."""

GAVE_UP = "I'm sorry, I can't finish this right now. Please try again in a few minutes."


class Conversation:
    """One customer's conversation, with memory of what was said and of every tool result."""

    def __init__(self, chat: Chat, tools: Toolbox, savings: Savings = NONE) -> None:
        self._chat = chat
        self._tools = tools
        self._savings = savings
        self._messages: list[dict[str, Any]] = [{"role": "system", "content": savings.prompt}]

    def answer(self, text: str) -> str:
        """Work on one user message until there is an answer. Failures of tools are results, and one of the model is
        answered with an apology that names what was done."""
        self._messages.append({"role": "user", "content": text})
        if self._savings.answers_at_once(text):
            return self._say(OFFER)
        self._tools.done.clear()
        try:
            for _ in range(MAX_STEPS):
                reply = self._chat.next(self._savings.shown(self._messages), self._tools.specs)
                self._messages.append(reply.message())
                if not reply.tool_calls:
                    return reply.text
                for call in reply.tool_calls:
                    self._messages.append(self._call(call))
        except ServiceError as error:
            print(f"the model gives no answer: {error}", file=sys.stderr)
        return self._give_up()

    def _call(self, call: ToolCall) -> dict[str, Any]:
        result = json.dumps(self._tools.call(call.name, call.arguments), ensure_ascii=False)
        return {"role": "tool", "tool_call_id": call.id, "content": result}

    def _give_up(self) -> str:
        done = "; ".join(self._tools.done)
        return self._say(f"{GAVE_UP} This much is done: {done}." if done else GAVE_UP)

    def _say(self, answer: str) -> str:
        self._messages.append({"role": "assistant", "content": answer})
        return answer
