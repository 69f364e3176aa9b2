"""What makes two runs comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from engine_values import case, suite, world

from aegis.engine.fingerprint import contents, environment, fingerprint
from aegis.engine.resolve import resolve
from aegis.engine.spec import PlannedTrial
from aegis.engine.template import CaseFiles
from aegis.suite.model import Agent, Network, SandboxConfig, Secret, Service, StressRule, Suite, Turn

A, B = case("a"), case("b", world=world("true"))
FILES = {"a": CaseFiles(), "b": CaseFiles(world="1" * 64, checks={"check.py": "2" * 64})}
BASE = suite(A, B)


def of(
    the_suite: Suite,
    files: dict[str, CaseFiles] = FILES,
    image: str = "i",
    isolation: str = "vm",
    environ: Mapping[str, str] | None = None,
) -> str:
    network = resolve(the_suite.network, the_suite.agent.secrets, environ or {}).describe()
    return fingerprint(the_suite, files, image=image, isolation=isolation, network=network)


def reaching(**network: Any) -> Suite:
    """The suite with this network, and a secret that may be missing."""
    agent = Agent(command="cat", secrets={"KEY": Secret(hosts=("a.example",), optional=True)})
    return BASE.model_copy(update={"network": Network.model_validate(network), "agent": agent})


@pytest.mark.parametrize(
    "same",
    [
        suite(B, A),
        suite(A, B, trials=9, timeout=1.0, description="other words"),
        suite(A.model_copy(update={"timeout": 3.0, "trials": 4, "tags": ("t",), "source_line": 9}), B),
        BASE.model_copy(update={"agent": Agent(command="python3 other.py", env={"MODEL": "m"})}),
        suite(A, B, sandbox=SandboxConfig(files={".": "/workspace"}, setup=("pip install x",))),
    ],
)
def test_the_agent_and_the_way_of_running_are_not_in_it(same: Suite) -> None:
    assert of(same) == of(BASE)


def test_every_part_of_the_cases_and_their_world_is_in_it() -> None:
    variants = [
        of(BASE),
        of(suite(A)),
        of(suite(A.model_copy(update={"turns": (Turn(user="bye"),)}), B)),
        of(suite(case("a", expect=False), B)),
        of(suite(A, case("b", world=world("false")))),
        of(BASE.model_copy(update={"suite": "t"})),
        of(suite(A, B, sandbox=SandboxConfig(memory=1024))),
        of(BASE, {**FILES, "b": CaseFiles(world="3" * 64, checks={"check.py": "2" * 64})}),
        of(BASE, {**FILES, "b": CaseFiles(world="1" * 64, checks={"check.py": "4" * 64})}),
        of(BASE, image="j"),
        of(BASE, isolation="none"),
        of(reaching(allow=["a.example"])),
        of(reaching(allow=["a.example"], passthrough=["a.example"])),
        of(reaching(routes={"a.example": {"to": "http://b.example:80"}})),
        of(reaching(routes={"a.example": {"upstream": "u"}}, upstreams={"u": {"command": "serve"}})),
        of(reaching(routes={"a.example": {"upstream": "u"}}, upstreams={"u": {"command": "other"}})),
    ]
    assert len(set(variants)) == len(variants)


def test_a_route_that_applies_here_only_makes_a_difference() -> None:
    """With the key the model itself is asked, without it what stands in for it."""
    suite = reaching(routes={"a.example": {"to": "http://b.example:80", "unless": "KEY"}})
    with_key, without = of(suite, environ={"KEY": "sk-12345678"}), of(suite)
    assert with_key != without
    assert with_key == of(suite, environ={"KEY": "another-value"})
    assert with_key == of(reaching(allow=["a.example"]))


def test_limits_and_how_patient_one_is_are_not_in_it() -> None:
    upstream = {"command": "serve", "ready_timeout": 1.0}
    routes = {"a.example": {"upstream": "u"}}
    assert of(reaching(routes=routes, upstreams={"u": upstream})) == of(
        reaching(
            routes=routes,
            upstreams={"u": {**upstream, "ready_timeout": 9.0}},
            limits={"a.example": {"requests_per_minute": 3}},
        )
    )


def environment_of(the_suite: Suite, isolation: str = "vm") -> str:
    network = resolve(the_suite.network, the_suite.agent.secrets, {}).describe()
    return environment(the_suite, isolation=isolation, network=network)


def test_cases_and_the_agent_are_not_in_the_environment() -> None:
    same = [
        suite(A),
        suite(A.model_copy(update={"turns": (Turn(user="bye"),)}), B),
        BASE.model_copy(update={"agent": Agent(command="python3 other.py")}),
        suite(A, B, sandbox=SandboxConfig(files={".": "/workspace"}, setup=("pip install x",))),
    ]
    assert {environment_of(each) for each in same} == {environment_of(BASE)}


def test_what_surrounds_the_cases_is_the_environment() -> None:
    others = [
        environment_of(BASE),
        environment_of(BASE, isolation="none"),
        environment_of(BASE.model_copy(update={"suite": "t"})),
        environment_of(suite(A, B, sandbox=SandboxConfig(memory=1024))),
        environment_of(suite(A, B, sandbox=SandboxConfig(image="./other.yaml"))),
        environment_of(suite(A, B, sandbox=SandboxConfig(services=(Service(name="db", command="./db"),)))),
        environment_of(reaching(allow=["a.example"])),
    ]
    assert len(set(others)) == len(others)


def test_a_case_has_the_content_that_its_trials_meet() -> None:
    planned = [
        PlannedTrial("a", "baseline", 1),
        PlannedTrial("a", "baseline", 2),
        PlannedTrial("b", "harder", 1),
    ]

    def digests(**changes: Any) -> dict[tuple[str, str], str]:
        harder = B.model_copy(update={"turns": (Turn(user="a hard one"),)})
        cases = {("a", "baseline"): A.model_copy(update=changes), ("b", "harder"): harder}
        return contents(planned, FILES, lambda case, variant: cases[case, variant])

    assert digests().keys() == {("a", "baseline"), ("b", "harder")}
    assert digests() == digests(tags=("t",), trials=9, source_line=3, stress=(StressRule(transform="x"),))
    assert digests()["a", "baseline"] != digests(turns=(Turn(user="bye"),))["a", "baseline"]
    assert digests()["b", "harder"] == digests(turns=(Turn(user="bye"),))["b", "harder"]
