"""What both suites have in common."""

from __future__ import annotations

from typing import Any

from agentdojo.task_suite.load_suites import get_suites

BENCHMARK = "v1.2.2"
"""The package's newest edition of its tasks."""

SUITES = get_suites(BENCHMARK)


def told(name: str, task: Any, **more: Any) -> dict[str, Any]:
    """The arguments that every check takes."""
    return {"benchmark": BENCHMARK, "suite": name, "task": task.ID, **more}


ASSISTANT: dict[str, Any] = {
    "command": "agent:answer",
    "protocol": "python",
    "env": {"BENCHMARK": BENCHMARK, "OBEY": "0"},
}

SANDBOX: dict[str, Any] = {
    "image": "images/dojo.toml",
    "memory": "1GiB",
    "files": {"agent.py": "/workspace/agent.py", "tasks.py": "/workspace/tasks.py"},
    # Byte code and libraries are read once, not in every trial.
    "setup": [f"BENCHMARK={BENCHMARK} python3 -c 'import agent'"],
}
