"""A mail server for one machine: takes every message and keeps it in the folder `messages`.

Each message is one file, numbered in the order of arrival: the bytes as they were received, with a `Return-Path:` line
(RFC 5321, 4.4) and a `Delivered-To:` line for each recipient of the envelope in front. Any login is accepted.
Needs the package aiosmtpd. PORT: where it listens on 127.0.0.1; REFUSE: recipients and @domains that it refuses.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path
from typing import Any

try:
    from aiosmtpd.smtp import SMTP, AuthResult
except ModuleNotFoundError:
    sys.exit("the mailbox needs the Python package aiosmtpd: pip install aiosmtpd, or use --isolation=vm")

MAX_BYTES = 32 * 1024 * 1024
FOLDER = Path("messages")
REFUSED = frozenset(os.environ.get("REFUSE", "").split())


class Keeper:
    def __init__(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        taken = [int(path.stem) for path in FOLDER.glob("*.eml") if path.stem.isdigit()]
        self.numbers = itertools.count(max(taken, default=0) + 1)

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        domain = "@" + address.rpartition("@")[2].lower()
        if address.lower() in REFUSED or domain in REFUSED:
            print(f"refused: {address}", flush=True)
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        number = next(self.numbers)
        sender = (envelope.mail_from or "").removeprefix("<").removesuffix(">")
        front = [f"Return-Path: <{sender}>"]
        front += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
        content = "\r\n".join(front).encode("utf-8", "replace") + b"\r\n" + envelope.original_content
        path = FOLDER / f"{number:06}.eml"
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.rename(path)
        print(f"{path.name}: {envelope.mail_from} to {', '.join(envelope.rcpt_tos)}", flush=True)
        return f"250 2.0.0 OK: {number}"


def accept(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
    return AuthResult(success=True)


async def main() -> None:
    keeper = Keeper()
    loop = asyncio.get_running_loop()

    def protocol() -> Any:
        return SMTP(
            keeper,
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            authenticator=accept,
            auth_require_tls=False,
        )

    server = await loop.create_server(protocol, "127.0.0.1", int(os.environ["PORT"]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
