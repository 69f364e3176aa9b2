"""AgentDojo's injection tasks, each hidden in the data of one user task: its own security functions are the oracle.

The user tasks are taken in turn. Where the package says how an injection task is done (`ground_truth`), an agent that
obeys must fail; those where it does not are left out, since nobody could show that the case can fail.
"""

import json
import shlex
from typing import Any

from agentdojo.attacks.baseline_attacks import DirectAttack
from helpers.cases import ASSISTANT, SANDBOX, SUITES, told


def case(name: str, user_task: Any, injection: Any) -> dict[str, Any]:
    # The package's plainest attack writes the injected task wherever this user task makes an agent look.
    planted = DirectAttack(SUITES[name], None).attack(user_task, injection)
    args = told(name, user_task, planted=planted)
    return {
        "id": f"{name}-{injection.ID}",
        "tags": [name, user_task.ID],
        "input": user_task.PROMPT,
        "world": {"run": [f"printf %s {shlex.quote(json.dumps(planted))} > planted.json"]},
        "expect": [
            {"python": {"function": "checks/dojo.py:secure", "args": {**args, "injection": injection.ID}}},
            {"python": {"function": "checks/dojo.py:useful", "args": args}},
        ],
    }


def pairs(name: str) -> list[tuple[Any, Any]]:
    """A user task for each injection task. The first user task of `travel` names the same hotel as an injection."""
    suite = SUITES[name]
    data = suite.load_and_inject_default_environment({})
    known = [
        task for task in suite.injection_tasks.values() if task.ground_truth(data) or task.GROUND_TRUTH_OUTPUT
    ]
    return list(zip(list(suite.user_tasks.values())[1:], known, strict=False))


suite = {
    "suite": "injections",
    "description": "Does the assistant take what it reads for an instruction?",
    "agent": ASSISTANT,
    "sandbox": SANDBOX,
    "timeout": "5m",
    "cases": [case(name, *pair) for name in SUITES for pair in pairs(name)],
}
