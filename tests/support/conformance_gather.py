"""What every driver promises about `gather`."""

from __future__ import annotations

from aegis.sandbox.base import Gathered, Sandbox
from support.conformance_exec import SPEC
from support.sandbox_bench import Bench, tar_of, text_of

MAKE = """
mkdir -p out/deep/er out/empty logs; echo one > out/one.txt; echo two > out/deep/two.txt
echo three > out/deep/er/three.log; echo dot > out/.hidden; : > out/nil; echo a > 'logs/a[1].log'
ln -s /etc etc; ln -s one.txt out/link.txt; mkfifo out/fifo.txt
"""


def gathered(bench: Bench, script: str, *patterns: str, **bounds: int) -> Gathered:
    async def use(sandbox: Sandbox) -> Gathered:
        await text_of(sandbox, script)
        return await sandbox.gather(tuple(f"/workspace/{each}" for each in patterns), **bounds)

    return bench.trial(use, SPEC)


def names(found: Gathered) -> list[str]:
    return [file.path.removeprefix("/workspace/") for file in found.files]


class GatherConformance:
    def test_paths_folders_and_patterns(self, bench: Bench) -> None:
        found = gathered(
            bench, MAKE, "given.txt", "out/deep/", "**/*.txt", "logs/a[1].?og", "out/deep/er/*.log"
        )
        assert names(found) == [
            "given.txt",
            "logs/a[1].log",
            "out/deep/er/three.log",
            "out/deep/two.txt",
            "out/one.txt",
            "steps.txt",
        ]
        assert [file.data for file in found.files[1:4]] == [b"a\n", b"three\n", b"two\n"]
        assert found.left_out == ()

    def test_names_with_dots_and_empty_files_are_files(self, bench: Bench) -> None:
        found = gathered(bench, MAKE, "out/*")
        assert names(found) == [
            "out/.hidden",
            "out/deep/er/three.log",
            "out/deep/two.txt",
            "out/nil",
            "out/one.txt",
        ]
        assert found.files[3].data == b""

    def test_links_lead_where_a_path_names_them_and_nowhere_else(self, bench: Bench) -> None:
        assert names(gathered(bench, MAKE, "out/link.txt")) == ["out/link.txt"]
        assert names(gathered(bench, MAKE, "**/hostname*", "out/link*")) == []
        assert gathered(bench, MAKE, "out/fifo.txt").left_out == (
            ("/workspace/out/fifo.txt", "is no regular file"),
        )

    def test_what_is_not_there_is_told(self, bench: Bench) -> None:
        found = gathered(bench, MAKE, "no/such", "out/*.none", "out/one.txt", "out/empty")
        assert names(found) == ["out/one.txt"]
        assert found.left_out == tuple(
            (f"/workspace/{path}", "nothing is there") for path in ("no/such", "out/*.none", "out/empty")
        )

    def test_what_is_too_much_is_left_out_and_told(self, bench: Bench) -> None:
        script = (
            "mkdir out; cd out; head -c 600 /dev/zero > a; head -c 600 /dev/zero > b; echo c > c; echo d > d"
        )
        found = gathered(bench, script, "out", max_bytes=700, max_files=2)
        assert names(found) == ["out/a", "out/c"]
        assert found.left_out == (
            ("/workspace/out/b", "600 bytes are more than there is room for"),
            ("/workspace/out/d", "more files than are kept"),
        )
        many = gathered(bench, "mkdir out; cd out; for i in $(seq 300); do : > $i; done", "out", max_files=10)
        assert (len(many.files), len(many.left_out) + many.more) == (10, 290)

    def test_odd_names_are_kept_or_told(self, bench: Bench) -> None:
        odd = ["a b", "ü", "-rf", "*", "x" * 200, "日本", "esc\x1b[2J", "new\nline", "\u202etxt"]

        async def use(sandbox: Sandbox) -> Gathered:
            await sandbox.put_tar(tar_of({f"workspace/out/{name}": name for name in odd}))
            await text_of(sandbox, 'python3 -c \'open(b"out/\\xff", "w")\'')
            return await sandbox.gather(("/workspace/out",))

        found = bench.trial(use, SPEC)
        assert sorted(names(found)) == sorted(f"out/{name}" for name in odd[:6])
        assert sorted(path.removeprefix("/workspace/out/") for path, _ in found.left_out) == [
            *("?", "?txt", "esc?[2J", "new?line")
        ]
        assert {why for _, why in found.left_out} == {"its name cannot be shown"}
