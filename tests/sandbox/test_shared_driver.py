"""One machine for many trials: what stays, what does not, and that nothing is left at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.audit import carriers
from aegis.errors import SandboxLostError
from aegis.sandbox import leftovers
from aegis.sandbox.base import PreparedProcess, Readiness, Sandbox, ServiceSpec, Template, TemplateSpec
from aegis.sandbox.process import ProcessDriver
from aegis.sandbox.shared import SharedDriver
from support.fake_driver import FakeDriver, until
from support.process_sandbox import PATIENCE_S

SPEC = TemplateSpec(image="debian")
SHIM = PreparedProcess("shim", ("/bin/sh", "-c", "echo ready; cat"))


def sharing(use: Callable[[SharedDriver, Template], Awaitable[None]], spec: TemplateSpec = SPEC) -> None:
    async def body() -> None:
        async with asyncio.timeout(PATIENCE_S), ProcessDriver() as inner, SharedDriver(inner) as driver:
            await use(driver, await driver.template(spec))

    asyncio.run(body())


async def sh(sandbox: Sandbox, script: str) -> str:
    return (await sandbox.run(("/bin/sh", "-c", script))).stdout.decode()


def test_files_stay_from_trial_to_trial() -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        first = await driver.start(template)
        await sh(first, "echo 1 > x")
        await first.stop()
        second = await driver.start(template)
        assert await sh(second, "cat x") == "1\n"
        assert second.info.id == first.info.id
        assert driver.replaced == 0

    sharing(use)


async def _agent(sandbox: Sandbox, script: str) -> None:
    """An agent's run, as the drivers of agents end it."""
    process = await sandbox.exec(("/bin/sh", "-c", script))
    await process.close_stdin()
    await process.wait()
    await process.kill()


async def _commands(sandbox: Sandbox) -> list[str]:
    found = carriers.parse_processes(await leftovers.list_processes(sandbox))
    return [running.command for running in found.values()]


async def _appears(sandbox: Sandbox, command: str) -> None:
    """It may have just been forked, and not be what it will be."""
    while await _commands(sandbox) != [command]:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)


def test_what_an_agent_started_outlives_it_until_the_machine_ends() -> None:
    pids: list[int] = []

    async def use(driver: SharedDriver, template: Template) -> None:
        first = await driver.start(template)
        assert await _commands(first) == []
        await _agent(first, "setsid sleep 987 > /dev/null 2>&1 < /dev/null & echo $! > pid")
        await first.stop()
        second = await driver.start(template)
        await _appears(second, "sleep 987")
        pids.append(int(await sh(second, "cat pid")))
        assert os.path.exists(f"/proc/{pids[0]}")

    sharing(use)
    asyncio.run(asyncio.wait_for(until(lambda: not os.path.exists(f"/proc/{pids[0]}")), PATIENCE_S))


def test_an_agent_that_does_not_end_is_ended() -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        sandbox = await driver.start(template)
        process = await sandbox.exec(("/bin/sh", "-c", "exec sleep 986"))
        await process.kill()
        assert (await process.wait()).signal == 9
        assert await _commands(sandbox) == []

    sharing(use)


def test_a_prepared_program_is_there_in_each_trial() -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        for _ in range(3):
            sandbox = await driver.start(template)
            process = await sandbox.attach("shim")
            await process.write(b"hello\n")
            await process.close_stdin()
            said = b"".join([chunk async for chunk in process.stdout()])
            assert said == b"ready\nhello\n"
            await process.kill()
            await sandbox.stop()

    sharing(use, replace(SPEC, prepared=(SHIM,)))


def test_a_machine_that_is_gone_is_replaced() -> None:
    async def body() -> None:
        inner = FakeDriver()
        async with SharedDriver(inner) as driver:
            template = await driver.template(SPEC)
            await driver.start(template)
            await driver.start(template)  # the double cannot be used again
            assert (inner.starts, driver.replaced) == (2, 1)
        assert inner.alive == 0

    with lost_on_reconnect():
        asyncio.run(body())


@contextmanager
def lost_on_reconnect() -> Iterator[None]:
    from support.fake_driver import FakeSandbox

    async def reconnect(self: FakeSandbox, network: object) -> None:
        raise SandboxLostError("the machine went away", by_guest=True)

    patch = pytest.MonkeyPatch()
    with patch.context() as each:
        each.setattr(FakeSandbox, "reconnect", reconnect, raising=False)
        yield


def test_single_changes_are_undone(tmp_path: Path) -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        sandbox = await driver.open(template)
        await sh(sandbox, "mkdir -p a 'b b'; echo old > 'b b/kept'; chmod 600 'b b/kept'; echo gone > a/gone")
        await sandbox.mark()
        await _agent(sandbox, "echo new > 'b b/kept'; rm -r a; mkdir -p c/d; echo x > c/d/-e; ln -s /etc c/l")
        changes = {change.path: change for change in (await sandbox.changes()).items}
        for path in ("/workspace/b b/kept", "/workspace/a/gone", "/workspace/c"):
            assert await leftovers.undo(sandbox, changes[path]), changes
        assert (
            await sh(sandbox, "cat 'b b/kept' a/gone; stat -c %a 'b b/kept'; ls")
            == "old\ngone\n600\na\nb b\n"
        )

    sharing(use)


def test_a_process_is_ended_by_its_number() -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        sandbox = await driver.start(template)
        await _agent(sandbox, "setsid sleep 985 > /dev/null 2>&1 < /dev/null &")
        await _appears(sandbox, "sleep 985")
        ((pid, _),) = carriers.parse_processes(await leftovers.list_processes(sandbox))
        assert await leftovers.end_process(sandbox, pid)
        assert await _commands(sandbox) == []
        assert not await leftovers.end_process(sandbox, 2**22 + 1)

    sharing(use)


SERVICE = ServiceSpec("hall", "echo up; exec sleep 984", Readiness(), in_template=False)


def test_a_service_of_the_trial_is_started_once_and_taken_over_by_the_next() -> None:
    async def use(driver: SharedDriver, template: Template) -> None:
        machine = await driver.open(template)
        machine.services = (SERVICE,)  # type: ignore[attr-defined]
        await machine.run(("mkdir", "-p", "../srv/hall"))
        first = await driver.start(template)
        process = await first.exec(("/bin/sh", "-c", SERVICE.command), cwd=SERVICE.folder)
        assert await anext(process.stdout()) == b"up\n"
        await first.stop()
        second = await driver.start(template)
        (spec,) = second.services  # type: ignore[attr-defined]
        assert spec.in_template
        again = await second.attach("service:hall")
        await _appears(second, "sleep 984")
        await again.kill()
        assert await _commands(second) == []

    sharing(use)
