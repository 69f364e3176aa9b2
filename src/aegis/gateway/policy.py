"""Who may be talked to. Pure: names in, decisions out; nothing here resolves or dials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aegis.errors import UsageError
from aegis.gateway.names import Host, IPAddress, parse_authority

DEFAULT_PORTS = (80, 443)
_REMEMBERED = 1024
"""Decisions; a guest may ask for any number of hosts."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of `allow`, or the left side of a route."""

    host: Host
    wildcard: bool = False
    """Every name below `host`, at any depth, not `host` itself; with an empty host every name."""
    port: int | None = None

    def covers_host(self, host: Host) -> bool:
        if not self.wildcard:
            return host == self.host
        if host.is_address:
            return False
        return not self.host.name or host.name.endswith("." + self.host.name)

    def covers(self, host: Host, port: int) -> bool:
        allowed = DEFAULT_PORTS if self.port is None else (self.port,)
        return port in allowed and self.covers_host(host)


@dataclass(frozen=True, slots=True)
class Route:
    """Another upstream for a production name. `same` speaks to it as the client speaks: TLS or not, HTTP or not."""

    pattern: Pattern
    scheme: Literal["http", "https", "same"]
    host: Host
    port: int


@dataclass(frozen=True, slots=True)
class Admission:
    """What was allowed, and how it is reached."""

    host: Host
    port: int
    route: Route | None
    by_port: bool
    """Whether the entry names this port: only then may something else than HTTP and TLS be spoken."""
    passthrough: bool


def parse_pattern(text: str) -> Pattern:
    """Raises `UsageError` when the entry is not one of the forms that `GatewayConfig.allow` names."""
    try:
        if text == "*" or text.startswith("*:"):
            _, port = parse_authority("any" + text[1:])
            return Pattern(Host(""), True, port)
        wildcard = text.startswith("*.")
        host, port = parse_authority(text[2:] if wildcard else text)
        if wildcard and host.is_address:
            raise ValueError("an address has no names below it")
    except ValueError as error:
        raise UsageError(
            f"not a host that can be allowed: {text!r} ({error})",
            fix="write a name, *.name, name:port, address:port or *; no scheme and no path",
        ) from error
    return Pattern(host, wildcard, port)


def parse_route(name: str, target: str) -> Route:
    """Raises `UsageError` when either side is wrong."""
    pattern = parse_pattern(name)
    scheme: Literal["http", "https", "same"] = "same"
    authority = target
    try:
        if "://" in target:
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query:
                raise ValueError("only http://host:port and https://host:port")
            scheme = "https" if parts.scheme == "https" else "http"
            authority = parts.netloc
        host, port = parse_authority(authority)
        if port is None and scheme == "same":
            raise ValueError("a port is missing")
    except ValueError as error:
        raise UsageError(
            f"not a place to route {name} to: {target!r} ({error})",
            fix="write http://host:port, https://host:port or host:port",
        ) from error
    return Route(pattern, scheme, host, port or (443 if scheme == "https" else 80))


class Policy:
    """The allow list, the routes and the passthrough list of one run. Raises `UsageError` when an entry is wrong."""

    def __init__(
        self, allow: Iterable[str], routes: Mapping[str, str], passthrough: Iterable[str] = ()
    ) -> None:
        self._allow = tuple(parse_pattern(text) for text in allow)
        self._routes = _sorted(parse_route(name, target) for name, target in routes.items())
        self._passthrough = tuple(parse_pattern(text) for text in passthrough)
        self._decided: dict[tuple[Host, int], Admission | None] = {}

    def with_routes(self, routes: Mapping[str, str]) -> Policy:
        """The same with these routes besides; for the same pattern they win. Raises `UsageError`."""
        if not routes:
            return self
        made = Policy((), routes)
        new = {route.pattern for route in made._routes}
        made._routes = _sorted([*made._routes, *(item for item in self._routes if item.pattern not in new)])
        made._allow, made._passthrough = self._allow, self._passthrough
        return made

    def admit(self, host: Host, port: int) -> Admission | None:
        """How `host:port` is reached, or None when nothing allows it."""
        key = host, port
        if key not in self._decided:
            if len(self._decided) >= _REMEMBERED:
                self._decided.clear()
            self._decided[key] = self._decide(host, port)
        return self._decided[key]

    def admits_name(self, host: Host) -> bool:
        """Whether it may be reached at some port."""
        named = (*self._allow, *(route.pattern for route in self._routes))
        return any(item.covers_host(host) for item in named)

    def _decide(self, host: Host, port: int) -> Admission | None:
        route = next((item for item in self._routes if item.pattern.covers(host, port)), None)
        entries = [item for item in self._allow if item.covers(host, port)]
        if route is None and not entries:
            return None
        named = [*entries, *([route.pattern] if route else [])]
        return Admission(
            host=host,
            port=port,
            route=route,
            by_port=any(item.port == port for item in named),
            passthrough=any(
                item.covers_host(host) and item.port in (None, port) for item in self._passthrough
            ),
        )

    def names_address(self, ip: IPAddress, port: int) -> bool:
        """Whether the allow list names this very address: then it may be private."""
        host = Host(str(ip), True)
        return any(item.covers(host, port) for item in self._allow)


def _sorted(routes: Iterable[Route]) -> list[Route]:
    """An exact name wins over a wildcard, a longer wildcard over a shorter one, one with a port over one without."""
    return sorted(
        routes,
        key=lambda route: (route.pattern.wildcard, -len(route.pattern.host.name), route.pattern.port is None),
    )
