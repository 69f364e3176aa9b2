"""A suite's network on this host: which values its secrets have here, and which of its routes apply. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from aegis.errors import UsageError
from aegis.suite.model import Network, Secret


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a gateway is made from."""

    network: Network
    secrets: Mapping[str, Secret]
    values: Mapping[str, str] = field(repr=False)
    """Secret → its value on this host. Lacks those that have none."""
    routes: Mapping[str, str]
    """Production name → a place on the network."""
    upstream_routes: Mapping[str, str]
    """Production name → the upstream program that answers for it."""
    direct: tuple[str, ...]
    """Names whose route does not apply here: they are reached themselves."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Secrets without a value here, all of them optional."""
        return tuple(name for name in self.secrets if name not in self.values)

    @property
    def upstreams(self) -> Set[str]:
        """Those that a route leads to."""
        return set(self.upstream_routes.values())

    def describe(self) -> dict[str, Any]:
        """What of it decides about results, as plain data without any value of a secret."""
        routes: dict[str, Any] = {name: {"to": target} for name, target in self.routes.items()}
        for name, upstream in self.upstream_routes.items():
            found = self.network.upstreams[upstream]
            routes[name] = {"command": found.command, "scope": found.scope, "env": dict(found.env)}
        return {
            "allow": sorted({*self.network.allow, *self.direct}),
            "routes": dict(sorted(routes.items())),
            "passthrough": sorted(self.network.passthrough),
        }


def resolve(
    network: Network, secrets: Mapping[str, Secret], environ: Mapping[str, str], *, replay: bool = False
) -> Resolved:
    """Values come from `environ` (an empty one is none). In a `replay` nothing is dialled: no value is read, and every
    route applies. Raises `UsageError` that names the secrets which have no value and are not optional."""
    values = {} if replay else {name: environ[name] for name in secrets if environ.get(name)}
    lacking = [name for name, secret in secrets.items() if name not in values and not secret.optional]
    if lacking and not replay:
        raise _lacking(lacking)
    applied = {name: route for name, route in network.routes.items() if route.unless not in values}
    return Resolved(
        network=network,
        secrets=secrets,
        values=values,
        routes={name: route.to for name, route in applied.items() if route.to is not None},
        upstream_routes={
            name: route.upstream for name, route in applied.items() if route.upstream is not None
        },
        direct=tuple(name for name in network.routes if name not in applied),
    )


def _lacking(names: list[str]) -> UsageError:
    what = f"the secret {names[0]} has" if len(names) == 1 else f"the secrets {', '.join(names)} have"
    exports = " ".join(f"{name}=…" for name in names)
    return UsageError(
        f"{what} no value in this environment",
        fix=f"export {exports}, or set `optional: true` in agent.secrets of the suite",
    )
