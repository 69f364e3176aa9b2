"""What makes two runs comparable."""

from __future__ import annotations

import pytest
from engine_values import case, suite, world

from aegis.engine.fingerprint import fingerprint
from aegis.engine.template import CaseFiles
from aegis.suite.model import Agent, SandboxConfig, Suite, Turn

A, B = case("a"), case("b", world=world("true"))
FILES = {"a": CaseFiles(), "b": CaseFiles(world="1" * 64, checks={"check.py": "2" * 64})}
BASE = suite(A, B)


def of(the_suite: Suite, files: dict[str, CaseFiles] = FILES, image: str = "i", isolation: str = "vm") -> str:
    return fingerprint(the_suite, files, image=image, isolation=isolation)


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
    ]
    assert len(set(variants)) == len(variants)
