"""The world that all cases of a suite share, and what each adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aegis.suite.clockkeys import clock_document
from aegis.suite.kinds import Schema, Section
from aegis.suite.model import World
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe

NONE = "none"
"""In a case: not even the suite's world."""


@dataclass(frozen=True, slots=True)
class CaseWorld:
    """The section `world`, or the word `none`, which reads to `{"alone": True}`."""

    section: Section

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if value == NONE:
            return {"alone": True}
        if isinstance(value, str):
            problems.wrong(path, f"expected a mapping such as {{files: …}}, or none, got {describe(value)}")
            return {}
        return self.section.read(value, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": NONE}, self.section.schema()]}


def merged(shared: World, own: World) -> World:
    """What a case starts in: the suite's files, over them its own; the suite's steps, then its own; to clean up, its
    own steps first; its own clock, else the suite's."""
    if own.alone:
        return own
    # The case's own come last: one of them may lie in a folder that the suite brings.
    files = {target: source for target, source in shared.files.items() if target not in own.files}
    return World(
        files={**files, **own.files},
        run=(*shared.run, *own.run),
        reset=(*own.reset, *shared.reset),
        clock=shared.clock if own.clock is None else own.clock,
    )


def own_part(shared: World, world: World) -> World:
    """The inverse of `merged`: what a case has besides the suite's world. A world that does not hold the suite's is
    the case's own as it is."""
    if world.alone or not _holds(shared, world):
        return world
    return World(
        files={
            target: source for target, source in world.files.items() if shared.files.get(target) != source
        },
        run=world.run[len(shared.run) :],
        reset=world.reset[: len(world.reset) - len(shared.reset)],
        clock=None if world.clock == shared.clock else world.clock,
    )


def _holds(shared: World, world: World) -> bool:
    begins = world.run[: len(shared.run)] == shared.run
    ends = world.reset[len(world.reset) - len(shared.reset) :] == shared.reset
    return begins and ends and shared.files.keys() <= world.files.keys()


def world_document(world: World) -> Any:
    """A world as a suite's file writes it."""
    if world.alone:
        return NONE
    document: dict[str, Any] = {
        "files": dict(world.files),
        "run": list(world.run),
        "reset": list(world.reset),
    }
    return document if world.clock is None else {**document, "clock": clock_document(world.clock)}
