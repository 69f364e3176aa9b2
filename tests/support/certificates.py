"""Certificates for upstreams that tests start."""

from __future__ import annotations

import ssl
from pathlib import Path

from aegis.gateway import Authority
from aegis.gateway.names import parse_host


class UpstreamAuthority:
    """An authority that no client of the gateway knows; its PEM goes into `GatewayConfig.ca_bundle`."""

    def __init__(self) -> None:
        self._authority = Authority()
        self.pem = self._authority.pem

    def server_context(self, name: str) -> ssl.SSLContext:
        return self._authority.context(parse_host(name))

    def write(self, folder: Path) -> str:
        path = folder / "upstream-ca.pem"
        path.write_text(self.pem)
        return str(path)
