"""The suite: the user's file, read, checked and completed into values that the rest of the house works with.

The format is one table (`keys`) of kinds of value (`kinds`), which both reads a document and describes itself
as JSON Schema. `yamltree`, `jsonl` and `pysuite` turn files into plain data with lines; `load` brings them
together and reports all problems at once; `project` finds the project and its suites. docs/suite.md is the
contract with users.

Public names: `Suite`, `Case`, `Agent`, `Secret`, `SandboxConfig`, `Network`, `Route`, `Upstream`, `Limit`, `World`,
`Turn`, `Expectation`; `load_suite`, `json_schema`; `HostRules`; `Project`, `find_project`, `find_suite`,
`list_suites`; `parse_duration`, `parse_size`, `format_duration`, `format_size`.
"""

from aegis.suite.hosts import HostRules
from aegis.suite.keys import json_schema
from aegis.suite.load import load_suite
from aegis.suite.model import (
    Agent,
    Case,
    Expectation,
    Limit,
    Network,
    Route,
    SandboxConfig,
    Secret,
    Suite,
    Turn,
    Upstream,
    World,
)
from aegis.suite.project import Project, find_project, find_suite, list_suites
from aegis.suite.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "Agent",
    "Case",
    "Expectation",
    "HostRules",
    "Limit",
    "Network",
    "Project",
    "Route",
    "SandboxConfig",
    "Secret",
    "Suite",
    "Turn",
    "Upstream",
    "World",
    "find_project",
    "find_suite",
    "format_duration",
    "format_size",
    "json_schema",
    "list_suites",
    "load_suite",
    "parse_duration",
    "parse_size",
]
