"""What an agent does to its own machine ends as documented, never in a hang, and never in the next machine.

docs/sandbox.md lists these probes and their results.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from aegis.errors import SandboxLostError
from aegis.sandbox.base import MIB, Completed, Sandbox
from support.conformance_exec import SPEC
from support.host_state import host_state, nothing_left, resident_bytes
from support.sandbox_bench import DEADLINE_S, Bench, sh, text_of

pytestmark = pytest.mark.vm


def survives(bench: Bench, script: str, *, timeout_s: float = 30.0) -> Completed:
    """Run a hostile script as root; the machine must answer afterwards, and the next one must work."""

    async def use(sandbox: Sandbox) -> Completed:
        done = await sh(sandbox, script, timeout_s=timeout_s)
        assert await text_of(sandbox, "echo still here") == "still here\n"
        return done

    done = bench.trial(use, SPEC)
    the_next_works(bench)
    return done


def is_lost(bench: Bench, script: str) -> SandboxLostError:
    """Run a script that ends the machine; every waiting call gets the error, and the next machine works."""

    async def use(sandbox: Sandbox) -> SandboxLostError:
        other = await sandbox.exec(("sleep", "1000"))
        waiting = asyncio.ensure_future(other.wait())
        with pytest.raises(SandboxLostError) as lost:
            await sh(sandbox, script)
        with pytest.raises(SandboxLostError) as second:
            await waiting
        assert second.value.by_guest == lost.value.by_guest
        with pytest.raises(SandboxLostError):
            await sandbox.exec(("true",))
        assert str(lost.value).isprintable()
        return lost.value

    lost = bench.trial(use, SPEC)
    the_next_works(bench)
    return lost


def the_next_works(bench: Bench) -> None:
    assert bench.trial(lambda sandbox: text_of(sandbox, "echo next"), SPEC) == "next\n"


@pytest.mark.parametrize(
    "script",
    [
        "kill -9 1",
        "for s in 1 2 3 4 6 7 8 10 11 12 14 15 20 21 22 23 24 31; do kill -$s 1; done",
        "kill -TERM -1",
        "kill -KILL -1",
        "python3 -c 'import os, signal; os.kill(-1, signal.SIGKILL)'",
        "kill -STOP -1",
        "sleep 1; kill -STOP -1",  # late enough to meet the helper process that waits for the next program
        "echo b > /proc/sysrq-trigger; echo o > /proc/sysrq-trigger; echo c > /proc/sysrq-trigger",
        "echo x > /proc/sys/kernel/core_pattern; kill -SEGV $$",
        "umount -l /proc; umount -l /dev; umount -l /sys",
        "rm -rf --no-preserve-root /usr/lib/python3 /etc /root /home /tmp /run",
        "mount -o remount,ro /",
        "cat /dev/zero > /proc/sys/vm/overcommit_memory",
        "swapoff -a; echo 0 > /proc/sys/kernel/threads-max",
    ],
)
def test_what_the_machine_survives(bench: Bench, script: str) -> None:
    if script == "rm -rf --no-preserve-root /usr/lib/python3 /etc /root /home /tmp /run":
        script += "; mkdir -p /tmp"
    survives(bench, script)


@pytest.mark.slow
def test_a_write_to_the_trigger_file_is_refused(bench: Bench) -> None:
    assert not survives(bench, "echo b > /proc/sysrq-trigger").status.ok


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "python3 -c 'import ctypes; exit(ctypes.CDLL(None, use_errno=True).reboot(0x01234567) == 0)'",
        "python3 -c 'import ctypes; exit(ctypes.CDLL(None, use_errno=True).reboot(0x4321FEDC) == 0)'",
        "reboot -f; poweroff -f; halt -f; systemctl reboot --force --force; true",
        "insmod /x.ko; modprobe nothing; rmmod virtio_blk; true",
        "mknod /tmp/mem c 1 1 && exit 1; mknod /tmp/port c 1 4 && exit 1; true",
    ],
)
def test_what_a_root_without_these_capabilities_cannot_do(bench: Bench, script: str) -> None:
    assert survives(bench, script).status.ok


MOUNTED_TRIGGER = (
    "mkdir -p /mnt/p && mount -t proc none /mnt/p && echo {0} > /mnt/p/sysrq-trigger; sleep 1000"
)


@pytest.mark.parametrize(("letter", "word"), [("b", "rebooted"), ("o", "powered off")])
def test_a_machine_that_is_ended_from_inside_is_the_agents_doing(
    bench: Bench, letter: str, word: str
) -> None:
    """A root that mounts a proc of its own gets at the trigger that the given one hides."""
    lost = is_lost(bench, MOUNTED_TRIGGER.format(letter))
    assert lost.by_guest
    assert word in str(lost)


def test_a_kernel_panic_is_told_as_one(bench: Bench) -> None:
    lost = is_lost(bench, MOUNTED_TRIGGER.format("c"))
    assert "panic" in str(lost)


MANY = "mkfifo gate; i=0; while [ $i -lt {0} ]; do read x < gate & i=$((i+1)); done; echo all; wait"


@pytest.mark.slow
def test_a_thousand_children_are_ended_with_their_program(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        process = await sandbox.exec(("/bin/sh", "-c", MANY.format(1000)))
        async for chunk in process.stdout():
            assert chunk == b"all\n"
            break
        counted = "ls /proc | grep -c '^[0-9]'"
        assert int(await text_of(sandbox, counted)) >= 1000
        await process.kill()
        assert int(await text_of(sandbox, counted)) < 20

    bench.trial(use, replace(SPEC, memory_bytes=512 * MIB, prepared=()))


@pytest.mark.slow
def test_more_children_than_there_is_memory_for(bench: Bench) -> None:
    """The workload's own bound is met before the machine's, so that the machine goes on answering."""
    survives(bench, MANY.format(4000), timeout_s=40)


@pytest.mark.slow
def test_an_unbounded_fork_bomb_ends_with_its_deadline(bench: Bench) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"

    async def use(sandbox: Sandbox) -> str:
        try:
            done = await sandbox.run(("python3", "-c", bomb), timeout_s=10)
            assert done.timed_out or not done.status.ok
            return await text_of(sandbox, "echo still here")
        except SandboxLostError as lost:
            return str(lost)

    answer = bench.trial(use, SPEC)
    assert answer == "still here\n" or "did not end a program" in answer
    the_next_works(bench)


def test_a_memory_bomb_is_killed_by_the_machines_own_kernel(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        bomb = "x = []\nwhile True: x.append(bytearray(b'x' * (1 << 20)))"
        done = await sandbox.run(("python3", "-c", bomb), timeout_s=90)
        assert done.status.signal == 9 or b"MemoryError" in done.stderr
        assert await text_of(sandbox, "echo still here") == "still here\n"

    bench.trial(use, SPEC)
    the_next_works(bench)


def test_a_full_disk_is_an_error_inside(bench: Bench) -> None:
    done = survives(bench, "dd if=/dev/zero of=/fill bs=1M; rm /fill", timeout_s=90)
    assert b"No space left" in done.stderr


@pytest.mark.slow
def test_all_memory_file_systems_filled_at_once(bench: Bench) -> None:
    """More than the machine has: its kernel may panic, and that must be told and must not hang."""
    script = "dd if=/dev/zero of=/fill bs=1M; dd if=/dev/zero of=/dev/shm/fill bs=1M; echo filled"

    async def use(sandbox: Sandbox) -> str:
        try:
            await sh(sandbox, script, timeout_s=60)
            await sh(sandbox, "rm -f /fill /dev/shm/fill")
            return await text_of(sandbox, "echo still here")
        except SandboxLostError as lost:
            return str(lost)

    assert bench.trial(use, SPEC) == "still here\n"
    the_next_works(bench)


@pytest.mark.slow
def test_inodes_run_out_inside(bench: Bench) -> None:
    program = """
import os
os.makedirs("many")
try:
    for n in range(10_000_000):
        os.close(os.open(f"many/{n}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    print(error.errno)
"""

    async def use(sandbox: Sandbox) -> None:
        done = await sandbox.run(("python3", "-c", program), timeout_s=60)
        assert done.timed_out or done.stdout == b"28\n" or done.status.signal == 9
        assert await text_of(sandbox, "echo still here") == "still here\n"

    bench.trial(use, SPEC)
    the_next_works(bench)


@pytest.mark.slow
def test_endless_output_costs_the_host_no_memory(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        before = resident_bytes()
        done = await sandbox.run(("cat", "/dev/zero"), timeout_s=5, max_output_bytes=MIB)
        assert done.timed_out
        assert done.truncated
        assert len(done.stdout) == MIB
        assert resident_bytes() - before < 64 * MIB

    bench.trial(use, SPEC)
    the_next_works(bench)


@pytest.mark.slow
def test_a_gibibyte_of_output_passes_through_bounded_memory(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        before, received, begun = resident_bytes(), 0, time.monotonic()
        process = await sandbox.exec(("head", "-c", "1G", "/dev/zero"))
        async for chunk in process.stdout():
            received += len(chunk)
            # On a slow host a part of it shows the same.
            if time.monotonic() - begun > 60:
                break
        assert received > 16 * MIB
        assert resident_bytes() - before < 64 * MIB
        await process.kill()

    bench.trial(use, SPEC)
    the_next_works(bench)


@pytest.mark.slow
def test_output_that_nobody_reads_costs_the_host_no_memory(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        before = resident_bytes()
        flood = ("/bin/sh", "-c", "cat /dev/zero & cat /dev/zero >&2; wait")
        processes = [await sandbox.exec(flood) for _ in range(5)]
        await asyncio.sleep(3)
        assert resident_bytes() - before < 64 * MIB
        assert await text_of(sandbox, "echo still here") == "still here\n"
        for process in processes:
            await process.kill()

    bench.trial(use, SPEC)
    the_next_works(bench)


@pytest.mark.slow
def test_a_console_flood_is_bounded_on_the_host(bench: Bench) -> None:
    """Root can find the serial console in a device file system of its own."""
    script = "mkdir -p /mnt/d; mount -t devtmpfs none /mnt/d; cat /dev/zero | tr '\\0' x > /mnt/d/ttyS0"

    async def use(sandbox: Sandbox) -> None:
        await sh(sandbox, script, timeout_s=12)
        console = sandbox._machine.vmm.console_size()  # type: ignore[attr-defined]
        assert 0 < console <= 8 * MIB
        assert await text_of(sandbox, "echo still here") == "still here\n"

    bench.trial(use, SPEC)
    the_next_works(bench)


@pytest.mark.slow
def test_what_is_written_to_the_console_is_not_shown_raw(bench: Bench) -> None:
    script = (
        "mkdir -p /mnt/d; mount -t devtmpfs none /mnt/d; "
        "printf 'Kernel panic \\033[2J\\033]0;x\\007\\n' > /mnt/d/ttyS0; " + MOUNTED_TRIGGER.format("b")
    )
    assert str(is_lost(bench, script)).isprintable()


@pytest.mark.slow
def test_spinners_leave_the_machine_responsive_and_a_neighbour_alive(bench: Bench) -> None:
    async def body() -> None:
        async with bench.sandbox(SPEC) as busy, bench.sandbox(SPEC) as neighbour:
            spinners = [await busy.exec(("/bin/sh", "-c", "while :; do :; done")) for _ in range(8)]
            assert await text_of(neighbour, "echo fine") == "fine\n"
            assert await text_of(busy, "echo fine") == "fine\n"
            for spinner in spinners:
                await spinner.kill()

    bench.run(body)


@pytest.mark.slow
def test_a_program_that_ends_the_spare_processes_again_and_again(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        process = await sandbox.exec(
            (
                "python3",
                "-c",
                "import os, time\nwhile True:\n  try: os.kill(-1, 9)\n  except OSError: pass\n  time.sleep(0.3)",
            )
        )
        await asyncio.sleep(2)
        for _ in range(5):
            with contextlib.suppress(AssertionError):
                await sh(sandbox, "echo once")
        await process.kill()
        assert await text_of(sandbox, "echo still here") == "still here\n"

    bench.trial(use, SPEC, deadline_s=DEADLINE_S)
    the_next_works(bench)


def test_a_stopped_helper_process_does_not_hang_the_end(bench: Bench) -> None:
    async def body() -> None:
        before = host_state()
        async with bench.sandbox(SPEC) as sandbox:
            await sandbox.exec(("/bin/sh", "-c", "kill -STOP -1; kill -STOP 1; sleep 1000"))
            await asyncio.sleep(0.5)
        await nothing_left(before)

    bench.run(lambda: bench.template(SPEC))
    bench.run(body)
