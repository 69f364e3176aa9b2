"""The contract of a preset: parameters in, a service out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aegis.sandbox.base import ImageLayer, ServiceSpec

Problem = tuple[tuple[str | int, ...], str]
"""Where in the parameters, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a preset makes of its parameters."""

    spec: ServiceSpec
    layer: ImageLayer


class Preset(Protocol):
    """One instance serves every suite and keeps no state."""

    name: str
    description: str
    """One line for people."""
    params: Mapping[str, Param]
    """By name: what each takes."""

    def make(self, name: str, port: int | None, params: Mapping[str, Any]) -> Made:
        """The service under this name. `port` None: the preset's own. `params` were checked."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a preset."""

    expected: str
    takes: Callable[[Any], bool]
    text: str
    """For people: what it is for, and what it is without being given."""


def check_params(params: Mapping[str, Param], given: Mapping[str, Any], preset: str) -> Sequence[Problem]:
    """What is wrong with the parameters of a preset."""
    found: list[Problem] = []
    for key, value in given.items():
        param = params.get(key)
        if param is None:
            known = ", ".join(sorted(params)) or "none"
            found.append(((key,), f"unknown key {key!r} in preset {preset} (its own parameters: {known})"))
        elif not param.takes(value):
            found.append(((key,), f"expected {param.expected}, got {value!r:.80}"))
    return found


def matches(pattern: str) -> Callable[[Any], bool]:
    """Text that a pattern matches as a whole."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def list_of(pattern: str) -> Callable[[Any], bool]:
    one = matches(pattern)
    return lambda value: isinstance(value, list) and all(map(one, value))


def settings(value: Any) -> bool:
    """A mapping of names to plain values."""
    return isinstance(value, dict) and all(
        isinstance(key, str)
        and re.fullmatch(r"[a-z][a-z0-9_.-]*", key)
        and isinstance(item, str | int | float | bool)
        and "\0" not in str(item)
        for key, item in value.items()
    )


PACKAGES = Param(
    "a list of package names",
    list_of(r"[a-z0-9][a-z0-9+.\-]+(=[A-Za-z0-9.+:~\-]+)?"),
    "further Debian packages for the image",
)
