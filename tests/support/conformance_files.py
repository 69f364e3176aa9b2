"""What every driver promises about files: `put_tar`, `get_file`, `get_tree`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest

from aegis.errors import GuestOperationError, HostileArchiveError
from aegis.sandbox.base import MIB, Sandbox
from support.conformance_exec import SPEC
from support.sandbox_bench import Bench, sh, tar_of, text_of


class PutConformance:
    def test_the_templates_files_and_steps_are_there(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            assert await sandbox.get_file("steps.txt") == b"first\nsecond\ngiven"
            assert await sandbox.get_file("/workspace/given.txt") == b"given"

        bench.trial(use, SPEC)

    def test_parents_are_made_and_modes_kept(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            files = {"workspace/a/b/c/tool": "#!/bin/sh\necho ran\n", "workspace/a/plain": b"\0\xff"}
            await sandbox.put_tar(tar_of(files, modes={"workspace/a/b/c/tool": 0o750}))
            assert await text_of(sandbox, "a/b/c/tool; stat -c %a a/b/c/tool a/plain") == "ran\n750\n644\n"
            assert await sandbox.get_file("a/plain") == b"\0\xff"

        bench.trial(use, SPEC)

    def test_another_target_folder_is_made(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await sandbox.put_tar(tar_of({"x/y": "1"}), dest="new/folder")
            await sandbox.put_tar(tar_of({"z": "2"}), dest="/workspace/new")
            assert await text_of(sandbox, "cat new/folder/x/y new/z") == "12"

        bench.trial(use, SPEC)

    def test_existing_files_are_replaced(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "echo a much longer text > f; chmod 400 f; ln f other")
            await sandbox.put_tar(tar_of({"workspace/f": "new"}))
            assert await sandbox.get_file("f") == b"new"
            assert await sandbox.get_file("other") == b"a much longer text\n", (
                "a hard link keeps the old file"
            )

        bench.trial(use, SPEC)

    @pytest.mark.parametrize(
        "target", ["victim", "/nowhere/at/all", ".", "folder"], ids=["file", "dangling", "here", "folder"]
    )
    def test_a_link_left_at_the_target_is_replaced_and_not_followed(self, bench: Bench, target: str) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, f"mkdir folder; echo untouched > victim; ln -s {target} answer")
            await sandbox.put_tar(tar_of({"workspace/answer": "written"}))
            assert (
                await text_of(sandbox, "test -L answer || cat answer; cat victim; ls folder")
                == "writtenuntouched\n"
            )

        bench.trial(use, SPEC)

    def test_a_fifo_left_at_the_target_does_not_hang(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "mkfifo answer")
            await sandbox.put_tar(tar_of({"workspace/answer": "written"}))
            assert await sandbox.get_file("answer") == b"written"

        bench.trial(use, SPEC)

    def test_much_data(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            data = os.urandom(1 << 16) * 128
            await sandbox.put_tar(tar_of({"workspace/big": data}))
            assert await sandbox.get_file("big") == data

        bench.trial(use, SPEC)

    @pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/absolute"])
    def test_a_path_that_leads_out_is_refused(self, bench: Bench, name: str) -> None:
        async def use(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.put_tar(tar_of({name: "x"}), dest="inner")
            assert refused.value.code == "bad-request"

        bench.trial(use, SPEC)

    @pytest.mark.parametrize(
        "broken", [b"", b"this is no archive", tar_of({"workspace/x": b"1" * 5000})[:2000]]
    )
    def test_a_broken_archive_is_refused_and_the_sandbox_stays_usable(
        self, bench: Bench, broken: bytes
    ) -> None:
        async def use(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.put_tar(broken)
            assert refused.value.code == "bad-request"
            assert await text_of(sandbox, "echo fine") == "fine\n"

        bench.trial(use, SPEC)

    def test_a_file_in_the_way_of_a_folder_is_an_error(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError):
                await sandbox.put_tar(tar_of({"workspace/given.txt/below": "x"}))
            assert await sandbox.get_file("given.txt") == b"given"

        bench.trial(use, SPEC)


class GetConformance:
    @pytest.mark.parametrize("size", [0, 1, 32768, 65537, 5 * MIB])
    def test_a_file_comes_out_as_it_is(self, bench: Bench, size: int) -> None:
        async def use(sandbox: Sandbox) -> None:
            data = (os.urandom(65536) * (size // 65536 + 1))[:size]
            await sandbox.put_tar(tar_of({"workspace/data": data}))
            assert await sandbox.get_file("data") == data

        bench.trial(use, SPEC)

    @pytest.mark.parametrize(
        ("make", "path", "code"),
        [
            ("true", "no/such/file", "not-found"),
            ("true", "given.txt/below", "not-found"),
            ("ln -s nowhere link", "link", "not-found"),
            ("ln -s link link", "link", "not-found"),
            ("mkdir folder", "folder", "is-directory"),
            ("mkfifo fifo", "fifo", "not-found"),
            ("mkfifo fifo; ln -s fifo link", "link", "not-found"),
            ("ln -s /dev/zero link", "link", "not-found"),
            ("ln -s /dev/tty link", "link", None),
            (
                "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
                "sock",
                None,
            ),
        ],
    )
    def test_what_is_no_regular_file_is_an_error_at_once(
        self, bench: Bench, make: str, path: str, code: str | None
    ) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, make)
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.get_file(path)
            assert code is None or refused.value.code == code
            assert await sandbox.get_file("given.txt") == b"given"

        bench.trial(use, SPEC)

    def test_links_are_followed_inside(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "ln -s given.txt link")
            assert await sandbox.get_file("link") == b"given"

        bench.trial(use, SPEC)

    def test_one_larger_than_asked_for_is_refused(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "head -c 1001 /dev/zero > f; truncate -s 1T sparse")
            assert len(await sandbox.get_file("f", max_bytes=1001)) == 1001
            for path, limit in (("f", 1000), ("f", 0), ("sparse", 64 * MIB)):
                with pytest.raises(GuestOperationError) as refused:
                    await sandbox.get_file(path, max_bytes=limit)
                assert refused.value.code == "too-large"

        bench.trial(use, SPEC)

    def test_one_that_grows_while_it_is_read_ends(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            writer = await sandbox.exec(("/bin/sh", "-c", "while :; do head -c 65536 /dev/zero >> f; done"))
            for _ in range(10):
                await asyncio.sleep(0.05)
                got: bytes | GuestOperationError
                try:
                    got = await sandbox.get_file("f", max_bytes=MIB)
                except GuestOperationError as refused:
                    got = refused
                assert (
                    getattr(got, "code", None) in ("not-found", "too-large") or len(cast("bytes", got)) <= MIB
                )
                await sh(sandbox, ": > f")
            await writer.kill()

        bench.trial(use, SPEC)


class TreeConformance:
    def test_a_folder_comes_out(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "mkdir -p out/a/b out/empty; echo one > out/one; echo two > out/a/b/two")
            await text_of(sandbox, "chmod +x out/one; : > out/nil")
            assert await sandbox.get_tree("out", tmp_path / "dest") == 3

        bench.trial(use, SPEC)
        assert names(tmp_path / "dest") == ["a", "a/b", "a/b/two", "empty", "nil", "one"]
        assert (tmp_path / "dest/one").read_text() == "one\n"
        assert os.access(tmp_path / "dest/one", os.X_OK)

    def test_one_file_comes_out_below_the_new_folder(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            assert await sandbox.get_tree("given.txt", tmp_path / "dest") == 1

        bench.trial(use, SPEC)
        assert (tmp_path / "dest/given.txt").read_text() == "given"

    def test_what_is_not_there_is_not_found(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.get_tree("no/such", tmp_path / "dest")
            assert refused.value.code == "not-found"

        bench.trial(use, SPEC)
        assert list(tmp_path.iterdir()) == []

    def test_links_fifos_and_devices_are_left_out(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = """mkdir out; cd out; echo x > file; ln file hard; ln -s file soft; ln -s /etc etc; mkfifo fifo
                ln -s /dev/zero zero; mkdir sub; ln -s .. sub/up
                python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'"""
            await text_of(sandbox, script)
            assert await sandbox.get_tree("out", tmp_path / "dest") == 2

        bench.trial(use, SPEC)
        assert names(tmp_path / "dest") == ["file", "hard", "sub"]
        assert (tmp_path / "dest/hard").read_text() == "x\n"

    def test_odd_names_come_out_as_they_are(self, bench: Bench, tmp_path: Path) -> None:
        odd = ["a b", "ü", "-rf", "*", "\\x1b[2J", "new\nline", "x" * 200, "\x01\x7f", "日本"]

        async def use(sandbox: Sandbox) -> None:
            await sandbox.put_tar(tar_of({f"workspace/out/{name}": name for name in odd}))
            deep = "/".join(["folder"] * 20) + "/" + "y" * 150
            await sandbox.put_tar(tar_of({f"workspace/out/{deep}": "deep"}))
            assert await sandbox.get_tree("out", tmp_path / "dest") == len(odd) + 1

        bench.trial(use, SPEC)
        assert sorted(p.name for p in (tmp_path / "dest").iterdir() if p.is_file()) == sorted(odd)
        assert all((tmp_path / "dest" / name).read_text() == name for name in odd)

    def test_names_that_are_no_text_come_out_or_are_refused(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, 'mkdir out; python3 -c \'open(b"out/\\xff\\xfe", "w")\'')
            assert await sandbox.get_tree("out", tmp_path / "dest") == 1

        bench.trial(use, SPEC)
        assert os.listdir(bytes(tmp_path / "dest")) == [b"\xff\xfe"]

    def test_special_bits_and_owners_stay_behind(self, bench: Bench, tmp_path: Path) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "mkdir out; echo x > out/s; chmod 6777 out/s; chmod 1777 out")
            await sandbox.get_tree("out", tmp_path / "dest")

        bench.trial(use, SPEC)
        info = (tmp_path / "dest/s").stat()
        assert info.st_mode & 0o7022 == 0
        assert info.st_uid == os.geteuid()

    @pytest.mark.parametrize(
        ("make", "limits"),
        [
            ("mkdir out; truncate -s 1T out/sparse", {}),
            ("mkdir out; head -c 2000 /dev/zero > out/f", {"max_bytes": 1999}),
            ("mkdir out; for i in 1 2 3; do head -c 700 /dev/zero > out/$i; done", {"max_bytes": 2000}),
            ("mkdir out; for i in 1 2 3 4 5 6; do : > out/$i; done", {"max_files": 5}),
            ("mkdir -p out/a/b/c/d/e/f", {"max_files": 5}),
            ("mkdir out; cd out; for i in $(seq 70); do mkdir d; cd d; done; echo x > f", {}),
        ],
        ids=["sparse", "one-file", "together", "files", "folders", "deep"],
    )
    def test_a_limit_exceeded_leaves_nothing(
        self, bench: Bench, tmp_path: Path, make: str, limits: dict[str, int]
    ) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, make)
            with pytest.raises(HostileArchiveError):
                await sandbox.get_tree("out", tmp_path / "dest", **limits)
            assert await text_of(sandbox, "echo fine") == "fine\n"

        bench.trial(use, SPEC)
        assert list(tmp_path.iterdir()) == []

    def test_a_tree_that_changes_while_it_is_read_gives_a_tree_or_an_error(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        churn = """
import os, itertools
os.makedirs("out", exist_ok=True)
print("go", flush=True)
for n in itertools.count():
    for name in ("a", "b", "c"):
        path = f"out/{name}"
        try:
            kind = n % 4
            if kind == 0: open(path, "wb").write(b"x" * (n % 5 * 40000))
            elif kind == 1: os.truncate(path, 10)
            elif kind == 2: os.unlink(path); os.mkfifo(path)
            else: os.unlink(path)
        except OSError: pass
"""

        async def use(sandbox: Sandbox) -> None:
            await sandbox.put_tar(tar_of({"workspace/churn.py": churn}))
            process = await sandbox.exec(("python3", "churn.py"))
            async for _ in process.stdout():
                break
            for number in range(8):
                await sandbox.get_tree("out", tmp_path / str(number))
            await process.kill()

        bench.trial(use, SPEC)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
