"""Machines that are kept while they run: the copy is whole, the original goes on, and neither disturbs the other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from aegis.errors import SandboxStartError
from aegis.sandbox.base import MIB, Process, Sandbox, TemplateSpec
from aegis.sandbox.images.cache import cache_folder
from aegis.sandbox.kept import Keepable, ReopenedSandbox, Reopening
from aegis.sandbox.select import open_driver
from support.host_state import own_temporary_folder
from support.sandbox_bench import Bench, open_bench

pytestmark = pytest.mark.vm

SPEC = TemplateSpec(image="debian", memory_bytes=256 * MIB)

COUNTER = (
    "import sys\n"
    "print('up', flush=True)\n"
    "for number, line in enumerate(sys.stdin, 1):\n"
    "    print(number, line.strip(), flush=True)\n"
)
"""Answers each line with how many it has heard, so that a line that is lost or heard twice shows."""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("temporary")
    with (
        own_temporary_folder(folder),
        open_bench(lambda: open_driver("vm", base_dir=Path("/"), keepable=True)) as opened,
    ):
        yield opened


@asynccontextmanager
async def reopened(bench: Bench, folder: Path) -> AsyncIterator[ReopenedSandbox]:
    assert isinstance(bench.driver, Reopening)
    sandbox = await bench.driver.reopen(folder)
    try:
        yield sandbox
    finally:
        await sandbox.stop()


async def keep(sandbox: Sandbox, folder: Path, program: Process | None = None) -> None:
    assert isinstance(sandbox, Keepable)
    await sandbox.keep(folder, {"turn": 1}, program)


async def line(chunks: AsyncIterator[bytes]) -> str:
    data = b""
    while not data.endswith(b"\n"):
        data += await anext(chunks)
    return data.decode().strip()


async def say(process: Process, chunks: AsyncIterator[bytes], text: str) -> str:
    await process.write(f"{text}\n".encode())
    return await line(chunks)


def test_a_copy_has_the_files_and_the_running_program_and_the_original_goes_on(
    keeping: Bench, tmp_path: Path
) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.run(("/bin/sh", "-c", "echo before > state.txt"))
        process = await sandbox.exec(("python3", "-c", COUNTER))
        chunks = aiter(process.stdout())
        assert await line(chunks) == "up"
        assert await say(process, chunks, "one") == "1 one"
        await keep(sandbox, tmp_path / "kept", process)
        assert await say(process, chunks, "two") == "2 two"
        await sandbox.run(("/bin/sh", "-c", "echo after > state.txt"))
        for number in ("first", "second"):  # a copy is not used up
            async with reopened(keeping, tmp_path / "kept") as copy:
                assert cast(Reopening, keeping.driver).notes(tmp_path / "kept") == {"turn": 1}
                assert await copy.get_file("state.txt") == b"before\n"
                program = copy.program()
                heard = aiter(program.stdout())
                assert await say(program, heard, number) == f"2 {number}"
                await program.close_stdin()
                assert (await program.wait()).ok
        assert await say(process, chunks, "three") == "3 three"
        assert await sandbox.get_file("state.txt") == b"after\n"
        await process.kill()

    keeping.trial(use, SPEC)


def test_a_machine_is_kept_again_and_again_while_it_talks(keeping: Bench, tmp_path: Path) -> None:
    """What is on its way in both directions when the machine is stopped arrives once."""
    flood = "import sys\nfor n in range(120000): print(n)\nprint('end', sys.stdin.read())"

    async def use(sandbox: Sandbox) -> None:
        process = await sandbox.exec(("python3", "-c", flood))
        said = b"".join(b"%d." % number for number in range(60000))
        heard = bytearray()

        async def listen() -> None:
            async for chunk in process.stdout():
                heard.extend(chunk)

        async def talk() -> None:
            await process.write(said)
            await process.close_stdin()

        async def keep_on() -> None:
            for number in range(4):
                await keep(sandbox, tmp_path / f"kept-{number}", process)

        await asyncio.gather(listen(), talk(), keep_on())
        numbers, _, rest = bytes(heard).partition(b"end ")
        assert numbers == b"".join(b"%d\n" % number for number in range(120000))
        assert rest == said + b"\n"
        assert (await process.wait()).ok
        await process.kill()

    keeping.trial(use, SPEC)


def test_a_copy_of_a_talking_machine_goes_on_without_a_gap(keeping: Bench, tmp_path: Path) -> None:
    program = "import sys\nfor n in range(200000): print(n)\nprint('end')"

    async def use(sandbox: Sandbox) -> None:
        process = await sandbox.exec(("python3", "-c", program))
        chunks = aiter(process.stdout())
        taken = bytearray(await anext(chunks))
        await keep(sandbox, tmp_path / "kept", process)
        async with reopened(keeping, tmp_path / "kept") as copy:
            async for chunk in copy.program().stdout():
                taken += chunk
            assert (await copy.program().wait()).ok
        assert bytes(taken) == b"".join(b"%d\n" % number for number in range(200000)) + b"end\n"
        await process.kill()

    keeping.trial(use, SPEC)


def test_what_nobody_listens_to_does_not_wait_in_a_copy(keeping: Bench, tmp_path: Path) -> None:
    chatter = (
        "import sys, time\nsys.stdin.readline()\nfor n in range(200000): print(n)\nopen('done', 'w').close()"
    )

    async def use(sandbox: Sandbox) -> None:
        process = await sandbox.exec(("/bin/sh", "-c", f'sleep 3; echo go | python3 -c "{chatter}"'))
        await keep(sandbox, tmp_path / "kept")
        async with reopened(keeping, tmp_path / "kept") as copy:
            waiting = "until [ -e done ]; do sleep 0.1; done"
            assert (await copy.run(("/bin/sh", "-c", waiting), timeout_s=100)).status.ok
        await process.kill()

    keeping.trial(use, SPEC)


def test_a_copy_keeps_names_and_time_but_not_its_random_numbers(keeping: Bench, tmp_path: Path) -> None:
    names = ("/bin/sh", "-c", "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id")

    async def random_of(sandbox: Sandbox) -> bytes:
        return (await sandbox.run(("/bin/sh", "-c", "head -c 16 /dev/urandom"))).stdout

    async def use(sandbox: Sandbox) -> None:
        await sandbox.run(("/bin/sh", "-c", "date -s 2024-02-29T12:00:00Z"))
        before = (await sandbox.run(names)).stdout
        await keep(sandbox, tmp_path / "kept")
        drawn = {await random_of(sandbox)}
        for _ in range(2):
            async with reopened(keeping, tmp_path / "kept") as copy:
                assert (await copy.run(names)).stdout == before
                assert (await copy.run(("date", "+%F"))).stdout == b"2024-02-29\n"
                drawn.add(await random_of(copy))
        assert len(drawn) == 3

    keeping.trial(use, SPEC)


def test_a_copy_has_no_network_unless_it_is_given_one(keeping: Bench, tmp_path: Path) -> None:
    ask = "import socket\ntry: socket.create_connection(('127.0.0.1', 3128), 20).recv(1); print('open')\n"
    ask += "except OSError as error: print(type(error).__name__)"

    async def use(sandbox: Sandbox) -> None:
        await keep(sandbox, tmp_path / "kept")
        async with reopened(keeping, tmp_path / "kept") as copy:
            assert (await copy.run(("python3", "-c", ask))).stdout == b"ConnectionResetError\n"

    keeping.trial(use, SPEC)


def test_what_is_missing_is_said(keeping: Bench, tmp_path: Path) -> None:
    own = TemplateSpec(image="debian", memory_bytes=256 * MIB, setup=("echo pruned",))

    async def use(sandbox: Sandbox) -> None:
        await keep(sandbox, tmp_path / "kept")

    keeping.trial(use, own)
    template = cache_folder() / "templates" / keeping.run(lambda: keeping.template(own)).key
    memory = (tmp_path / "kept/memory.zst").read_bytes()

    async def reopen() -> None:
        async with reopened(keeping, tmp_path / "kept"):
            pass

    (tmp_path / "kept/memory.zst").write_bytes(memory[: len(memory) // 2])
    with pytest.raises(SandboxStartError, match="is damaged"):
        keeping.run(reopen)
    (tmp_path / "kept/memory.zst").write_bytes(memory)
    keeping.run(reopen)
    aside = template.with_name(f".{template.name}.aside")
    os.rename(template, aside)
    try:
        with pytest.raises(SandboxStartError, match="template of the kept machine was pruned"):
            keeping.run(reopen)
    finally:
        os.rename(aside, template)
    with pytest.raises(SandboxStartError, match="no machine is kept"):
        keeping.run(lambda: keeping.driver.reopen(tmp_path / "nothing"))  # type: ignore[attr-defined]
