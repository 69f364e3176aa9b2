"""The parts of AgentDojo that the agent needs, in a quarter of the time.

`agentdojo.agent_pipeline` imports the libraries of five model providers when it is imported itself, and none is asked
here. So it is entered as a package whose own `__init__` has not run: its modules are imported from it as usual.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import agentdojo

_package = ModuleType("agentdojo.agent_pipeline")
_package.__path__ = [str(Path(agentdojo.__path__[0]) / "agent_pipeline")]
sys.modules[_package.__name__] = _package

get_suites = import_module("agentdojo.task_suite.load_suites").get_suites
