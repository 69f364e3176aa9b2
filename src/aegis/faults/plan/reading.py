"""From the key `faults` of a suite to the rules of its trials; everything that is wrong is told with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from aegis.errors import UsageError
from aegis.faults import registry
from aegis.faults.base import Fault
from aegis.faults.plan import match as matching
from aegis.faults.plan import profiles
from aegis.faults.plan.keys import RULE_NAMES, rule_section
from aegis.faults.plan.profiles import Profile
from aegis.gateway import entries
from aegis.suite.faultkeys import NONE, Reach
from aegis.suite.kinds import BAD, holds_bad
from aegis.suite.model import FaultMatch, FaultRule
from aegis.suite.problems import Path, Problems, did_you_mean, nearest
from aegis.suite.units import describe, format_duration

_ALIKE = 200
"""Matches that are looked at to find that two rules always want the same."""
_INSIDE = "*.mcp-stdio"
"""The names by which MCP servers in the sandbox are known, as an entry of `network.allow` would have them."""


def read_faults(
    value: Any, path: Path, problems: Problems, *, reach: Reach, folder: FilePath
) -> tuple[FaultRule, ...] | None:
    """Fulfils `suite.faultkeys.ReadFaults`."""
    if value == NONE:
        return None
    reader = _Reader(problems, reach, folder)
    if isinstance(value, str):
        reader.profile(value, path)
    else:
        for index, item in enumerate(value):
            reader.item(item, (*path, index))
    reader.check_exclusions()
    return tuple(rule for rule, _ in reader.rules)


def rules_of(profile: Profile, folder: FilePath | None) -> tuple[FaultRule, ...]:
    """The rules of a profile by itself, whatever a suite allows. Raises `UsageError` with all that is wrong."""
    problems = Problems(profile.document, profile.locate)
    reach = Reach(complete=False, secrets=frozenset(_credentials(profile.rules)))
    reader = _Reader(problems, reach, folder, (profile.name,))
    for index, item in enumerate(profile.rules):
        reader.item(item, ("rules", index))
    reader.check_exclusions()
    if problems.found:
        raise UsageError("; ".join(map(str, problems.found[:5])))
    return tuple(rule for rule, _ in reader.rules)


def _credentials(rules: list[Any]) -> Iterator[str]:
    """The secrets that rules name, which a suite must have that uses them."""
    for rule in rules:
        for key in ("match", "until") if isinstance(rule, dict) else ():
            if isinstance(match := rule.get(key), dict) and isinstance(name := match.get("credential"), str):
                yield name


class _Reader:
    def __init__(
        self, problems: Problems, reach: Reach, folder: FilePath | None, within: tuple[str, ...] = ()
    ) -> None:
        """`within` are the profiles that are being read, the outermost first."""
        self._problems = problems
        self._reach = reach
        self._folder = folder
        self._within = within
        self._ids: set[str] = set()
        self.rules: list[tuple[FaultRule, Path]] = []

    def item(self, item: Any, path: Path) -> None:
        if item == NONE:
            self._problems.wrong(path, "none stands alone: faults: none")
        elif isinstance(item, str):
            self.profile(item, path)
        elif isinstance(item, dict):
            self._rule(item, path)
        else:
            expected = "a rule such as {inject: rate-limit, on: 1} or the name of a profile"
            self._problems.wrong(path, f"expected {expected}, got {describe(item)}")

    def profile(self, name: str, path: Path) -> None:
        if name in self._within:
            chain = " → ".join((*self._within, name))
            self._problems.wrong(path, f"the profile {name} holds itself: {chain}")
            return
        try:
            found = profiles.load(name, self._folder)
        except UsageError as error:
            self._problems.wrong(path, f"{error}{f' ({error.fix})' if error.fix else ''}")
            return
        inner = Problems(found.document, found.locate)
        reach = Reach(complete=False, secrets=self._reach.secrets)
        reader = _Reader(inner, reach, self._folder, (*self._within, name))
        for index, item in enumerate(found.rules):
            reader.item(item, ("rules", index))
        if inner.found:
            self._problems.found.extend(inner.found)
            return
        kept = [rule for rule, _ in reader.rules if self._reachable(rule.match, rule.inject)]
        if not kept:
            self._problems.wrong(
                path,
                f"the profile {name} is about hosts that are neither allowed nor routed: {_hosts(reader.rules)}",
            )
        for rule in kept:
            fields = {"id": self._unique(f"{name}/{rule.id}"), "source": f"profile {name}"}
            self.rules.append((rule.model_copy(update=fields), path))

    def _rule(self, item: dict[str, Any], path: Path) -> None:
        name = item.get("inject")
        if not isinstance(name, str):
            self._problems.wrong(*_no_fault(item, path))
            return
        if name not in registry.names():
            hint = did_you_mean(name, registry.names()) or " (aegis faults list shows them all)"
            self._problems.wrong((*path, "inject"), f"unknown fault {describe(name)}{hint}")
            return
        before = len(self._problems.found)
        read = rule_section(name).read(item, path, self._problems)
        if read is BAD or holds_bad(read) or len(self._problems.found) > before:
            return
        kind = registry.get(name)
        written = {key: value for key, value in item.items() if key not in RULE_NAMES}
        try:
            kind.read(written)
        except ValueError as error:
            self._problems.wrong(path, str(error))
            return
        rule = FaultRule(
            inject=name,
            match=FaultMatch(**read.get("match", {})),
            params=written,
            source=":".join(map(str, self._problems.locate(path))),
            **self._when(read),
            id=self._name(item, name, path),
        )
        if self._makes_sense(rule, path):
            self.rules.append((rule, path))

    def _name(self, item: dict[str, Any], name: str, path: Path) -> str:
        given = item.get("id")
        if given is None:
            return self._unique(name)
        if given in self._ids:
            self._problems.wrong((*path, "id"), f"{given!r} is the id of another rule too")
        self._ids.add(given)
        return str(given)

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self._ids:
            number += 1
            found = f"{name}-{number}"
        self._ids.add(found)
        return found

    @staticmethod
    def _when(read: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {"require_fired": read.get("require_fired", False)}
        for key, name in (("on", "on"), ("from", "first"), ("to", "last"), ("every", "every")):
            if key in read:
                fields[name] = read[key]
        if "probability" in read:
            fields["probability"] = read["probability"]
        if "after" in read:
            how, value = read["after"]
            fields["after" if how == "count" else "after_s"] = value
        if "until" in read:
            how, value = read["until"]
            name = {"count": "until_hits", "time": "until_s", "match": "until_match"}[how]
            fields[name] = FaultMatch(**value) if how == "match" else value
        return fields

    def _makes_sense(self, rule: FaultRule, path: Path) -> bool:
        before = len(self._problems.found)
        kind = registry.get(rule.inject)
        if rule.on and (rule.first is not None or rule.last is not None or rule.every is not None):
            self._problems.wrong((*path, "on"), "names its matches: take out 'from', 'to' and 'every'")
        if rule.after is not None and rule.on and max(rule.on) <= rule.after:
            self._problems.wrong((*path, "on"), f"is not after match {rule.after}: it could never hit")
        if rule.last is not None and not rule.on and (begin := _first_pick(rule)) > rule.last:
            self._problems.wrong((*path, "to"), f"is before the first match that it picks ({begin})")
        if rule.after_s is not None and rule.until_s is not None and rule.after_s >= rule.until_s:
            self._problems.wrong(
                (*path, "until"), f"is over when 'after' begins ({format_duration(rule.after_s)})"
            )
        if kind.stage == "connect" and matching.is_of_requests(rule.match):
            self._problems.wrong(
                (*path, "match"), f"{rule.inject} comes before any request: only host and port can be matched"
            )
        for match, place in ((rule.match, "match"), (rule.until_match, "until")):
            if match is not None:
                self._check_match(match, (*path, place), rule.inject if place == "match" else None)
        return len(self._problems.found) == before

    def _check_match(self, match: FaultMatch, path: Path, fault: str | None) -> None:
        secret = match.credential
        if secret not in (None, "any", "none") and secret not in self._reach.secrets:
            hint = did_you_mean(secret, self._reach.secrets)
            self._problems.wrong((*path, "credential"), f"{secret!r} is not in agent.secrets{hint}")
        if not self._reachable(match, fault):
            hosts = ", ".join(match.host)
            port = "" if match.port is None else f" at port {match.port}"
            self._problems.wrong(
                path,
                f"can never match: {hosts or 'any host'}{port} is neither allowed nor routed (network.allow)",
            )

    def _reachable(self, match: FaultMatch, fault: str | None) -> bool:
        """Whether a connection that is let through, or an MCP server in the sandbox, can be what it is about, and can
        meet this fault (None: any)."""
        if not self._reach.complete:
            return True
        known = self._reach.entries
        if match.port is None and (fault is None or "mcp" in registry.get(fault).layers):
            known = (*known, _INSIDE)
        return any(
            entries.may_match(host, match.port, entry) for host in match.host or ("*",) for entry in known
        )

    def check_exclusions(self) -> None:
        """Two rules that want to answer (or to bend) all the same exchanges: the second could never hit."""
        for number, (rule, path) in enumerate(self.rules):
            for earlier, _ in self.rules[:number]:
                if _excludes(earlier, rule):
                    self._problems.wrong(
                        path,
                        f"{rule.id} could never hit: {earlier.id} takes every exchange that it picks "
                        "(give one of them other matches)",
                    )
                    break


def _excludes(earlier: FaultRule, rule: FaultRule) -> bool:
    one, other = registry.get(earlier.inject), registry.get(rule.inject)
    if one.stage != other.stage or one.stage == "time" or earlier.match != rule.match:
        return False
    if one.stage == "connect" and one.moment != other.moment:
        return False
    unread = frozenset({"tcp"} if matching.is_of_requests(rule.match) else ())
    if not _takes_what_it_picks(one) or not other.layers - unread <= one.layers:
        return False
    open_ended = (
        earlier.probability,
        earlier.after_s,
        earlier.until_hits,
        earlier.until_s,
        earlier.until_match,
    )
    if any(item is not None for item in open_ended) or earlier.params.get("requests") is not None:
        return False
    picked = [number for number in range(1, _ALIKE) if _picks(rule, number)]
    return bool(picked) and all(_picks(earlier, number) for number in picked)


def _takes_what_it_picks(kind: type[Fault]) -> bool:
    """Whether it leaves nothing that its rule picks to a later rule, because it cannot act on it."""
    takes = (Fault.takes, registry.get("rate-limit").takes)
    return kind.takes in takes and kind.admits is Fault.admits and kind.leaves_out is Fault.leaves_out


def _picks(rule: FaultRule, number: int) -> bool:
    if rule.on:
        return number in rule.on
    begin = max(rule.first or 1, (rule.after or 0) + 1)
    if number < begin or (rule.last is not None and number > rule.last):
        return False
    return rule.every is None or (number - (rule.after or 0)) % rule.every == 0


def _first_pick(rule: FaultRule) -> int:
    """The first match that `from`, `after` and `every` together leave."""
    after, every = rule.after or 0, rule.every or 1
    begin = max(rule.first or 1, after + 1)
    return after + -(-(begin - after) // every) * every


def _no_fault(item: dict[str, Any], path: Path) -> tuple[Path, str]:
    if "inject" in item:
        return (*path, "inject"), f"expected the name of a fault, got {describe(item['inject'])}"
    near = nearest("inject", map(str, item))
    hint = f" (did you write {near!r} for it?)" if near else " (aegis faults list)"
    return path, f"key 'inject' is missing: the name of a fault{hint}"


def _hosts(rules: list[tuple[FaultRule, Path]]) -> str:
    return ", ".join(sorted({host for rule, _ in rules for host in rule.match.host})) or "any host"
