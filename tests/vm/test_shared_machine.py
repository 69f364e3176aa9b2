"""One machine for several trials: it stays the same one, and what was left in it is still there."""

from __future__ import annotations

import pytest

from aegis.audit import carriers
from aegis.sandbox import leftovers
from aegis.sandbox.base import Sandbox
from aegis.sandbox.shared import SharedDriver
from support.conformance_exec import SPEC
from support.sandbox_bench import Bench, text_of

pytestmark = pytest.mark.vm

NAMES = "hostname; cat /proc/sys/kernel/random/boot_id"


async def _agent(sandbox: Sandbox, script: str) -> None:
    process = await sandbox.exec(("/bin/sh", "-c", script))
    await process.close_stdin()
    await process.wait()
    await process.kill()


async def _running(sandbox: Sandbox) -> dict[int, str]:
    found = carriers.parse_processes(await leftovers.list_processes(sandbox))
    return {process.pid: process.command for process in found.values()}


def test_files_processes_and_names_stay(bench: Bench) -> None:
    async def body() -> None:
        template = await bench.template(SPEC)
        async with SharedDriver(bench.driver) as driver:
            first = await driver.start(template)
            names = await text_of(first, NAMES)
            prepared = await _running(first)
            assert all("talker" in command or "FROM_TEMPLATE" in command for command in prepared.values())
            await _agent(first, "echo 1 > kept; setsid sleep 987 > /dev/null 2>&1 < /dev/null & sleep 1")
            await first.stop()
            second = await driver.start(template)
            assert await text_of(second, NAMES) == names
            assert await text_of(second, "cat kept") == "1\n"
            found = {pid: command for pid, command in (await _running(second)).items() if pid not in prepared}
            assert list(found.values()) == ["sleep 987"]
            assert await leftovers.end_process(second, *found)
            assert await _running(second) == prepared
        third = await bench.driver.start(template)
        try:
            assert await text_of(third, NAMES) != names
        finally:
            await third.stop()

    bench.run(body)


def test_changes_are_undone_in_a_machine(bench: Bench) -> None:
    async def body() -> None:
        template = await bench.template(SPEC)
        async with SharedDriver(bench.driver) as driver:
            machine = await driver.open(template)
            await machine.mark()
            await _agent(
                machine, "mkdir -p /root/.config; echo x > /root/.config/y; echo changed > /etc/motd"
            )
            changes = {change.path: change for change in (await machine.changes()).items}
            assert await leftovers.undo(machine, changes["/root/.config"])
            assert await leftovers.undo(machine, changes["/etc/motd"])
            look = "test -e /root/.config && echo there; grep -c changed /etc/motd; true"
            assert await text_of(machine, look) == "0\n"

    bench.run(body)
