"""What every driver promises about the life of a sandbox: start, stop, independence, and nothing left behind."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.errors import GuestOperationError, SandboxLostError, SandboxStartError
from aegis.sandbox.base import PreparedProcess, Sandbox
from support.conformance_exec import SPEC
from support.host_state import host_state, nothing_left
from support.sandbox_bench import DEADLINE_S, Bench, read_until, sh, tar_of, text_of


class LifeConformance:
    def test_what_a_sandbox_says_of_itself(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            info = sandbox.info
            assert info.id
            assert info.driver == bench.driver.info.driver
            assert 0 < info.start_ms < DEADLINE_S * 1000
            assert bench.driver.slots(SPEC) >= 1

        bench.trial(use, SPEC)

    def test_sandboxes_are_independent_of_each_other(self, bench: Bench) -> None:
        async def body() -> None:
            async with bench.sandbox(SPEC) as one, bench.sandbox(SPEC) as two:
                assert one.info.id != two.info.id
                await asyncio.gather(text_of(one, "echo one > mine"), text_of(two, "echo two > mine"))
                assert await text_of(one, "cat mine") == "one\n"
                await text_of(one, "rm given.txt")
                assert await two.get_file("given.txt") == b"given"
                first, second = await asyncio.gather(one.attach("talker"), two.attach("talker"))
                await first.write(b"x\n")
                await read_until(first.stdout(), b"heard x\n")
                await one.stop()
                await second.write(b"y\n")
                await read_until(second.stdout(), b"heard y\n")
                assert await text_of(two, "cat mine") == "two\n"
            async with bench.sandbox(SPEC) as three:
                assert not (await sh(three, "cat mine")).status.ok

        bench.run(body)

    def test_stop_may_be_called_twice_and_everything_after_it_is_lost(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        async def body() -> None:
            sandbox = await bench.driver.start(await bench.template(SPEC))
            process = await sandbox.exec(("cat",))
            await asyncio.gather(sandbox.stop(), sandbox.stop())
            await sandbox.stop()
            for call in (
                lambda: sandbox.exec(("true",)),
                lambda: sandbox.run(("true",)),
                lambda: sandbox.attach("talker"),
                lambda: sandbox.put_tar(tar_of({"x": "y"})),
                lambda: sandbox.get_file("given.txt"),
                lambda: sandbox.get_tree(".", tmp_path / "dest"),
                lambda: process.write(b"x"),
                process.wait,
                process.kill,
            ):
                with pytest.raises(SandboxLostError):
                    await call()
            with pytest.raises(SandboxLostError):
                async for _ in process.stdout():
                    pass
            assert not (tmp_path / "dest").exists()

        bench.run(body)

    def test_stop_ends_every_call_that_waits(self, bench: Bench) -> None:
        async def body() -> None:
            sandbox = await bench.driver.start(await bench.template(SPEC))
            process = await sandbox.exec(("sleep", "1000"))

            async def read() -> None:
                async for _ in process.stdout():
                    pass

            waiting = [
                asyncio.ensure_future(process.wait()),
                asyncio.ensure_future(read()),
                asyncio.ensure_future(process.write(b"x" * 1_000_000)),
                asyncio.ensure_future(sandbox.run(("sleep", "1000"), timeout_s=1000)),
            ]
            await asyncio.sleep(0.3)
            await sandbox.stop()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(each) for each in ended] == [SandboxLostError] * 4

        bench.run(body)

    def test_stop_leaves_nothing_on_the_host(self, bench: Bench) -> None:
        async def body() -> None:
            await bench.template(SPEC)
            before = host_state()
            for _ in range(3):
                async with bench.sandbox(SPEC) as sandbox:
                    await sandbox.exec(
                        ("/bin/sh", "-c", "setsid sleep 1000 & env -i setsid sleep 1000 & sleep 1000")
                    )
            await nothing_left(before)

        bench.run(body)

    def test_a_cancelled_stop_still_destroys(self, bench: Bench) -> None:
        async def body() -> None:
            await bench.template(SPEC)
            before = host_state()
            for delay_s in (0.0, 0.001, 0.01):
                sandbox = await bench.driver.start(await bench.template(SPEC))
                stopping = asyncio.ensure_future(sandbox.stop())
                await asyncio.sleep(delay_s)
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
                await sandbox.stop()
            await nothing_left(before)

        bench.run(body)

    def test_a_cancelled_start_leaves_nothing(self, bench: Bench) -> None:
        async def body() -> None:
            template = await bench.template(SPEC)
            begun = time.monotonic()
            await (await bench.driver.start(template)).stop()
            usual_s = time.monotonic() - begun
            before = host_state()
            for share in (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
                starting = asyncio.ensure_future(bench.driver.start(template))
                await asyncio.sleep(usual_s * share)
                starting.cancel()
                for ended in await asyncio.gather(starting, return_exceptions=True):
                    if not isinstance(ended, BaseException):
                        await ended.stop()
                    else:
                        assert isinstance(ended, asyncio.CancelledError)
            await nothing_left(before)

        bench.run(body)

    def test_expecting_more_is_never_required_and_never_harms(self, bench: Bench) -> None:
        async def body() -> None:
            template = await bench.template(SPEC)
            before = host_state()
            for remaining in (2, 0, 3, 1, 0):
                bench.driver.expect(template, remaining)
            async with bench.sandbox(SPEC) as sandbox:
                assert await sandbox.get_file("given.txt") == b"given"
            bench.driver.expect(template, 0)
            await nothing_left(before)

        bench.run(body)


class TemplateConformance:
    def test_equal_specs_have_equal_keys_and_are_made_once(self, bench: Bench) -> None:
        async def body() -> None:
            spec = replace(SPEC, setup=(*SPEC.setup, "echo made-once"))
            made = await asyncio.gather(*(bench.template(spec) for _ in range(3)))
            assert len({each.key for each in made}) == 1
            again = await bench.template(replace(spec))
            assert (again.key, again.cached) == (made[0].key, True)

        bench.run(body, deadline_s=2 * DEADLINE_S)

    def test_every_part_of_the_spec_shapes_the_key(self, bench: Bench) -> None:
        async def body() -> None:
            from aegis.sandbox.setup import template_key

            others = [
                replace(SPEC, memory_bytes=SPEC.memory_bytes * 2),
                replace(SPEC, cpus=2),
                replace(SPEC, files_tar=b""),
                replace(SPEC, setup=()),
                replace(SPEC, env={}),
                replace(SPEC, prepared=SPEC.prepared[:1]),
                replace(SPEC, prepared=(replace(SPEC.prepared[0], says_ready=True), *SPEC.prepared[1:])),
                replace(SPEC, image="other.toml"),
            ]
            assert len({template_key(spec, "x") for spec in (SPEC, *others)}) == len(others) + 1

        bench.run(body)

    @pytest.mark.parametrize(
        ("setup", "words"),
        [
            (
                ("true", "echo a; echo 'no such thing' >&2; exit 9"),
                ("step 2", "exit code 9", "no such thing"),
            ),
            (("seq 100; false",), ("step 1", "exit code 1", "\n    100")),
            (("kill -KILL $$",), ("step 1", "killed by signal 9")),
        ],
    )
    def test_a_failing_step_says_which_and_why_and_leaves_nothing(
        self, bench: Bench, setup: tuple[str, ...], words: tuple[str, ...]
    ) -> None:
        async def body() -> None:
            await bench.template(SPEC)
            before = host_state()
            with pytest.raises(SandboxStartError) as failed:
                await bench.driver.start(await bench.template(replace(SPEC, setup=setup)))
            for word in words:
                assert word in str(failed.value)
            assert failed.value.fix
            await nothing_left(before)

        bench.run(body)

    def test_a_step_that_takes_too_long_fails(self, bench: Bench) -> None:
        async def body() -> None:
            spec = replace(SPEC, setup=("echo begun; sleep 1000",), setup_timeout_s=2)
            with pytest.raises(SandboxStartError, match=r"(?s)step 1 took longer than 2 s.*begun"):
                await bench.driver.start(await bench.template(spec))

        bench.run(body)

    def test_a_program_that_cannot_be_prepared_fails_with_its_name(self, bench: Bench) -> None:
        async def body() -> None:
            spec = replace(SPEC, prepared=(PreparedProcess("x", ("no-such-program",)),))
            with pytest.raises(SandboxStartError, match="no-such-program"):
                await bench.driver.start(await bench.template(spec))

        bench.run(body)

    def test_a_prepared_program_that_says_that_it_is_ready_is_so_in_every_sandbox(self, bench: Bench) -> None:
        slow = "import time; time.sleep(1); print('warm', flush=True); print(input(), flush=True)"
        spec = replace(
            SPEC,
            setup=(),
            prepared=(PreparedProcess("slow", ("python3", "-c", slow), says_ready=True),),
        )

        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.attach("slow")
            chunks = process.stdout()
            await process.write(b"hello\n")
            assert await read_until(chunks, b"hello\n") == b"warm\nhello\n"
            assert (await process.wait()).ok
            with pytest.raises(GuestOperationError):
                await sandbox.attach("slow")

        bench.trial(use, spec)
        bench.trial(use, spec)
