"""Presets make services that run: real servers, as plain programs of this host."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aegis import services
from aegis.sandbox.base import Sandbox, TemplateSpec
from aegis.sandbox.process import ProcessDriver
from aegis.suite.model import Service
from support.host_state import own_temporary_folder
from support.sandbox_bench import Bench, open_bench, sh, text_of

HAS_POSTGRES = shutil.which("postgres") or any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
Use = Callable[[Sandbox], Awaitable[None]]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    # Not below pytest's folder, which is root's alone: a database server runs as somebody else.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with own_temporary_folder(Path(folder)), open_bench(ProcessDriver) as opened:
            yield opened


def trial(bench: Bench, use: Use, preset: str, **fields: Any) -> None:
    spec, layer = services.make(Service(name=fields.pop("name", preset), preset=preset, **fields))
    assert layer is not None
    assert layer.packages
    bench.trial(use, TemplateSpec(image="debian", services=(spec,)))


@pytest.mark.parametrize("name", services.names())
def test_what_each_is_told_by_and_how_it_is_checked(name: str) -> None:
    spec, layer = services.make(Service(name="own", preset=name, port=1234, env={"A": "b"}))
    assert (spec.name, spec.kind, spec.port, spec.folder) == ("own", name, 1234, "/srv/own")
    assert spec.told["OWN_PORT"] == "1234"
    assert spec.own_env["PORT"] == "1234"
    assert spec.own_env["A"] == "b"
    assert "{port}" not in " ".join(spec.told.values())
    assert spec.ready.tcp == 1234
    assert spec.at_port(99).ready.tcp == 99
    assert layer is not None
    assert layer.name == name
    assert services.check(name, {}) == []


@pytest.mark.skipif(not HAS_POSTGRES, reason="PostgreSQL is not installed")
class TestPostgres:
    def test_it_has_an_empty_database_for_everyone(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            url = (await text_of(sandbox, 'echo "$DATABASE_URL"')).strip()
            assert url.endswith("/shop")

            def ask() -> list[Any]:
                with psycopg.connect(url) as connection:
                    connection.execute("create table notes (text text)")
                    connection.execute("insert into notes values ('ä')")
                    found = connection.execute("select text from notes").fetchall()
                    return [*found, connection.execute("show max_connections").fetchone()]

            assert await asyncio.to_thread(ask) == [("ä",), ("7",)]

        params = {"database": "shop", "user": "keeper", "settings": {"max_connections": 7}}
        trial(bench, use, "postgres", params=params)
        trial(bench, use, "postgres", params=params)  # the table of the first trial is not there

    def test_init_makes_what_every_trial_finds(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            found = await text_of(sandbox, "psql -Atc 'select count(*) from t'")
            assert found == "2\n"

        statement = 'psql -qc "create table t as select generate_series(1, 2)"'
        trial(bench, use, "postgres", init=(statement,))


class TestMailbox:
    def test_it_keeps_what_it_is_sent(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            (spec,) = sandbox.services
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = "a@b.example", "c@d.example", "Grüße"
            message.set_content("Zeile\n.\nnoch eine\n")

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", spec.port or 0, timeout=60) as server:
                    server.login("anyone", "anything")
                    server.send_message(message, to_addrs=["c@d.example", "hidden@d.example"])
                    with pytest.raises(smtplib.SMTPRecipientsRefused):
                        server.sendmail("a@b.example", ["gone@old.example"], "Subject: x\r\n\r\nx")
                    server.sendmail("", ["c@d.example"], "Subject: second\r\n\r\nx\r\n")

            await asyncio.to_thread(send)
            first = (await sandbox.get_file("/srv/mailbox/messages/000001.eml")).decode()
            head = first.replace("\r\n", "\n").split("\n")[:3]
            assert head == [
                "Return-Path: <a@b.example>",
                "Delivered-To: c@d.example",
                "Delivered-To: hidden@d.example",
            ]
            assert "noch eine" in first
            second = (await sandbox.get_file("/srv/mailbox/messages/000002.eml")).decode()
            assert second.startswith("Return-Path: <>\r\n")
            listed = await sh(sandbox, "ls ../srv/mailbox/messages")
            assert listed.stdout == b"000001.eml\n000002.eml\n"

        trial(bench, use, "mailbox", params={"refuse": ["@old.example"]})
