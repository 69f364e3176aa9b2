"""The rules for hosts in a suite: what may stand there, and which entries mean the same. Pure.

The suite's room asks these when it loads a file, so that a wrong entry is told with its line (`suite.hosts.HostRules`).
Errors are `ValueError` with what is wrong with the text.
"""

from __future__ import annotations

import re

from aegis.errors import UsageError
from aegis.gateway.policy import DEFAULT_PORTS, Pattern, parse_pattern, parse_route


def entry(text: str) -> str:
    """The normal form of an entry of `allow`."""
    pattern = _pattern(text)
    name = pattern.host.in_url
    if pattern.wildcard:
        name = f"*.{name}" if name else "*"
    return name if pattern.port is None else f"{name}:{pattern.port}"


def name(text: str) -> str:
    """The normal form of a host by itself, as in `limits`."""
    pattern = _pattern(text)
    if pattern.wildcard or pattern.port is not None:
        raise ValueError(f"a host by itself stands here, without {'*' if pattern.wildcard else 'a port'}")
    return pattern.host.in_url


def target(text: str) -> str:
    """The normal form of where a route leads."""
    try:
        route = parse_route("any.example", text)
    except UsageError as error:
        raise ValueError(_reason(error)) from error
    scheme = "" if route.scheme == "same" else f"{route.scheme}://"
    return f"{scheme}{route.host.in_url}:{route.port}"


def meet(user: str, allowed: str) -> bool:
    """Whether something that is said about `user` (a secret may go there, a limit holds there) can ever apply to a
    connection that `allowed` lets through. `user` without a port means any port, `allowed` without one 80 and 443."""
    one, other = _pattern(user), _pattern(allowed)
    ports = DEFAULT_PORTS if other.port is None else (other.port,)
    if one.port is not None and one.port not in ports:
        return False
    return _contains(one, other) or _contains(other, one)


def may_match(glob: str, port: int | None, allowed: str) -> bool:
    """Whether a connection that `allowed` lets through can go to a host that `glob` (`*`: any characters) matches."""
    entry = _pattern(allowed)
    ports = DEFAULT_PORTS if entry.port is None else (entry.port,)
    if port is not None and port not in ports:
        return False
    if not entry.wildcard:
        return _globs(glob, entry.host.name)
    if "*" not in glob:
        return not entry.host.name or glob.endswith(f".{entry.host.name}")
    # Two patterns: whether what stands after their last stars can be the same end of a name.
    end = glob.rpartition("*")[2]
    base = f".{entry.host.name}" if entry.host.name else ""
    return end.endswith(base) or base.endswith(end)


def _globs(glob: str, name: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in re.split(r"\*+", glob)), name, re.S) is not None


def within(inner: str, outer: str) -> bool:
    """Whether `outer` covers all that `inner` names, without a port each means any port."""
    one, other = _pattern(inner), _pattern(outer)
    return other.port in (None, one.port) and _contains(other, one)


def _contains(outer: Pattern, inner: Pattern) -> bool:
    """Whether every host of `inner` is one of `outer`, whatever the ports."""
    if not inner.wildcard:
        return outer.covers_host(inner.host)
    if not outer.wildcard:
        return False
    base = outer.host.name
    return not base or inner.host.name == base or inner.host.name.endswith(f".{base}")


def _pattern(text: str) -> Pattern:
    if found := re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]+)", text):
        port = found.group(2)
        if len(port) > 5 or not 0 < int(port) < 65536:
            raise ValueError(f"the port of {text[:80]!r} is not from 1 to 65535")
    elif ":" in text and "[" not in text and text.count(":") == 1:
        raise ValueError(f"what stands behind the colon of {text[:80]!r} is no port")
    if text.startswith("*") and not re.fullmatch(r"\*(\..+)?(:[0-9]+)?", text, re.S):
        raise ValueError(f"a wildcard is written *.name, not {text[:80]!r}")
    try:
        return parse_pattern(text)
    except UsageError as error:
        raise ValueError(_reason(error)) from error


def _reason(error: UsageError) -> str:
    """Without the part that repeats what was being read."""
    return str(error.__cause__ or error)
