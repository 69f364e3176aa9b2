"""What scorers ask a machine: its files, its processes, its servers, also after the workload has done its worst."""

from __future__ import annotations

import asyncio

import pytest

from aegis.sandbox.base import Process, Sandbox, TemplateSpec
from aegis.scoring import registry
from support.sandbox_bench import Bench, sh
from support.scoring import context

pytestmark = pytest.mark.vm

SPEC = TemplateSpec(image="debian")
PATIENCE_S = 100.0
DAEMON = "sleep 7531"
SERVER = "python3 -m http.server --bind 127.0.0.1 8080"


def commands(found: object) -> list[str]:
    return [" ".join(each.command) for each in found.items]  # type: ignore[attr-defined]


async def started(sandbox: Sandbox, command: str) -> Process:
    """A program that has become the one that it is to be."""
    process = await sandbox.exec(("/bin/sh", "-c", f"exec {command}"))
    async with asyncio.timeout(PATIENCE_S):
        while command not in commands(await sandbox.processes()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return process


def test_processes_and_files_of_a_machine(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sh(sandbox, "true")
        await asyncio.sleep(1.0)  # the next spare is made meanwhile
        assert commands(await sandbox.processes()) == []
        daemon = await started(sandbox, DAEMON)
        assert commands(await sandbox.processes()) == [DAEMON]
        before = await sandbox.look(("/etc/hostname", "/workspace/data", "/opt/*.conf"))
        assert [(entry.path, entry.kind) for entry in before] == [("/etc/hostname", "file")]
        await sh(sandbox, "mkdir data; printf 'a\\n' > data/x; ln -s x data/y; printf 1 > /opt/a.conf")
        after = await sandbox.look(("/etc/hostname", "/workspace/data", "/opt/*.conf"))
        assert after[0] == before[0]
        assert [(entry.path, entry.kind, entry.content) for entry in after[1:]] == [
            ("/opt/a.conf", "file", b"1"),
            ("/workspace/data", "folder", None),
            ("/workspace/data/x", "file", b"a\n"),
            ("/workspace/data/y", "link", b"x"),
        ]
        # Neither an empty /proc nor a workload without programs keeps it from being looked at.
        await sh(sandbox, "mount -t tmpfs none /proc; rm -rf /bin /usr/bin /lib /lib64 /usr/lib 2>/dev/null")
        assert commands(await sandbox.processes()) == [DAEMON]
        assert (await sandbox.look(("/workspace/data/x",)))[0].content == b"a\n"
        await daemon.kill()
        assert commands(await sandbox.processes()) == []

    bench.trial(use, SPEC)


def test_a_server_in_a_machine_is_asked(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sh(sandbox, 'printf \'{"state": "shipped"}\' > order.json')
        await started(sandbox, SERVER)
        config = {"url": "http://127.0.0.1:8080/order.json", "response": {"json": {"state": "shipped"}}}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                score = await registry.get("http").score(config, context(sandbox=sandbox))
                if "nothing listens" not in score.reason:
                    break
        assert score.passed, score.reason

    bench.trial(use, SPEC)
