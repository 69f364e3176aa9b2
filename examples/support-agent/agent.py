"""Customer support for a web shop, on standard input and output: one JSON object a line.

In:  {"role": "user", "content": "I want a refund for order 1042."}
Out: {"type": "tool_call", "name": "lookup_order", "arguments": {"order": 1042}, "result": {…}}
     {"role": "assistant", "content": "Done: 42.00 EUR for order 1042 …"}

Tool calls are reported as they happen; each message gets one answer. The process stays up for the whole
conversation and ends at the end of its input.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.loop import Conversation
from support.messages import ToolRequest
from support.planner import RulePlanner
from support.policy import Policy
from support.shop import Shop
from support.tools import Toolbox


def send(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def report(request: ToolRequest, result: Any) -> None:
    send({"type": "tool_call", "name": request.name, "arguments": dict(request.arguments), "result": result})


def user_text(line: str) -> str:
    """The text of one input line. Raises ValueError when the line is not a user message."""
    message = json.loads(line)
    if isinstance(message, dict) and message.get("role") == "user":
        content = message.get("content")
        if isinstance(content, str):
            return content
    raise ValueError('expected {"role": "user", "content": "…"}')


def main() -> int:
    session = json.loads(Path("session.json").read_text(encoding="utf-8"))
    # A defect that you can switch on: refunds already paid are forgotten. See "Watch it fail" in the README.
    forget_refunds = os.environ.get("REFUND_BUG", "0") == "1"
    shop = Shop(Path("shop.db"), outbox=Path("outbox"))
    tools = Toolbox(shop, customer=str(session["customer"]), policy=Policy(forget_refunds=forget_refunds))
    conversation = Conversation(RulePlanner(), tools, on_tool_call=report)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            text = user_text(line)
        except ValueError as error:
            print(f"cannot read the message: {error}", file=sys.stderr)
            return 2
        send({"role": "assistant", "content": conversation.answer(text)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
