"""Which service of the suite an expectation is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aegis.suite.problems import did_you_mean


class Service(Protocol):
    """What a suite's file and a running sandbox both know of a service."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A service as the suite's file has it."""

    name: str
    kind: str = ""
    """The preset's name; "" for a program of the suite's own."""
    port: int | None = None
    """As written: a preset has one of its own besides."""


S = TypeVar("S", bound=Service)


class NoSuchService(Exception):
    """The suite has none, or several. The message says what to write."""


def pick(services: Sequence[S], *, name: str | None = None, kind: str | None = None) -> S:
    """The service of this name, which must be of this kind, or the only one of this kind. Raises `NoSuchService`."""
    if name is not None:
        for service in services:
            if service.name == name:
                if kind is not None and service.kind != kind:
                    raise NoSuchService(f"the service {name!r} is no {kind}")
                return service
        hint = did_you_mean(name, [service.name for service in services])
        raise NoSuchService(f"sandbox.services has no {name!r}{hint}")
    found = [service for service in services if service.kind == kind]
    if not found:
        raise NoSuchService(f"sandbox.services has no {kind}: add {kind} to it")
    if len(found) > 1:
        names = ", ".join(service.name for service in found)
        raise NoSuchService(f"the suite has several of the kind {kind} ({names}): say which with 'service'")
    return found[0]
