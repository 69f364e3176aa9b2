"""Every tool conversation of the package's category with long results, with what its ground truth does as the oracle.

Nothing of the package is copied: the cases are made from the installed one whenever the suite is loaded.
"""

from __future__ import annotations

import hashlib
from typing import Any

from helpers.replay import Call, Conversation, Services, conversations

LONG_RESULT_CHARS = 8_000


def case(conversation: Conversation) -> dict[str, Any]:
    services = Services(conversation)
    turns = [[services.call(expression) for expression in calls] for calls in conversation.calls]
    calls = [call for turn in turns for call in turn]
    return {
        "id": conversation.id.removeprefix("multi_turn_"),
        "tags": tags(turns, calls),
        "conversation": [
            {"user": message, "expect": [{"tool_calls": {"exact": names(turn), "order": "strict"}}]}
            for message, turn in zip(conversation.messages, turns, strict=True)
        ],
        "expect": [
            {"tool_calls": {"exact": names(calls), "order": "strict"}},
            {"python": {"function": "checks/replayed.py:calls", "args": {"expected": fingerprints(calls)}}},
            {"python": {"function": "checks/replayed.py:state", "args": {"expected": services.state()}}},
        ],
    }


def names(calls: list[Call]) -> list[str]:
    return [call.name for call in calls]


def tags(turns: list[list[Call]], calls: list[Call]) -> list[str]:
    longest = max((len(call.result) for call in calls), default=0)
    return [f"turns-{len(turns)}", *(["long-result"] if longest >= LONG_RESULT_CHARS else [])]


def fingerprints(calls: list[Call]) -> list[dict[str, Any]]:
    """Results by their hash: all of them together are several megabytes."""
    return [
        {
            "name": call.name,
            "arguments": call.arguments,
            "chars": len(call.result),
            "sha256": hashlib.sha256(call.result.encode()).hexdigest(),
        }
        for call in calls
    ]


suite = {
    "suite": "long_context",
    "description": "Multi-turn tool conversations of the Berkeley Function Calling Leaderboard, replayed.",
    "agent": {"command": "python3 agent.py", "protocol": "jsonl", "env": {"FORGET": "0"}},
    "sandbox": {
        "image": "images/bfcl.toml",
        "memory": "256MiB",
        "files": {"agent.py": "/workspace/agent.py", "evals/helpers/replay.py": "/workspace/replay.py"},
        "setup": ["python3 -c 'import agent'"],  # byte code and libraries are read once, not in every trial
    },
    "timeout": "5m",
    "cases": [case(conversation) for conversation in conversations()],
}
