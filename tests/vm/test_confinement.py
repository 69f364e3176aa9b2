"""The process that runs a machine holds as little as possible, and cannot change what the next one starts from."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
from pathlib import Path
from typing import cast

import pytest

from aegis.sandbox.base import Sandbox
from aegis.sandbox.qemu.driver import QemuDriver, QemuSandbox
from support.conformance_exec import SPEC
from support.host_state import command_line, descendants
from support.sandbox_bench import Bench, sh

pytestmark = pytest.mark.vm

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user can be taken on by root only")


def monitor(sandbox: Sandbox) -> int:
    """Process id of the QEMU behind a sandbox."""
    launcher = cast("QemuSandbox", sandbox).pid
    return next(
        pid for pid in [launcher, *descendants(launcher)] if "qemu" in os.readlink(f"/proc/{pid}/exe")
    )


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@as_root
def test_the_monitor_runs_as_nobody_without_privileges(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        found = status(monitor(sandbox))
        assert found["Uid"].split() == ["65534"] * 4
        assert found["Gid"].split() == ["65534"] * 4
        kvm = [str(os.stat("/dev/kvm").st_gid)] if bench.driver.info.accel == "kvm" else []
        assert found["Groups"] in ("", "65534", *kvm), "no group but the one that may use KVM"
        assert found["NoNewPrivs"] == "1"
        assert found["Seccomp"] == "2", "a filter is in force"
        for name in ("user", "net", "ipc", "uts", "pid"):
            own, ours = (
                os.readlink(f"/proc/{monitor(sandbox)}/ns/{name}"),
                os.readlink(f"/proc/self/ns/{name}"),
            )
            assert own != ours, name

    bench.trial(use, SPEC)


@as_root
def test_the_monitors_network_namespace_is_empty(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        devices = Path(f"/proc/{monitor(sandbox)}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]
        assert Path(f"/proc/{monitor(sandbox)}/net/route").read_text().splitlines()[1:] == []

    bench.trial(use, SPEC)


def test_the_monitor_holds_no_descriptor_of_the_hosts_files(bench: Bench) -> None:
    allowed = ("/memfd:", "socket:", "anon_inode:", "pipe:", "/dev/null", "/dev/kvm", "/proc/")

    async def use(sandbox: Sandbox) -> None:
        pid = monitor(sandbox)
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        other = [link for link in links if not link.startswith(allowed)]
        # The two read-only drives: the machine's own program, and the image.
        assert len(set(other)) <= 2, other
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(link) in other:
                flags = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
                assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY

    bench.trial(use, SPEC)


def test_the_command_line_holds_no_network_and_no_path_of_a_user(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        words = command_line(monitor(sandbox))
        assert "-netdev" not in words
        assert "-nic" not in words
        assert "virtio-net" not in words
        assert str(Path.home()) not in words.replace("/root/", f"{Path.home()}/") or os.geteuid() != 0
        assert "elevateprivileges=deny" in words
        assert "spawn=deny" in words

    bench.trial(use, SPEC)


def template_memory(pid: int) -> list[Path]:
    return [
        link for link in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(link).startswith("/memfd:memory")
    ]


def test_the_templates_memory_is_sealed(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        links = template_memory(monitor(sandbox))
        assert len({os.stat(link).st_ino for link in links}) == 1
        fd = os.open(links[0], os.O_RDWR)
        try:
            for attack in (
                lambda: os.pwrite(fd, b"x", 0),
                lambda: os.ftruncate(fd, 0),
                lambda: os.ftruncate(fd, 1 << 40),
                lambda: os.posix_fallocate(fd, 1 << 40, 4096),
                lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            ):
                with pytest.raises(PermissionError):
                    attack()
        finally:
            os.close(fd)

    bench.trial(use, SPEC)


@as_root
def test_what_a_machine_has_in_memory_is_in_no_template_and_no_other_machine(bench: Bench) -> None:
    canary = os.urandom(16).hex()
    # Sent in halves: the canary itself must be made inside.
    made = f"x = ('{canary[:16]}' + '{canary[16:]}').encode() * 4096"
    program = f"import time; {made}; print(len(x), flush=True); time.sleep(999)"

    async def body() -> None:
        async with bench.sandbox(SPEC) as one, bench.sandbox(SPEC) as two:
            process = await one.exec(("python3", "-c", program))
            await anext(process.stdout())
            assert memory_holds(monitor(one), canary.encode()), "the control: it can be found where it is"
            assert not memory_holds(monitor(two), canary.encode())
            link = template_memory(monitor(one))[0]
            assert canary.encode() not in link.read_bytes()

    bench.run(body)


def memory_holds(pid: int, needle: bytes) -> bool:
    """Whether the guest memory of a monitor holds these bytes."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            if "/memfd:memory" in line:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
    return False


SCRIBBLE = "import mmap; m = mmap.mmap(-1, 100 << 20); [m.write(b'\\xaa' * 65536) for _ in range(1600)]; print(len(m))"


@pytest.mark.slow
def test_ten_clones_leave_the_template_as_it_was(bench: Bench) -> None:
    def digest() -> tuple[str, ...]:
        saved = cast("QemuDriver", bench.driver)._made[key].saved
        return tuple(_sha256(fd) for fd in (saved.ram, saved.state))

    async def scribble(sandbox: Sandbox) -> None:
        done = await sandbox.run(("python3", "-c", SCRIBBLE), timeout_s=110)
        assert done.stdout == b"104857600\n", done.stderr
        await sh(sandbox, "head -c 50M /dev/urandom > /tmp/noise")

    async def body() -> None:
        for number in range(10):
            async with bench.sandbox(SPEC) as sandbox:
                if number % 5 == 0:
                    await scribble(sandbox)
                else:
                    await sh(sandbox, "echo x > /tmp/x")

    key = bench.run(lambda: bench.template(SPEC)).key
    before = digest()
    bench.run(body, deadline_s=280)
    assert digest() == before


def _sha256(fd: int) -> str:
    hashed, position = hashlib.sha256(), 0
    while data := os.pread(fd, 1 << 20, position):
        hashed.update(data)
        position += len(data)
    return hashed.hexdigest()


def test_a_monitor_that_dies_ends_every_call_and_is_not_the_agents_doing(bench: Bench) -> None:
    from aegis.errors import SandboxLostError

    async def body() -> None:
        async with bench.sandbox(SPEC) as sandbox:
            process = await sandbox.exec(("sleep", "1000"))

            async def read() -> None:
                async for _ in process.stdout():
                    pass

            calls = [
                asyncio.ensure_future(process.wait()),
                asyncio.ensure_future(read()),
                asyncio.ensure_future(process.write(b"x" * 1_000_000)),
                asyncio.ensure_future(sandbox.run(("sleep", "1000"), timeout_s=1000)),
                asyncio.ensure_future(sandbox.get_file("/dev/stdin")),
            ]
            await asyncio.sleep(0.5)
            os.kill(monitor(sandbox), 9)
            ended = await asyncio.gather(*calls[:4], return_exceptions=True)
            await asyncio.gather(calls[4], return_exceptions=True)
            assert [type(each) for each in ended] == [SandboxLostError] * 4
            assert not any(cast("SandboxLostError", each).by_guest for each in ended)
            with pytest.raises(SandboxLostError) as lost:
                await sandbox.exec(("true",))
            assert not lost.value.by_guest
        async with bench.sandbox(SPEC) as sandbox:
            assert (await sh(sandbox, "echo next")).stdout == b"next\n"

    bench.run(body)
