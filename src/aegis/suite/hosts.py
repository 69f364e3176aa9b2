"""Hosts as a suite names them: their shape here, their rules with whoever dials them (`HostRules`)."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import urlsplit

EXPECTED_HOST = "a host such as api.example, *.crm.example, db.example:5432 or 10.0.0.5:5432"
HOST_PATTERN = r"^[^\s/@\u0000]+$"
EXPECTED_TARGET = "http://host:port, https://host:port or host:port"
TARGET_PATTERN = r"^(https?://)?[^\s/@\u0000]+/?$"


class HostRules(Protocol):
    """What a host may be called, and which entries mean the same hosts. The gateway's rules, which are out of reach
    here."""

    def entry(self, text: str) -> str:
        """The normal form of an entry of `allow`. Raises `ValueError` with what is wrong with it."""

    def name(self, text: str) -> str:
        """The normal form of a host by itself: no wildcard, no port. Raises `ValueError`."""

    def target(self, text: str) -> str:
        """The normal form of where a route leads. Raises `ValueError`."""

    def meet(self, user: str, allowed: str) -> bool:
        """Whether an entry that makes use of connections (a secret's host, a limit's) and one that allows them have a
        connection in common. Both are right."""

    def within(self, inner: str, outer: str) -> bool:
        """Whether every host that `inner` names on any port is one that `outer` names on any port. Both are right."""


def host_entry(text: str) -> str:
    """The entry as written. Raises `ValueError` (`expected …, got …`) for what can't be one."""
    if re.fullmatch(HOST_PATTERN[1:-1], text):
        return text
    raise ValueError(f"expected {EXPECTED_HOST}, got {text[:60]!r}{_without_url(text)}")


def route_target(text: str) -> str:
    """The target as written. Raises `ValueError` (`expected …, got …`) for what can't be one."""
    if re.fullmatch(TARGET_PATTERN[1:-1], text):
        return text
    raise ValueError(f"expected {EXPECTED_TARGET}, got {text[:60]!r}")


def _without_url(text: str) -> str:
    """` (write api.example)` for a URL."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = {None: "", 80: "", 443: ""}.get(parts.port, f":{parts.port}")
        host = f"{parts.hostname or ''}{port}"
    except ValueError:
        return ""
    return f" (write {host})" if parts.hostname and re.fullmatch(HOST_PATTERN[1:-1], host) else ""
