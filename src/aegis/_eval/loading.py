"""A suite with everything checked that can be checked without running it: every room says what it knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aegis import agents, services
from aegis.agents import users
from aegis.faults.plan.reading import read_faults
from aegis.gateway import entries as host_rules
from aegis.scoring import registry
from aegis.stress.reading import read_stress
from aegis.suite import Project, Suite, load_suite


def load(
    path: Path,
    project: Project,
    *,
    faults: Sequence[str] | None = None,
    stress: Sequence[str] | None = None,
) -> Suite:
    """The suite, with its scorers', its faults', its transforms' and its agent's configuration checked. `faults` and
    `stress` as in `load_suite`."""
    return load_suite(
        path,
        check_expectation=registry.check,
        host_rules=host_rules,
        expectation_files=lambda name, config: registry.get(name).files(config),
        check_preset=services.check,
        expectation_services=registry.check_services,
        check_agent=lambda agent: agents.get(agent.protocol).check(agent),
        project=project,
        read_faults=read_faults,
        faults=faults,
        read_stress=read_stress,
        stress=stress,
        check_user=users.lack,
    )
