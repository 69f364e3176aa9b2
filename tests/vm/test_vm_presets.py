"""All presets in one machine, from the packages of its own image; and what one trial does to them no other one sees."""

from __future__ import annotations

import asyncio

import pytest

from aegis import services
from aegis.sandbox.base import MIB, Sandbox, TemplateSpec
from aegis.suite.model import Service
from support.sandbox_bench import DEADLINE_S, Bench, text_of

pytestmark = [pytest.mark.vm, pytest.mark.timeout(15 * DEADLINE_S)]

ENTRIES = (
    Service(name="postgres", preset="postgres", init=('psql -qc "create table t as select 1 as n"',)),
    Service(name="redis", preset="redis", params={"settings": {"maxmemory": "8mb"}}),
    Service(name="mailbox", preset="mailbox"),
    Service(name="http-files", preset="http-files", params={"uploads": True, "listing": "json"}),
)
MADE = [services.make(entry) for entry in ENTRIES]
SPEC = TemplateSpec(
    image="debian",
    memory_bytes=384 * MIB,
    layers=tuple(layer for _, layer in MADE if layer is not None),
    services=tuple(spec for spec, _ in MADE),
)
SEND = """python3 -c '
import os, smtplib
with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]), timeout=60) as server:
    server.sendmail("a@b.example", ["c@d.example"], "Subject: hello\\r\\n\\r\\nx\\r\\n")
'"""


def run(bench: Bench, *scripts: str) -> list[list[str]]:
    """What each script prints, each in a machine of its own, all of them at once."""

    async def one(script: str) -> list[str]:
        async with bench.sandbox(SPEC) as sandbox:
            return (await text_of(sandbox, script)).split("\n")

    async def body() -> list[list[str]]:
        return list(await asyncio.gather(*map(one, scripts)))

    return bench.run(body, deadline_s=10 * DEADLINE_S)


def test_they_are_up_and_can_be_used(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        assert await text_of(sandbox, "psql -Atc 'select n from t'") == "1\n"
        assert (
            await text_of(sandbox, 'redis-cli -p "$REDIS_PORT" config get maxmemory')
            == "maxmemory\n8388608\n"
        )
        await text_of(sandbox, SEND)
        mail = await sandbox.get_file("/srv/mailbox/messages/000001.eml")
        assert mail.startswith(b"Return-Path: <a@b.example>\r\nDelivered-To: c@d.example\r\nSubject: hello")
        await text_of(sandbox, 'echo content | curl -sfT - "$FILES_URL/a/b.txt"')
        assert await text_of(sandbox, 'curl -sfr 0-3 "$FILES_URL/a/b.txt"') == "cont"
        assert '"name":"b.txt"' in (await text_of(sandbox, 'curl -sf "$FILES_URL/a/"')).replace(" ", "")

    bench.trial(use, SPEC, deadline_s=10 * DEADLINE_S)


def test_what_one_destroys_its_neighbour_still_has(bench: Bench) -> None:
    count = "psql -Atc 'select count(*) from pg_tables where tablename = $$t$$'"
    destroy = f"psql -qc 'drop table t'; redis-cli set k v; {count}"
    look = "sleep 3; psql -Atc 'select n from t'; redis-cli exists k"
    destroyed, seen, after = run(bench, destroy, look, look)
    assert destroyed[:2] == ["OK", "0"]
    assert seen[:2] == after[:2] == ["1", "0"]
    assert run(bench, look)[0][:2] == ["1", "0"]
