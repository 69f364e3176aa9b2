"""From the key `stress` of a suite to rules; everything that is wrong is told with its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aegis.stress import registry
from aegis.suite.kinds import BAD, Key, ListOf, Schema, Section, Text
from aegis.suite.model import StressRule
from aegis.suite.problems import Path, Problems, did_you_mean
from aegis.suite.stresskeys import EXPECTED, NONE
from aegis.suite.units import describe

BASELINE = "baseline"
"""May stand in a list, and says nothing: the case as written always runs."""


@dataclass(frozen=True, slots=True)
class Level:
    """Name of a level; one that is a number may be written as one."""

    names: tuple[str, ...]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if name in self.names:
            return name
        problems.wrong(path, f"expected one of {', '.join(self.names)}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"enum": [*self.names, *(int(name) for name in self.names if name.isdecimal())]}


def read_stress(value: Any, path: Path, problems: Problems) -> tuple[StressRule, ...] | None:
    """Fulfils `suite.stresskeys.ReadStress`."""
    if value == NONE:
        return None
    found: list[StressRule] = []
    for item, place in [(value, path)] if isinstance(value, str) else _places(value, path):
        if isinstance(item, str):
            found += _named(item, place, problems)
        elif isinstance(item, dict):
            found += _rule(item, place, problems)
        else:
            problems.wrong(place, f"expected {EXPECTED}, got {describe(item)}")
    return _merged(found, path, problems)


def _places(items: list[Any], path: Path) -> list[tuple[Any, Path]]:
    return [(item, (*path, index)) for index, item in enumerate(items)]


def _named(name: str, path: Path, problems: Problems) -> list[StressRule]:
    if name == BASELINE:
        return []
    if name == NONE:
        problems.wrong(path, "none stands alone: stress: none")
        return []
    if name in registry.SETS:
        return [_usual(transform) for transform in registry.SETS[name]]
    transform, _, level = name.partition(".")
    if transform not in registry.NAMES:
        known = (*registry.NAMES, *registry.SETS)
        hint = did_you_mean(transform, known) or f" (there are: {', '.join(known)})"
        problems.wrong(path, f"unknown transform {describe(name)}{hint}")
        return []
    if not level:
        return [_usual(transform)]
    if level not in registry.get(transform).levels:
        problems.wrong(path, f"{transform} has no level {level!r}{_levels(transform)}")
        return []
    return [StressRule(transform=transform, levels=(level,))]


def _usual(name: str) -> StressRule:
    return StressRule(transform=name, levels=registry.get(name).usual)


def _rule(item: dict[str, Any], path: Path, problems: Problems) -> list[StressRule]:
    name = item.get("transform")
    if not isinstance(name, str) or name not in registry.NAMES:
        hint = did_you_mean(name, registry.NAMES) if name is not None else ""
        problems.wrong((*path, "transform"), f"expected the name of a transform, got {describe(name)}{hint}")
        return []
    kind = registry.get(name)
    before = len(problems.found)
    read = rule_section(name).read(item, path, problems)
    if len(problems.found) > before:
        return []
    written = {key: value for key, value in item.items() if key not in ("transform", "levels")}
    try:
        kind.read(written)
    except ValueError as error:
        problems.wrong(path, str(error))
        return []
    return [StressRule(transform=name, levels=tuple(read.get("levels", kind.usual)), params=written)]


def _merged(rules: list[StressRule], path: Path, problems: Problems) -> tuple[StressRule, ...]:
    """Each transform once; one that stands twice with parameters of its own is a problem."""
    found: dict[str, StressRule] = {}
    for rule in rules:
        before = found.get(rule.transform)
        if before is not None and before.params != rule.params and before.params and rule.params:
            problems.wrong(path, f"{rule.transform} stands twice with different parameters: keep one")
        elif before is not None:
            levels = tuple(dict.fromkeys((*before.levels, *rule.levels)))
            params = before.params or rule.params
            rule = StressRule(transform=rule.transform, levels=levels, params=params)
        found[rule.transform] = rule
    return tuple(found.values())


def _levels(name: str) -> str:
    levels = [level for level in registry.get(name).levels if level]
    return f" (levels: {', '.join(levels)})" if levels else " (it has no levels)"


def rule_section(name: str) -> Section:
    """The keys of an entry about this transform."""
    kind = registry.get(name)
    levels = tuple(level for level in kind.levels if level)
    keys = [Key("transform", Text("the name of a transform"), "The transform", required=True)]
    if levels:
        one = Level(levels)
        keys.append(
            Key("levels", ListOf(one, "a list of levels", min_items=1, unique=True), "Which levels to run")
        )
    return Section((*keys, *kind.keys))


def schema() -> Schema:
    """JSON Schema of one entry, for editors."""
    return {"anyOf": [_schema_of(name) for name in registry.NAMES]}


def _schema_of(name: str) -> Schema:
    found = rule_section(name).schema()
    summary = " ".join((registry.get(name).__doc__ or "").split("\n\n")[0].split())
    found["properties"]["transform"] = {"const": name, "description": summary}
    return found
