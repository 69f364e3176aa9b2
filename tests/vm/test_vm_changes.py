"""What only a machine has: an image below its layer, and a workload that may take everything there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aegis.sandbox.base import MIB, Sandbox, TemplateSpec
from support.conformance_changes import shell, told
from support.sandbox_bench import Bench

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SPEC = TemplateSpec(
    image="debian",
    memory_bytes=256 * MIB,
    setup=("echo set-up > kept; mkdir -p /srv/db; for i in $(seq 300); do echo $i > /srv/db/$i; done",),
)


FLOOD = """\
import os

open("/tmp/one", "w").close()
for folder in range(45):
    os.mkdir(f"/tmp/{folder}")
    for number in range(1000):
        os.link("/tmp/one", f"/tmp/{folder}/{number}")
with open("mine", "a") as file:
    file.write("2")
os.remove("/srv/db/1")
"""


def test_the_image_lies_below(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.mark()
        await shell(
            sandbox,
            "rm /etc/debian_version; echo x >> /etc/passwd; mv /etc/skel /etc/skeleton; "
            "rm -r /usr/share/base-files; mkdir /usr/share/base-files; echo more >> /srv/db/7; echo t > /var/tmp/t",
        )
        found = told(await sandbox.changes())
        passwd = found["/etc/passwd"]
        assert passwd.before is not None
        assert passwd.after == passwd.before + b"x\n"
        assert found["/etc/debian_version"].how == "deleted"
        assert found["/etc/debian_version"].before
        assert (found["/etc/skel"].how, found["/etc/skeleton"].how) == ("deleted", "added")
        assert found["/etc/skel/.bashrc"].before == found["/etc/skeleton/.bashrc"].after
        assert any(path.startswith("/usr/share/base-files/") for path in found)
        assert "/usr/share/base-files" not in found
        assert (found["/srv/db/7"].before, found["/srv/db/7"].after) == (b"7\n", b"7\nmore\n")
        assert found["/var/tmp/t"].how == "added"
        assert {path.split("/")[1] for path in found} == {"etc", "usr", "srv", "var"}

    bench.trial(use, SPEC)


def test_what_the_machines_own_program_writes_is_left_out(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.mark()
        await shell(sandbox, "echo x > /dev/shm/x; cat /etc/hostname > /dev/null")
        assert (await sandbox.changes()).items == ()

    bench.trial(use, SPEC)


def test_a_full_disk_and_a_full_memory_hide_nothing(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.mark()
        eater = await sandbox.exec(
            ("/bin/sh", "-c", "echo 1 > first; cat /dev/zero > /tmp/full; echo full; exec tail /dev/zero")
        )
        async for chunk in eater.stdout():
            if b"full" in chunk:
                break
        await asyncio.sleep(1)
        found = told(await sandbox.changes())
        assert found["/workspace/first"].after == b"1\n"
        assert (found["/tmp/full"].after_bytes or 0) > 50 * MIB
        await eater.kill()

    bench.trial(use, SPEC, deadline_s=600)


def test_more_files_than_can_be_listed(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await shell(sandbox, "echo 1 > mine")
        await sandbox.mark()
        done = await sandbox.run(("python3", "-c", FLOOD), timeout_s=500)
        assert done.status.ok, done.stderr
        changes = await sandbox.changes()
        assert len(changes.items) == 2000
        assert changes.more > 30_000
        found = told(changes)
        assert found["/workspace/mine"].before == b"1\n"
        deleted = {each.path for each in changes.items if each.how == "deleted"}
        assert deleted <= {"/srv/db/1"}, "what was not listed is not gone"

    # A layer holds as many names as its machine's memory has room for.
    bench.trial(use, replace(SPEC, memory_bytes=512 * MIB), deadline_s=600)


def test_programs_that_never_stop_changing_things(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.mark()
        busy = await sandbox.exec(
            (
                "/bin/sh",
                "-c",
                "while :; do mkdir d; echo 1 > d/f; ln -s /etc l; mv d e; mv l d; rm -r e; rm d; done 2> /dev/null",
            )
        )
        for _ in range(5):
            found = told(await sandbox.changes())
            assert not any(path.startswith("/etc") for path in found)
            assert all(path.startswith("/workspace/") for path in found)
        await busy.kill()

    bench.trial(use, SPEC)
