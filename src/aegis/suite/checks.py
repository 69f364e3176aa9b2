"""What is checked across values and against the project, once each value by itself is read.

`data` is the document as `keys.SUITE` read it (normalised, possibly with `BAD` in it), `found.document` as
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aegis.suite.keys import AGENT_KEYS
from aegis.suite.kinds import BAD
from aegis.suite.paths import source_problem
from aegis.suite.problems import Problems

CheckExpectation = Callable[[str, Any], Sequence[tuple[tuple[str | int, ...], str]]]

ExpectationFiles = Callable[[str, Any], Sequence[str]]

ExpectationServices = Callable[
    [str, Any, Sequence[dict[str, Any]]], Sequence[tuple[tuple[str | int, ...], str]]
]
"""(scorer, a configuration that is right, the services as read) → what the services lack."""


def check_name(data: dict[str, Any], path: Path, found: Problems) -> None:
    """The suite is named as its file."""
    name = data.get("suite")
    if isinstance(name, str) and name != path.stem:
        found.add(("suite",), f"suite: is named {name!r} but its file {path.name!r}: name both alike")


def check_agent_keys(data: dict[str, Any], found: Problems) -> None:
    """No key of the agent is about another protocol than its own."""
    agent = data.get("agent")
    if not isinstance(agent, dict) or agent.get("protocol") is BAD:
        return
    protocol = agent.get("protocol", "text")
    for key, owner in AGENT_KEYS.items():
        if key in agent and protocol != owner:
            found.wrong(("agent", key), f"is for protocol {owner} only: take it out")


def check_ids(data: dict[str, Any], found: Problems) -> None:
    """No two cases have the same id."""
    first: dict[str, int] = {}
    for index, case in cases_of(data):
        name = case.get("id")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            file, line = found.locate(("cases", first[name], "id"))
            found.add(("cases", index, "id"), f"case id {name!r} is used twice (first at {file}:{line})")


def check_expectations(
    data: dict[str, Any],
    check: CheckExpectation,
    files: ExpectationFiles | None,
    found: Problems,
    *,
    base: Path,
    root: Path,
    services: ExpectationServices | None = None,
) -> None:
    """Each scorer exists, takes its configuration, and finds the files it needs (relative to `base`) and the services
    it asks."""
    declared = _services(data)
    known: dict[str, str | None] = {}
    for index, case in cases_of(data):
        entries = case.get("expect")
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if entry is BAD:
                continue
            scorer, config = entry
            problems = check(scorer, config)
            if not problems and services is not None and declared is not None:
                problems = services(scorer, config, declared)
            for inside, message in problems:
                found.wrong(("cases", index, "expect", number, scorer, *inside), message)
            if problems or files is None:
                continue
            for source in files(scorer, config):
                if source not in known:
                    known[source] = source_problem(source, base=base, root=root, folder_ok=False)
                if (problem := known[source]) is not None:
                    found.wrong(("cases", index, "expect", number, scorer), problem)


def _services(data: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The services of the suite; None when one of them could not be read."""
    sandbox = data.get("sandbox", {})
    services = sandbox.get("services", []) if isinstance(sandbox, dict) else BAD
    if not isinstance(services, list) or any(service is BAD for service in services):
        return None
    return services


def check_sources(found: Problems, *, base: Path, root: Path) -> None:
    """Every file of the project that the suite names is there: `sandbox.files` from the root, `world.files`
    from the suite's folder."""
    document = found.document
    for source in _mapping(_mapping(document, "sandbox"), "files"):
        problem = source_problem(source, base=root, root=root, folder_ok=True)
        if problem is not None and source:
            found.wrong(("sandbox", "files", source), problem)
    cases = document.get("cases")
    known: dict[str, str | None] = {}

    def check(holder: Any, place: tuple[str | int, ...]) -> None:
        for target, source in _mapping(_mapping(holder, "world"), "files").items():
            if not isinstance(source, str) or not source or "\0" in source:
                continue
            if source not in known:
                known[source] = source_problem(source, base=base, root=root, folder_ok=True)
            if (problem := known[source]) is not None:
                found.wrong((*place, "world", "files", target), problem)

    check(document, ())
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        check(case, ("cases", index))


def cases_of(data: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The cases that are mappings, with their places."""
    cases = data.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        if case is not BAD:
            yield index, case


def _mapping(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
