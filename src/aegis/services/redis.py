"""Redis, empty and in memory only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from aegis.sandbox.base import ImageLayer, Readiness, ServiceSpec
from aegis.services.base import PACKAGES, Made, Param, settings

PORT = 6379
SETTINGS: Mapping[str, str] = {"save": "", "appendonly": "no", "daemonize": "no", "bind": "127.0.0.1"}
_NONE = "there is no redis-server here: install Debian's package redis-server, or use --isolation=vm"


class Redis:
    """One server without a password; what it holds is in its memory, and so in the snapshot."""

    name = "redis"
    description = "Redis on port 6379, empty"
    params: Mapping[str, Param] = {
        "settings": Param(
            "a mapping of settings", settings, "settings of the server, such as {maxmemory: 64mb}"
        ),
        "packages": PACKAGES,
    }

    def make(self, name: str, port: int | None, params: Mapping[str, Any]) -> Made:
        chosen = {**SETTINGS, **{key: _text(value) for key, value in params.get("settings", {}).items()}}
        options = " ".join(f"--{key} {shlex.quote(value)}" for key, value in chosen.items())
        spec = ServiceSpec(
            name=name,
            kind=self.name,
            command=f"command -v redis-server > /dev/null || {{ echo {shlex.quote(_NONE)} >&2; exit 127; }}\n"
            f'exec redis-server --port "$PORT" --dir . {options}',
            port=port or PORT,
            ready=Readiness(tcp=port or PORT, log="Ready to accept connections"),
            exports={
                "REDIS_HOST": "127.0.0.1",
                "REDIS_PORT": "{port}",
                "REDIS_URL": "redis://127.0.0.1:{port}/0",
            },
        )
        return Made(spec, ImageLayer(self.name, ("redis-server", *params.get("packages", ()))))


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
