"""The scorers by name: the built-in ones, and those that installed packages add as entry points
`aegis.scorers`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from typing import Any

from aegis.errors import UsageError
from aegis.scoring.base import ConfigError, Scorer
from aegis.scoring.services import Declared
from aegis.suite.problems import did_you_mean

GROUP = "aegis.scorers"

_BUILT_IN = {
    "answer": "aegis.scoring.answer",
    "file": "aegis.scoring.file",
    "sql": "aegis.scoring.sql",
    "command": "aegis.scoring.command",
    "budget": "aegis.scoring.budget",
    "python": "aegis.scoring.python",
    "request": "aegis.scoring.request",
    "tool_calls": "aegis.scoring.tool_calls",
    "judge": "aegis.scoring.judge",
    "resilience": "aegis.scoring.resilience",
    "mail": "aegis.scoring.mail",
    "http": "aegis.scoring.http",
    "processes": "aegis.scoring.processes",
    "unchanged": "aegis.scoring.unchanged",
}
"""Name in a suite → module whose `scorer` it is."""


def names() -> list[str]:
    """Every scorer that can be used: the built-in ones in the documentation's order, then plug-ins by
    name."""
    return [*_BUILT_IN, *sorted(_plug_ins())]


@lru_cache(maxsize=256)
def get(name: str) -> Scorer:
    """The scorer of this name. Raises `UsageError` when there is none, or when the plug-in that has it is
    broken."""
    if module := _BUILT_IN.get(name):
        built_in: Scorer = importlib.import_module(module).scorer
        return built_in
    entry = _plug_ins().get(name)
    if entry is None:
        raise UsageError(
            f"unknown scorer {name!r}{did_you_mean(name, names())}", fix=f"Scorers: {', '.join(names())}."
        )
    return _load(entry)


def check(name: str, config: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with one expectation, as (path inside the configuration, message); empty when nothing
    is."""
    try:
        scorer = get(name)
    except UsageError as error:
        return [((), str(error))]
    return _problems(name, lambda: scorer.check(config))


def check_services(
    name: str, config: Any, services: Sequence[Mapping[str, Any]]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Which service of the suite, given as its file has them, one expectation lacks whose configuration `check` has
    passed; as `check`."""
    look = getattr(get(name), "check_services", None)
    if look is None:
        return []
    declared = [
        Declared(str(service.get("name")), service.get("preset") or "", service.get("port"))
        for service in services
    ]
    return _problems(name, lambda: look(config, declared))


def _problems(name: str, look: Callable[[], None]) -> list[tuple[tuple[str | int, ...], str]]:
    try:
        look()
    except ConfigError as error:
        return [(error.path, error.message), *error.others]
    except Exception as error:
        if name in _BUILT_IN:
            raise
        return [
            ((), f"the scorer {name!r} failed to check its configuration: {type(error).__name__}: {error}")
        ]
    return []


@lru_cache(maxsize=1)
def _plug_ins() -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=GROUP):
        if entry.name in _BUILT_IN:
            raise UsageError(
                f"{_origin(entry)} registers the scorer {entry.name!r}, a name that Aegis itself uses",
                fix="Uninstall the package, or rename its entry point.",
            )
        if entry.name in found and found[entry.name].value != entry.value:
            raise UsageError(
                f"{_origin(found[entry.name])} and {_origin(entry)} both register the scorer {entry.name!r}",
                fix="Uninstall one of them.",
            )
        found[entry.name] = entry
    return found


def _load(entry: metadata.EntryPoint) -> Scorer:
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"the scorer {entry.name!r} of {_origin(entry)} cannot be loaded: {reason}",
            fix="Update or uninstall the package.",
        ) from error
    missing = [part for part in ("check", "files", "score") if not callable(getattr(loaded, part, None))]
    if missing or isinstance(loaded, type):
        what = f"lacks {', '.join(missing)}" if missing else "is a class, not an instance"
        raise UsageError(
            f"the scorer {entry.name!r} of {_origin(entry)} cannot be used: {entry.value} {what}",
            fix="The entry point must name an instance with check, files and score (docs/scorers.md).",
        )
    return loaded  # type: ignore[no-any-return]


def _origin(entry: metadata.EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else f"an entry point {entry.value}"
