"""Templates in the cache folder, the warm pool, and a controller that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from aegis.sandbox.base import MIB, Template, TemplateSpec
from aegis.sandbox.images.cache import cache_folder
from aegis.sandbox.qemu.driver import QemuDriver
from aegis.sandbox.select import open_driver
from support.conformance_exec import SPEC
from support.host_state import descendants, host_state, nothing_left
from support.sandbox_bench import Bench, text_of, until

pytestmark = pytest.mark.vm

OWN = TemplateSpec(image="debian", memory_bytes=SPEC.memory_bytes, setup=("echo kept > kept.txt",))


def folder_of(template: Template) -> Path:
    return cache_folder() / "templates" / template.key


def damage_middle(path: Path) -> None:
    """Change some bytes that were written, without changing the size."""
    with path.open("r+b") as file:
        start = os.lseek(file.fileno(), path.stat().st_size // 2, os.SEEK_DATA)
        file.seek(start)
        before = file.read(64)
        file.seek(start)
        file.write(bytes(byte ^ 0xFF for byte in before))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "memory truncated": lambda folder: os.truncate(folder / "ram", 4096),
    "state truncated": lambda folder: os.truncate(folder / "state", 10),
    "state empty": lambda folder: os.truncate(folder / "state", 0),
    "state changed": lambda folder: damage_middle(folder / "state"),
    "memory changed": lambda folder: damage_middle(folder / "ram"),
    "memory missing": lambda folder: (folder / "ram").unlink(),
    "description no text": lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe"),
    "description no object": lambda folder: (folder / "meta.json").write_text("[]"),
    "description of another kind": lambda folder: (folder / "meta.json").write_text(
        json.dumps({**json.loads((folder / "meta.json").read_text()), "format": 999})
    ),
    "description missing": lambda folder: (folder / "meta.json").unlink(),
}


@pytest.mark.slow  # every one boots two machines
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_template_is_made_anew(bench: Bench, damage: Callable[[Path], object]) -> None:
    """Each load is by a driver of its own, as in another run."""

    async def use() -> bool:
        async with open_driver("vm", base_dir=Path("/")) as driver:
            template = await driver.template(OWN)
            sandbox = await driver.start(template)
            assert sandbox.info.restored
            assert await sandbox.get_file("kept.txt") == b"kept\n"
            await sandbox.stop()
            nonlocal folder
            folder = folder_of(template)
            return template.cached

    folder = Path()
    bench.run(use)
    assert bench.run(use), "kept by the run before"
    damage(folder)
    assert not bench.run(use)
    assert bench.run(use)


def test_the_pool_gives_machines_that_wait_already(bench: Bench) -> None:
    async def body() -> None:
        template = await bench.template(SPEC)
        driver = cast("QemuDriver", bench.driver)
        before = host_state()
        driver.expect(template, 3)

        async def ready() -> bool:
            return driver.ready(template) >= 1

        await until(ready, "a machine in the pool")
        names = set()
        for remaining in (2, 1, 0):
            sandbox = await driver.start(template)
            if remaining == 2:
                assert sandbox.info.pooled
                # It has an identity of its own, given when it was taken.
                inside = float(await text_of(sandbox, "date +%s.%N"))
                assert abs(inside - time.time()) < 10
                assert await sandbox.get_file("given.txt") == b"given"
            names.add(await text_of(sandbox, "hostname; cat /proc/sys/kernel/random/boot_id"))
            process = await sandbox.attach("talker")
            assert await anext(process.stdout()) == b"ready one\n"
            await sandbox.stop()
            driver.expect(template, remaining)
        assert len(names) == 3
        await nothing_left(before)

    bench.run(body)


def test_emptying_the_pool_while_it_is_being_filled_leaves_nothing(bench: Bench) -> None:
    async def body() -> None:
        template = await bench.template(SPEC)
        before = host_state()
        for delay_s in (0.0, 0.05, 0.3, 1.0):
            bench.driver.expect(template, 3)
            await asyncio.sleep(delay_s)
            bench.driver.expect(template, 0)
        await nothing_left(before)

    bench.run(body)


def test_closing_the_driver_ends_the_pool(bench: Bench) -> None:
    async def body() -> None:
        before = host_state()
        async with open_driver("vm", base_dir=Path("/")) as driver:
            template = await driver.template(SPEC)
            driver.expect(template, 3)
            await asyncio.sleep(1)
        await nothing_left(before)

    bench.run(body)


@pytest.mark.slow
def test_a_failing_step_keeps_no_template(bench: Bench) -> None:
    from aegis.errors import SandboxStartError

    own_size = 193 * MIB  # tells its template from those that others make in the same cache meanwhile
    spec = replace(OWN, memory_bytes=own_size, setup=("echo the reason; exit 5",))

    async def body() -> None:
        async with open_driver("vm", base_dir=Path("/")) as driver:
            for _ in range(2):
                with pytest.raises(SandboxStartError, match=r"(?s)step 1.*exit code 5.*the reason"):
                    await driver.template(spec)

    bench.run(body)
    descriptions = [path.read_text() for path in (cache_folder() / "templates").glob("*/meta.json")]
    assert descriptions
    assert not [text for text in descriptions if str(own_size) in text]


CONTROLLER = """
import asyncio, sys
from pathlib import Path
from aegis.sandbox.base import TemplateSpec, MIB
from aegis.sandbox.select import open_driver

async def main():
    async with open_driver("vm", base_dir=Path("/")) as driver:
        template = await driver.template(TemplateSpec(image="debian", memory_bytes=256 * MIB))
        driver.expect(template, 2)
        sandboxes = [await driver.start(template) for _ in range(2)]
        process = await sandboxes[0].exec(("sleep", "1000"))
        print("up", flush=True)
        await process.wait()

asyncio.run(main())
"""


def test_a_killed_controller_leaves_no_monitor_and_no_file(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER], stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as controller:
        try:
            assert controller.stdout is not None
            assert controller.stdout.readline() == b"up\n"
            below = descendants(controller.pid)
            assert len(below) >= 2
        finally:
            controller.send_signal(signal.SIGKILL)
        controller.wait(60)
    end = time.monotonic() + 60
    while left := [pid for pid in below if _runs(pid)]:
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []


STARTER = """
import asyncio
from pathlib import Path
from aegis.sandbox.base import TemplateSpec, MIB
from aegis.sandbox.select import open_driver

async def main():
    async with open_driver("vm", base_dir=Path("/")) as driver:
        template = await driver.template(TemplateSpec(image="debian", memory_bytes=256 * MIB))
        print("up", flush=True)
        while True:
            await asyncio.gather(*(driver.start(template) for _ in range(3)))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "delay_s", [0.02, *(pytest.param(at, marks=pytest.mark.slow) for at in (0.0, 0.01, 0.03, 0.05, 0.1))]
)
def test_one_that_is_killed_while_it_starts_machines_leaves_none(delay_s: float) -> None:
    mark = f"STARTED_BY={os.getpid()}-{delay_s}"
    name, _, value = mark.partition("=")
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdout=subprocess.PIPE,
        env={**os.environ, name: value},
        start_new_session=True,
    ) as starter:
        try:
            assert starter.stdout is not None
            assert starter.stdout.readline() == b"up\n"
            assert _marked(mark), "the search finds the process itself"
            time.sleep(delay_s)
        finally:
            starter.send_signal(signal.SIGKILL)
        starter.wait(60)
    end = time.monotonic() + 60
    while left := _marked(mark):
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.05)


def _marked(mark: str) -> list[int]:
    """Running processes that have inherited this variable."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in variables and _runs(int(folder.name)):
            found.append(int(folder.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
