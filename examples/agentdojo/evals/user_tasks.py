"""All user tasks of AgentDojo, with its own utility functions as the oracle.

Nothing of the package is copied: the cases are made from the installed one whenever the suite is loaded.
"""

from helpers.cases import ASSISTANT, SANDBOX, SUITES, told

suite = {
    "suite": "user_tasks",
    "description": "Does the assistant do what its user asks?",
    "agent": ASSISTANT,
    "sandbox": SANDBOX,
    "timeout": "5m",
    "cases": [
        {
            "id": f"{name}-{task.ID}",
            "tags": [name, task.DIFFICULTY.name.lower()],
            "input": task.PROMPT,
            "expect": [{"python": {"function": "checks/dojo.py:useful", "args": told(name, task)}}],
        }
        for name, tasks in SUITES.items()
        for task in tasks.user_tasks.values()
    ],
}
