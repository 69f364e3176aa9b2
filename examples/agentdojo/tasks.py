"""AgentDojo's tasks with their data and tools, in an eighth of the time that the package's own imports take.

`agentdojo.agent_pipeline` imports the libraries of five model providers when it is imported itself, and none is asked
here. So it is entered as a package whose own `__init__` has not run, and its modules are imported from it as usual,
but for the one about Google's models: a name of it is wanted, by code that takes calls from a model's answer.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import agentdojo


def _stand_in(name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


_stand_in(
    "agentdojo.agent_pipeline",
    __path__=[str(Path(folder) / "agent_pipeline") for folder in agentdojo.__path__],
)
_stand_in("agentdojo.agent_pipeline.llms.google_llm", EMPTY_FUNCTION_NAME=None)

get_suites = import_module("agentdojo.task_suite.load_suites").get_suites
