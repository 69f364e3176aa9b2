"""The faults by name."""

from __future__ import annotations

import importlib
from functools import lru_cache

from aegis.errors import UsageError
from aegis.faults.base import Fault
from aegis.suite.problems import did_you_mean

NAMES: tuple[str, ...] = (
    "latency",
    "slow-body",
    "bandwidth",
    "hang",
    "refuse",
    "reset",
    "empty-reply",
    "dns-failure",
    "tls-failure",
    "close-idle",
    "truncate",
    "cut-stream",
    "drop-page",
    "malformed-json",
    "garbage",
    "rate-limit",
    "overloaded",
    "server-error",
    "gateway-html",
    "quota-exceeded",
    "token-expired",
    "refresh-revoked",
    "forbidden",
    "stale",
    "silent-noop",
    "wrong-shape",
    "tool-error",
    "graphql-errors",
    "duplicate-delivery",
)
"""In the documentation's order. The fault `slow-body` is `fault` in the module `slow_body` of this package."""


REWRITE = "rewrite/"
"""What transforms have the gateway change is named `rewrite/NAME`, and is no fault: `aegis.faults.rewrites`."""


def names() -> tuple[str, ...]:
    return NAMES


@lru_cache(maxsize=256)
def get(name: str) -> type[Fault]:
    """The fault of this name. Raises `UsageError` when there is none."""
    if name.startswith(REWRITE):
        module = importlib.import_module(
            f"aegis.faults.rewrites.{name.removeprefix(REWRITE).replace('-', '_')}"
        )
        rewrite: type[Fault] = module.rewrite
        return rewrite
    if name not in NAMES:
        raise UsageError(
            f"unknown fault {name!r}{did_you_mean(name, NAMES)}", fix="aegis faults list shows them all"
        )
    module = importlib.import_module(f"aegis.faults.{name.replace('-', '_')}")
    fault: type[Fault] = module.fault
    return fault
