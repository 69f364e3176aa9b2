"""`agent.secrets`: which variables hold secrets, and which hosts may see their values.

    [OPENAI_API_KEY, {CRM_TOKEN: crm.example}, {GH: {hosts: [api.github.com], optional: true}}]

is the same as a mapping of these entries, in which a well-known variable may leave its hosts out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aegis.suite.kinds import BAD, Flag, Key, Kind, ListOf, Schema, Section
from aegis.suite.problems import Path, Problems, did_you_mean
from aegis.suite.units import describe
from aegis.suite.wellknown import WELL_KNOWN


def secret_section(host: Kind) -> Section:
    hosts = ListOf(host, "a list of hosts such as [api.example]", min_items=1)
    return Section(
        (
            Key("hosts", hosts, "Hosts that may see the value; nobody else gets it"),
            Key("optional", Flag(), "Whether a run may start without the value", default=False),
        )
    )


@dataclass(frozen=True, slots=True)
class Secrets:
    """A list of names and of one-key mappings, or a mapping. Reads to name → `{"hosts": […], "optional": …}`, without
    `optional` where it isn't written."""

    name: Kind
    host: Kind
    section: Section

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list | dict):
            problems.wrong(path, f"expected a list such as [OPENAI_API_KEY], got {describe(value)}")
            return BAD
        result: dict[Any, Any] = {}
        for place, entry in _entries(value, path):
            name: Any
            spec: Any
            if isinstance(entry, str):
                name, spec, where = entry, {}, place
            elif isinstance(entry, dict) and len(entry) == 1:
                ((name, spec),) = entry.items()
                where = (*place, name) if isinstance(value, list) else place
            else:
                problems.wrong(
                    place,
                    f"expected one secret such as OPENAI_API_KEY or {{CRM_TOKEN: crm.example}}, "
                    f"got {_what(entry)}",
                )
                continue
            name = self.name.read(name, where, problems)
            if name in result and name is not BAD:
                problems.wrong(where, f"the secret {name} stands twice")
            result[name] = BAD if name is BAD else self._spec(name, spec, where, problems)
        return result

    def _spec(self, name: str, spec: Any, path: Path, problems: Problems) -> Any:
        """The hosts and whether it is optional, out of any of the three ways to write them."""
        if isinstance(spec, str):
            spec = {"hosts": [self.host.read(spec, path, problems)]}
        elif isinstance(spec, list):
            spec = {"hosts": self.section.kinds["hosts"].read(spec, path, problems)}
        elif isinstance(spec, dict):
            misspelt = not spec.keys() <= self.section.kinds.keys()
            spec = self.section.read(spec, path, problems)
            if misspelt:
                return BAD
        else:
            problems.wrong(path, f"expected the hosts that may see the value, got {describe(spec)}")
            return BAD
        if "hosts" not in spec:
            if name not in WELL_KNOWN:
                hint = did_you_mean(name, WELL_KNOWN)
                problems.wrong(
                    path,
                    f"no host is known for the secret {name}{hint}: "
                    f"write {{{name}: api.example}} with the hosts that may see its value",
                )
                return BAD
            spec["hosts"] = [WELL_KNOWN[name]]
        bad = spec["hosts"] is BAD or BAD in spec["hosts"] or spec.get("optional") is BAD
        return BAD if bad else spec

    def schema(self) -> Schema:
        hosts = [self.host.schema(), self.section.kinds["hosts"].schema()]
        loose = self.section.schema()
        known = {"anyOf": [*hosts, loose]}
        names = {key: value for key, value in self.name.schema().items() if key != "type"}
        one_of = "|".join(WELL_KNOWN)
        mapping: Schema = {
            "type": "object",
            "propertyNames": names,
            "patternProperties": {f"^({one_of})$": known},
            "additionalProperties": {"anyOf": [*hosts, {**loose, "required": ["hosts"]}]},
        }
        single = {**mapping, "minProperties": 1, "maxProperties": 1}
        entry = {"anyOf": [{"enum": list(WELL_KNOWN)}, single]}
        return {"anyOf": [{"type": "array", "items": entry}, mapping]}


def secret_places(document: Any) -> dict[str, tuple[Path, Path | None]]:
    """Of each secret in a suite as written: where it stands, and where its hosts stand (None when its name tells
    them). A single host stands where the list would."""
    agent = document.get("agent") if isinstance(document, dict) else None
    written = agent.get("secrets") if isinstance(agent, dict) else None
    path: Path = ("agent", "secrets")
    places: dict[str, tuple[Path, Path | None]] = {}
    for place, entry in _entries(written, path) if isinstance(written, list | dict) else ():
        if isinstance(entry, str):
            places[entry] = (place, None)
        elif isinstance(entry, dict) and len(entry) == 1:
            ((name, spec),) = entry.items()
            where = (*place, name) if isinstance(written, list) else place
            if isinstance(spec, dict):
                places[name] = (where, (*where, "hosts") if "hosts" in spec else None)
            else:
                places[name] = (where, where)
    return places


def _entries(written: list[Any] | dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    """Both ways to write secrets as a list of entries with their places."""
    if isinstance(written, list):
        yield from (((*path, index), entry) for index, entry in enumerate(written))
    else:
        yield from (((*path, name), {name: spec}) for name, spec in written.items())


def _what(entry: Any) -> str:
    return f"{len(entry)} keys" if isinstance(entry, dict) and entry else describe(entry)
