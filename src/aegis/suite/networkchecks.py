"""What is checked across `network` and `agent.secrets`, once each value by itself is read.

`data` is the document as `keys.SUITE` read it (normalised, possibly with `BAD` in it), `found.document` as written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from aegis.suite.faultkeys import Reach
from aegis.suite.hosts import EXPECTED_HOST, EXPECTED_TARGET, HostRules
from aegis.suite.kinds import BAD
from aegis.suite.paths import source_problem
from aegis.suite.problems import Path, Problems, did_you_mean
from aegis.suite.secretkeys import secret_places

MAX_BUNDLE_BYTES = 8 * 1024 * 1024


def check_network(data: dict[str, Any], found: Problems, *, root: FilePath, rules: HostRules | None) -> Reach:
    """Names lead somewhere, nothing is there for nothing, and every host is one by the `rules`. Returns what can be
    talked to."""
    network = _mapping(data.get("network"))
    _check_routes(data, network, found)
    for name, upstream in _mapping(network.get("upstreams")).items():
        if "PORT" in _mapping(_mapping(upstream).get("env")):
            place: Path = ("network", "upstreams", name, "env", "PORT")
            found.wrong(place, "names the port that is chosen for the program: take it out")
    env = _mapping(_mapping(data.get("agent")).get("env"))
    for name, (place, _) in secret_places(found.document).items():
        if name in env:
            found.wrong(place, f"the secret {name} is also in agent.env: keep one of the two")
    bundle = network.get("ca_bundle")
    if isinstance(bundle, str) and (problem := _bundle_problem(bundle, root)) is not None:
        found.wrong(("network", "ca_bundle"), problem)
    secrets = frozenset(secret_places(found.document))
    if rules is None:
        return Reach((), False, secrets)
    hosts = _Hosts(data, network, found, rules)
    hosts.check()
    return Reach((*hosts.allowed, *hosts.routed), hosts.complete, secrets)


def standing_in(network: Any) -> set[str]:
    """The secrets without whose value a run may start because a route stands in for the host then."""
    routes = _mapping(_mapping(network).get("routes"))
    return {route["unless"] for route in routes.values() if "unless" in _mapping(route)}


def _check_routes(data: dict[str, Any], network: dict[str, Any], found: Problems) -> None:
    upstreams, secrets = _mapping(network.get("upstreams")), secret_places(found.document)
    used: set[Any] = set()
    for name, route in _mapping(network.get("routes")).items():
        upstream, unless = _mapping(route).get("upstream"), _mapping(route).get("unless")
        place: Path = ("network", "routes", name)
        used.add(upstream if isinstance(route, dict) else BAD)
        if isinstance(upstream, str) and upstream not in upstreams:
            used.add(BAD)
            hint = did_you_mean(upstream, _texts(upstreams))
            found.wrong((*place, "upstream"), f"there is no upstream {upstream!r}{hint}")
        if isinstance(unless, str) and unless not in secrets:
            hint = did_you_mean(unless, secrets)
            found.wrong((*place, "unless"), f"{unless!r} is not in agent.secrets{hint}")
        elif isinstance(unless, str) and _written_required(data, unless):
            found.wrong(
                (*place, "unless"),
                f"the secret {unless} is not optional, so this route would never be used: "
                "take out its 'optional: false'",
            )
    if BAD not in used:
        for name in _texts(upstreams):
            if name not in used:
                found.wrong(("network", "upstreams", name), "no route leads to it: add one, or take it out")


def _written_required(data: dict[str, Any], secret: str) -> bool:
    secrets = _mapping(_mapping(data.get("agent")).get("secrets"))
    return _mapping(secrets.get(secret)).get("optional") is False


def _bundle_problem(written: str, root: FilePath) -> str | None:
    problem = source_problem(written, base=root, root=root, folder_ok=False)
    if problem is not None:
        return problem
    # Only for suites that have one: it takes longer to import than most suites to load.
    import ssl

    path = root / written
    try:
        if os.path.getsize(path) > MAX_BUNDLE_BYTES:
            return f"{written!r} is larger than {MAX_BUNDLE_BYTES // 1024**2}MiB"
        text = path.read_bytes().decode("ascii", "replace")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except OSError as error:  # SSLError is one
        if isinstance(error, ssl.SSLError):
            return f"{written!r} holds no certificates in PEM form (-----BEGIN CERTIFICATE-----)"
        return f"{written!r} cannot be read: {error.strerror}"
    except ValueError:
        return f"{written!r} holds no certificates in PEM form (it is empty)"
    return None


@dataclass
class _Hosts:
    """The checks that need the rules of hosts."""

    data: dict[str, Any]
    network: dict[str, Any]
    found: Problems
    rules: HostRules
    allowed: list[str] = field(default_factory=list)
    routed: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether all of what is allowed could be read: only then can something be called unreachable."""

    def check(self) -> None:
        entry = self.rules.entry
        self.allowed = [host for _, host in self._group(self._list("allow"), entry)]
        names = ((("network", "routes", name), name) for name in self._keys("routes"))
        self.routed = [host for _, host in self._group(names, entry)]
        self.complete = not _lost(self.network, "allow", "routes") and self.complete
        self._check_targets()
        passed = list(self._group(self._list("passthrough"), entry))
        limited = ((("network", "limits", name), name) for name in self._keys("limits"))
        for path, host in [*passed, *self._group(limited, self.rules.name)]:
            if not self._reachable(host):
                self.found.wrong(
                    path, f"{host} is neither allowed nor routed: add it to network.allow, or take it out"
                )
        self._check_secrets([host for _, host in passed])

    def _check_targets(self) -> None:
        for name, route in _mapping(self.network.get("routes")).items():
            target = _mapping(route).get("to")
            if isinstance(target, str):
                try:
                    self.rules.target(target)
                except ValueError as error:
                    place: Path = ("network", "routes", name)
                    written = _mapping(_mapping(self.found.document).get("network")).get("routes")
                    short = isinstance(_mapping(written).get(name), str)
                    self.found.wrong(
                        place if short else (*place, "to"), f"{error}; expected {EXPECTED_TARGET}"
                    )

    def _check_secrets(self, passed: list[str]) -> None:
        secrets = _mapping(_mapping(self.data.get("agent")).get("secrets"))
        for name, (place, hosts_place) in secret_places(self.found.document).items():
            hosts = _mapping(secrets.get(name)).get("hosts", ())
            if hosts_place is None:
                entries: list[tuple[Path, str]] = [(place, host) for host in hosts]
            elif len(hosts) == 1:
                entries = [(hosts_place, host) for host in hosts]
            else:
                entries = [((*hosts_place, index), host) for index, host in enumerate(hosts)]
            for path, host in self._group(entries, self.rules.entry):
                self._check_secret(name, path, host, passed)

    def _check_secret(self, name: str, path: Path, host: str, passed: list[str]) -> None:
        if not self._reachable(host):
            self.found.wrong(
                path,
                f"{host} is neither allowed nor routed, so the secret {name} could never be used there: "
                "add it to network.allow",
            )
        elif any(self.rules.within(host, outer) for outer in passed) and not self._meets(host, self.routed):
            self.found.wrong(
                path, f"the TLS of {host} is passed through unopened, so the secret {name} can't be put in"
            )

    def _reachable(self, host: str) -> bool:
        return not self.complete or self._meets(host, [*self.allowed, *self.routed])

    def _meets(self, host: str, entries: Iterable[str]) -> bool:
        return any(self.rules.meet(host, entry) for entry in entries)

    def _group(
        self, entries: Iterable[tuple[Path, str]], normal: Callable[[str], str]
    ) -> Iterator[tuple[Path, str]]:
        """The right ones of a list, in normal form; the others, and those that stand twice, are problems."""
        seen: dict[str, str] = {}
        for path, text in list(entries):
            try:
                host = normal(text)
            except ValueError as error:
                self.complete = False
                self.found.wrong(path, f"{error}; expected {EXPECTED_HOST}")
                continue
            if host in seen:
                self.found.wrong(path, f"{text!r} is the same as {seen[host]!r} above")
            else:
                seen[host] = text
                yield path, host

    def _list(self, key: str) -> list[tuple[Path, str]]:
        value = self.network.get(key)
        items = enumerate(value if isinstance(value, list) else ())
        return [(("network", key, index), item) for index, item in items if item is not BAD]

    def _keys(self, key: str) -> list[str]:
        return _texts(_mapping(self.network.get(key)))


def _lost(network: dict[str, Any], *keys: str) -> bool:
    """Whether hosts are missing because they could not be read at all."""
    values = [network.get(key) for key in keys]
    return any(value is BAD or (isinstance(value, list | dict) and BAD in value) for value in values)


def _texts(names: Iterable[Any]) -> list[str]:
    return [name for name in names if isinstance(name, str)]


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
