"""From an entry of `sandbox.services` to a service."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aegis.sandbox.base import ImageLayer, Readiness, ServiceSpec
from aegis.services.base import Made, Preset, Problem, check_params
from aegis.suite.model import Service

_MODULES = {
    "postgres": "aegis.services.postgres:Postgres",
    "redis": "aegis.services.redis:Redis",
    "mailbox": "aegis.services.mailbox:Mailbox",
    "http-files": "aegis.services.http_files:HttpFiles",
}

DEFAULT_READY_TIMEOUT_S = 60.0


def names() -> tuple[str, ...]:
    """All presets."""
    return tuple(_MODULES)


@functools.cache
def get(name: str) -> Preset:
    """The preset of this name. Raises `KeyError`."""
    module, _, kind = _MODULES[name].partition(":")
    preset: Preset = getattr(importlib.import_module(module), kind)()
    return preset


def check(name: str, params: Mapping[str, Any]) -> Sequence[Problem]:
    """What is wrong with an entry: no such preset, or a parameter that it doesn't take."""
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_MODULES)}"
        return [((), f"no preset is called {name!r} ({hint})")]
    return check_params(get(name).params, params, name)


def make(service: Service) -> tuple[ServiceSpec, ImageLayer | None]:
    """What an entry stands for, and what it needs in the image. The entry was checked."""
    if service.preset is None:
        assert service.command is not None
        spec = ServiceSpec(name=service.name, command=service.command, ready=Readiness(), port=service.port)
        return _with_own(spec, service), None
    made: Made = get(service.preset).make(service.name, service.port, service.params)
    spec = replace(made.spec, command=service.command or made.spec.command)
    return _with_own(spec, service), made.layer


def _with_own(spec: ServiceSpec, service: Service) -> ServiceSpec:
    """What the suite says itself goes before the preset's."""
    ready = spec.ready
    if service.ready is not None:
        ready = Readiness(**service.ready.model_dump())
    elif ready == Readiness() and spec.port is not None:
        ready = Readiness(tcp=spec.port)
    return replace(
        spec,
        ready=ready,
        ready_timeout_s=service.ready_timeout or spec.ready_timeout_s or DEFAULT_READY_TIMEOUT_S,
        init=service.init,
        env={**spec.env, **service.env},
        in_template=spec.in_template if service.start is None else service.start == "template",
    )
