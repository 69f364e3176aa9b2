"""A `Suite` back in the shape of its file, so that one made in Python passes the same checks as one that was
read."""

from __future__ import annotations

from typing import Any

from aegis.suite.keys import AGENT_KEYS
from aegis.suite.model import (
    Agent,
    Case,
    Expectation,
    FaultMatch,
    FaultRule,
    Model,
    Network,
    SayRule,
    SimulatedUser,
    StressRule,
    Suite,
    Turn,
)
from aegis.suite.servicekeys import service_document
from aegis.suite.units import format_duration, format_size
from aegis.suite.worlds import own_part, world_document


def to_document(suite: Suite) -> dict[str, Any]:
    """Plain data that loads to an equal suite, apart from where its cases stand (`source_file`, lines), and from
    secrets that become optional because a route stands in for them."""
    sandbox = suite.sandbox
    return {
        "suite": suite.suite,
        "description": suite.description,
        "agent": _agent(suite.agent),
        "sandbox": {
            **sandbox.model_dump(),
            "memory": format_size(sandbox.memory),
            "setup": list(sandbox.setup),
            "setup_timeout": format_duration(sandbox.setup_timeout),
            "services": [service_document(service) for service in sandbox.services],
        },
        "network": _network(suite.network),
        "trials": suite.trials,
        "timeout": format_duration(suite.timeout),
        "faults": [rule_document(rule) for rule in suite.faults],
        "stress": [stress_document(rule) for rule in suite.stress],
        "world": world_document(suite.world),
        "collect": list(suite.collect),
        "cases": [_case(case, suite) for case in suite.cases],
    }


def _agent(agent: Agent) -> dict[str, Any]:
    secrets = {
        name: {"hosts": list(secret.hosts), **({"optional": True} if secret.optional else {})}
        for name, secret in agent.secrets.items()
    }
    written = {
        **agent.model_dump(),
        "secrets": secrets,
        "ready_timeout": format_duration(agent.ready_timeout),
    }
    # A key that is about another protocol than the agent's is refused, whatever it says.
    return {
        key: value for key, value in written.items() if AGENT_KEYS.get(key, agent.protocol) == agent.protocol
    }


def _network(network: Network) -> dict[str, Any]:
    document: dict[str, Any] = {
        "allow": list(network.allow),
        "routes": {name: _given(route) for name, route in network.routes.items()},
        "upstreams": {
            name: {**upstream.model_dump(), "ready_timeout": format_duration(upstream.ready_timeout)}
            for name, upstream in network.upstreams.items()
        },
        "passthrough": list(network.passthrough),
        "limits": {host: _given(limit) for host, limit in network.limits.items()},
    }
    return document if network.ca_bundle is None else {**document, "ca_bundle": network.ca_bundle}


def _given(model: Model) -> dict[str, Any]:
    return model.model_dump(exclude_none=True)


def _case(case: Case, suite: Suite) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": case.id,
        "tags": list(case.tags),
        "description": case.description,
        "conversation": [turn_document(turn) for turn in case.turns],
        "world": world_document(own_part(suite.world, case.world)),
        "collect": [path for path in case.collect if path not in suite.collect],
        "expect": _expect(case.expect),
    }
    if own := [rule for rule in case.faults if rule not in suite.faults]:
        document["faults"] = [rule_document(rule) for rule in own]
    if stress := [rule for rule in case.stress if rule not in suite.stress]:
        document["stress"] = [stress_document(rule) for rule in stress]
    if case.trials is not None:
        document["trials"] = case.trials
    if case.timeout is not None:
        document["timeout"] = format_duration(case.timeout)
    return document


def _expect(entries: tuple[Expectation, ...]) -> list[dict[str, Any]]:
    return [{entry.scorer: entry.config} for entry in entries]


def turn_document(turn: Turn) -> dict[str, Any]:
    """An entry of a conversation as a suite's file writes it."""
    said = {"user": turn.user} if turn.simulate is None else {"simulate": _user(turn.simulate)}
    return {**said, **({"expect": _expect(turn.expect)} if turn.expect else {})}


def _user(user: SimulatedUser) -> dict[str, Any]:
    written = user.model_dump(exclude_defaults=True)
    if "gives_up_after" in written:
        written["gives_up"] = written.pop("gives_up_after")
    if "knows" in written:
        written["knows"] = list(user.knows)
    if "budget" in written:
        written["budget"] = user.budget.model_dump(exclude_none=True)
    if user.script:
        written["script"] = [_say_rule(rule) for rule in user.script]
    return written


def _say_rule(rule: SayRule) -> dict[str, Any]:
    if rule.when is None:
        return {"otherwise": rule.say}
    return {"when": rule.when, "say": rule.say, **({"once": True} if rule.once else {})}


def stress_document(rule: StressRule) -> dict[str, Any]:
    """A stress rule as a suite's file writes it."""
    levels = {"levels": list(rule.levels)} if rule.levels != ("",) else {}
    return {"transform": rule.transform, **levels, **rule.params}


def rule_document(rule: FaultRule) -> dict[str, Any]:
    """A fault rule as a suite's file writes it."""
    document: dict[str, Any] = {"id": rule.id, "inject": rule.inject}
    if match := _match(rule.match):
        document["match"] = match
    numbers = {"from": rule.first, "to": rule.last, "every": rule.every, "probability": rule.probability}
    document.update({name: value for name, value in numbers.items() if value is not None})
    if rule.on:
        document["on"] = rule.on[0] if len(rule.on) == 1 else list(rule.on)
    if rule.after is not None or rule.after_s is not None:
        document["after"] = rule.after if rule.after_s is None else format_duration(rule.after_s)
    if rule.until_match is not None:
        document["until"] = _match(rule.until_match)
    elif rule.until_hits is not None or rule.until_s is not None:
        document["until"] = rule.until_hits if rule.until_s is None else format_duration(rule.until_s)
    if rule.require_fired:
        document["require_fired"] = True
    return {**document, **rule.params}


def _match(match: FaultMatch) -> dict[str, Any]:
    given = match.model_dump(exclude_defaults=True)
    return {
        name: (value[0] if len(value) == 1 else list(value)) if isinstance(value, tuple) else value
        for name, value in given.items()
    }
