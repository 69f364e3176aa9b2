"""A mail server that takes every message and keeps it as a file, for the scorer `mail` and for whoever looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aegis.sandbox.base import ImageLayer, Readiness, ServiceSpec
from aegis.services.base import PACKAGES, Made, Param, matches

PORT = 25
PROGRAM = "serve.py"


class Mailbox:
    """An SMTP server (aiosmtpd) that delivers to /srv/NAME/messages, one file a message."""

    name = "mailbox"
    description = "an SMTP server on port 25 that keeps what it is sent"
    params: Mapping[str, Param] = {
        "refuse": Param(
            "a list of addresses or domains such as [bounce@shop.example, '@old.example']",
            lambda value: isinstance(value, list) and all(map(matches(r"\S*@\S+"), value)),
            "recipients that are refused with 550 (none)",
        ),
        "packages": PACKAGES,
    }

    def make(self, name: str, port: int | None, params: Mapping[str, Any]) -> Made:
        refused = [address.lower() for address in params.get("refuse", ())]
        spec = ServiceSpec(
            name=name,
            kind=self.name,
            command=f"exec python3 -u {PROGRAM}",
            port=port or PORT,
            ready=Readiness(tcp=port or PORT),
            env={"REFUSE": " ".join(refused)},
            exports={"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "{port}"},
            files={PROGRAM: Path(__file__).with_name("smtp_server.py").read_text(encoding="utf-8")},
        )
        packages = ("python3-aiosmtpd", *params.get("packages", ()))
        return Made(spec, ImageLayer(self.name, packages))
