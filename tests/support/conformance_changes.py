"""What every driver promises of `Sandbox.mark` and `Sandbox.changes`."""

from __future__ import annotations

import asyncio

import pytest

from aegis.errors import GuestOperationError
from aegis.sandbox.base import Change, Changes, Sandbox
from support.conformance_exec import SPEC
from support.sandbox_bench import Bench

SETTLE_S = 0.3
"""What is changed right after a mark shows also on a kernel whose clock ticks slowly."""


async def shell(sandbox: Sandbox, script: str) -> None:
    done = await sandbox.run(("/bin/sh", "-ec", script))
    assert done.status.ok, done.stderr


def told(changes: Changes) -> dict[str, Change]:
    assert len({each.path for each in changes.items}) == len(changes.items)
    return {each.path: each for each in changes.items}


class ChangesConformance:
    def test_nothing_is_told_before_a_mark(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError, match="nothing was marked") as caught:
                await sandbox.changes()
            assert caught.value.code == "not-found"

        bench.trial(body, SPEC)

    def test_what_was_there_at_the_mark_is_no_change(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "echo world > world.txt; mkdir -p deep/folder; echo x > deep/folder/file")
            await sandbox.mark()
            assert await sandbox.changes() == Changes(())
            await shell(sandbox, "cat world.txt deep/folder/file; ls -lR .")
            assert await sandbox.changes() == Changes(())

        bench.trial(body, SPEC)

    def test_files_added_changed_and_deleted_are_told_with_their_contents(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "echo one > changed.txt; echo gone > gone.txt; echo same > same.txt")
            await sandbox.mark()
            await asyncio.sleep(SETTLE_S)
            await shell(
                sandbox,
                "echo two >> changed.txt; rm gone.txt; echo new > 'new file'; cat same.txt > same2; mv same2 same.txt",
            )
            changes = await sandbox.changes()
            assert changes.more == 0
            assert [(each.path, each.how, each.kind) for each in changes.items] == [
                ("/workspace/changed.txt", "changed", "file"),
                ("/workspace/gone.txt", "deleted", "file"),
                ("/workspace/new file", "added", "file"),
            ]
            changed, gone, new = changes.items
            assert (changed.before, changed.after) == (b"one\n", b"one\ntwo\n")
            assert (changed.before_bytes, changed.after_bytes) == (4, 8)
            assert (gone.before, gone.after, gone.before_bytes, gone.after_bytes) == (
                b"gone\n",
                None,
                5,
                None,
            )
            assert (new.before, new.after, new.before_bytes, new.after_bytes) == (None, b"new\n", None, 4)

        bench.trial(body, SPEC)

    def test_a_file_changed_in_the_instant_of_the_mark_is_seen(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.run(("/bin/true",))
            for number in range(5):
                await shell(sandbox, "printf aaaa > f")
                await sandbox.mark()
                await shell(sandbox, "printf bbbb > f")
                assert [each.after for each in (await sandbox.changes()).items] == [b"bbbb"], number

        bench.trial(body, SPEC)

    def test_a_deleted_folder_is_told_with_all_that_was_in_it(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b")
            await sandbox.mark()
            await shell(sandbox, "rm -r d")
            items = (await sandbox.changes()).items
            assert [(each.path, each.how, each.kind, each.before) for each in items] == [
                ("/workspace/d", "deleted", "folder", None),
                ("/workspace/d/a", "deleted", "file", b"1\n"),
                ("/workspace/d/e", "deleted", "folder", None),
                ("/workspace/d/e/b", "deleted", "file", b"2\n"),
            ]

        bench.trial(body, SPEC)

    def test_a_renamed_folder_is_one_deleted_and_one_added(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "mkdir old; echo 1 > old/a")
            await sandbox.mark()
            await shell(sandbox, "mv old new")
            items = (await sandbox.changes()).items
            assert [(each.path, each.how) for each in items] == [
                ("/workspace/new", "added"),
                ("/workspace/new/a", "added"),
                ("/workspace/old", "deleted"),
                ("/workspace/old/a", "deleted"),
            ]

        bench.trial(body, SPEC)

    def test_a_thing_that_became_another_kind_was_deleted_and_added(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "mkdir thing; echo 1 > thing/a; ln -s here link")
            await sandbox.mark()
            await shell(sandbox, "rm -r thing; echo file > thing; ln -sfn there link")
            items = (await sandbox.changes()).items
            assert [(each.path, each.how, each.kind, each.before, each.after) for each in items] == [
                ("/workspace/link", "changed", "link", b"here", b"there"),
                ("/workspace/thing", "deleted", "folder", None, None),
                ("/workspace/thing", "added", "file", None, b"file\n"),
                ("/workspace/thing/a", "deleted", "file", b"1\n", None),
            ]

        bench.trial(body, SPEC)

    def test_permissions_alone_are_a_change(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "echo 1 > tool; chmod 644 tool")
            await sandbox.mark()
            await shell(sandbox, "chmod 755 tool")
            (item,) = (await sandbox.changes()).items
            assert (item.path, item.how, item.before_mode, item.after_mode) == (
                "/workspace/tool",
                "changed",
                0o644,
                0o755,
            )
            assert item.before is item.after is None

        bench.trial(body, SPEC)

    def test_bounds_are_kept_and_what_is_left_out_is_counted(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await shell(sandbox, "mkdir -p ../tmp")
            await sandbox.mark()
            await shell(
                sandbox,
                "for i in 1 2 3 4 5 6 7 8 9; do printf %0100d $i > f$i; done; mkdir -p ../tmp/q; echo 1 > ../tmp/q/1",
            )
            few = await sandbox.changes(max_items=4)
            assert [each.path for each in few.items] == [f"/workspace/f{i}" for i in range(1, 5)]
            assert few.more == 5 + 2
            short = told(await sandbox.changes(max_file_bytes=99))
            assert short["/workspace/f1"].after is None
            assert short["/workspace/f1"].after_bytes == 100
            assert short["/tmp/q/1"].after == b"1\n"
            little = await sandbox.changes(max_bytes=250)
            assert sum(each.after is not None for each in little.items if "/workspace/" in each.path) == 2

        bench.trial(body, SPEC)

    def test_texts_come_before_what_is_binary(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(sandbox, "head -c 900 /dev/zero > a.bin; printf %0900d 1 > b.txt")
            found = told(await sandbox.changes(max_bytes=1000))
            assert found["/workspace/a.bin"].after is None
            assert found["/workspace/a.bin"].after_bytes == 900
            assert found["/workspace/b.txt"].after is not None

        bench.trial(body, SPEC)

    def test_a_later_mark_replaces_the_earlier_one(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(sandbox, "echo 1 > a; echo 1 > b")
            await sandbox.mark()
            await asyncio.sleep(SETTLE_S)
            await shell(sandbox, "echo 2 >> a")
            (item,) = (await sandbox.changes()).items
            assert (item.path, item.before, item.after) == ("/workspace/a", b"1\n", b"1\n2\n")
            assert (await sandbox.changes()).items == (item,)

        bench.trial(body, SPEC)

    def test_names_that_no_one_would_choose(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(
                sandbox,
                r"""printf x > "$(printf 'a\033[31m\nb')"; printf y > "$(printf '\377\376')"; """
                "mkdir deep; cd deep; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; i=$((i+1)); done; echo 1 > end",
            )
            changes = await sandbox.changes()
            found = told(changes)
            assert found["/workspace/a\x1b[31m\nb"].after == b"x"
            assert found["/workspace/\udcff\udcfe"].after == b"y"
            assert "/workspace/deep/d/d/d" in found
            assert changes.more >= 1

        bench.trial(body, SPEC)

    def test_what_is_no_file_is_told_and_not_opened(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(sandbox, "mkfifo pipe; ln -s /etc/passwd link; ln -s /etc outside")
            found = told(await sandbox.changes())
            assert found["/workspace/pipe"].kind == "other"
            assert found["/workspace/pipe"].after is None
            assert found["/workspace/link"].after == b"/etc/passwd"
            assert found["/workspace/outside"].kind == "link"
            assert not any(path.startswith("/workspace/outside/") for path in found)

        bench.trial(body, SPEC)

    def test_other_work_goes_on_meanwhile(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(sandbox, "for i in $(seq 300); do echo $i > f$i; done")
            several = await asyncio.gather(
                sandbox.changes(), sandbox.run(("/bin/echo", "hello")), sandbox.changes(max_items=1)
            )
            assert len(several[0].items) == 300
            assert several[1].stdout == b"hello\n"
            assert len(several[2].items) == 1
            assert several[2].more == 299

        bench.trial(body, SPEC)

    def test_a_question_given_up_leaves_the_sandbox_at_work(self, bench: Bench) -> None:
        async def body(sandbox: Sandbox) -> None:
            await sandbox.mark()
            await shell(sandbox, "for i in $(seq 200); do echo $i > f$i; done")
            asking = asyncio.create_task(sandbox.changes())
            for _ in range(5):  # the request is on its way
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert len((await sandbox.changes()).items) == 200

        bench.trial(body, SPEC)
