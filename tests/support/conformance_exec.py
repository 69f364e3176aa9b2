"""What every driver promises about programs: `Sandbox.exec`, `attach`, `run` and `Process`.

A driver's test module subclasses the classes here and has a module-scoped fixture `bench` (a `Bench`).
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time

import pytest

from aegis.errors import GuestOperationError
from aegis.sandbox.base import MIB, PreparedProcess, Process, Sandbox, TemplateSpec
from support.sandbox_bench import (
    DEADLINE_S,
    Bench,
    alive,
    finish,
    gone,
    read_all,
    read_until,
    sh,
    tar_of,
    text_of,
    until,
)

TALKER = """
import sys
print("ready", sys.argv[1], flush=True)
for line in sys.stdin:
    print("heard", line.strip(), flush=True)
print("bye", file=sys.stderr)
sys.exit(7)
"""

SPEC = TemplateSpec(
    image="debian",
    memory_bytes=256 * MIB,
    files_tar=tar_of({"workspace/talker.py": TALKER, "workspace/given.txt": "given"}),
    setup=("echo first > steps.txt", "echo second >> steps.txt; cat given.txt >> steps.txt"),
    env={"FROM_TEMPLATE": "template", "OVERRIDDEN": "template"},
    prepared=(
        PreparedProcess("talker", ("python3", "talker.py", "one"), env={"ONLY_HERE": "yes"}),
        PreparedProcess("second", ("python3", "talker.py", "two")),
        PreparedProcess("ended", ("sh", "-c", "echo last words; echo complaint >&2; exit 3")),
        PreparedProcess(
            "environment", ("sh", "-c", 'read x; echo "$FROM_TEMPLATE $ONLY_HERE $PWD"'), {"ONLY_HERE": "h"}
        ),
    ),
)
"""The template of all conformance tests: made once for each driver."""


class ExecConformance:
    def test_output_error_and_exit_code_arrive_as_they_are(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "echo out; echo err >&2; exit 42"))
            assert await finish(process) == (b"out\n", b"err\n")
            status = await process.wait()
            assert (status.code, status.signal, status.ok) == (42, None, False)
            assert 0 <= status.duration_s < DEADLINE_S
            assert await process.wait() == status, "may be called repeatedly"

        bench.trial(use, SPEC)

    def test_the_end_by_a_signal_is_told(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            done = await sh(sandbox, "kill -TERM $$")
            assert (done.status.code, done.status.signal) == (None, signal.SIGTERM)

        bench.trial(use, SPEC)

    @pytest.mark.parametrize("code", [0, 1, 126, 255])
    def test_exit_codes(self, bench: Bench, code: int) -> None:
        async def use(sandbox: Sandbox) -> None:
            assert (await sh(sandbox, f"exit {code}")).status.code == code

        bench.trial(use, SPEC)

    def test_a_conversation_streams_both_ways(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("python3", "talker.py", "live"))
            chunks = process.stdout()
            await read_until(chunks, b"ready live\n")
            for word in (b"a", b"b", b"c"):
                await process.write(word + b"\n")
                assert await read_until(chunks, b"\n") == b"heard " + word + b"\n"
            await process.close_stdin()
            await process.close_stdin()
            assert await read_all(chunks) == b""
            assert await read_all(process.stderr()) == b"bye\n"
            assert (await process.wait()).code == 7

        bench.trial(use, SPEC)

    def test_binary_data_comes_back_unchanged(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            data = bytes(range(256)) * 4096
            done = await sandbox.run(("cat",), stdin=data, max_output_bytes=2 * MIB)
            assert done.stdout == data
            assert (done.status.code, done.truncated, done.timed_out) == (0, False, False)

        bench.trial(use, SPEC)

    def test_a_slow_reader_makes_the_program_wait_and_loses_nothing(self, bench: Bench) -> None:
        size = 3 * MIB

        async def use(sandbox: Sandbox) -> None:
            script = (
                "i=0; while [ $i -lt 48 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo x >> progress; done"
            )
            process = await sandbox.exec(("/bin/sh", "-c", script))
            await until(lambda: _written(sandbox), "the first bytes")
            before = await _settled(sandbox)
            assert before < 40, "unread output must stop the program"
            received = 0
            async for chunk in process.stdout():
                received += len(chunk)
                await asyncio.sleep(0.002)
            assert received == size
            assert (await process.wait()).ok

        async def _written(sandbox: Sandbox) -> bool:
            return bool((await sh(sandbox, "cat progress 2>/dev/null")).stdout.strip())

        async def _settled(sandbox: Sandbox) -> int:
            last = -1
            while last != (now := int(await text_of(sandbox, "wc -l < progress"))):
                last = now
                await asyncio.sleep(0.5)
            return now

        bench.trial(use, SPEC)

    def test_both_channels_carry_much_at_once(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = "head -c 1500000 /dev/zero & head -c 1500000 /dev/zero >&2; wait"
            done = await sandbox.run(
                ("/bin/sh", "-c", script), max_output_bytes=2 * MIB, timeout_s=DEADLINE_S
            )
            assert (len(done.stdout), len(done.stderr), done.truncated) == (1_500_000, 1_500_000, False)

        bench.trial(use, SPEC)

    def test_input_that_nobody_reads_is_dropped(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "exec <&-; echo closed; sleep 1000"))
            await read_until(process.stdout(), b"closed\n")
            await process.write(b"x" * MIB)
            await process.kill()
            await process.write(b"y" * MIB)
            await process.close_stdin()
            ended = await sandbox.exec(("true",))
            await ended.wait()
            await ended.write(b"z" * MIB)

        bench.trial(use, SPEC)

    def test_writing_waits_while_the_program_does_not_read(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "read -r go < gate; exec md5sum"))
            await text_of(sandbox, "true")
            data = b"0123456789abcdef" * 65536
            writing = asyncio.ensure_future(process.write(data))
            await asyncio.sleep(0.5)
            assert not writing.done()
            await process.kill()
            await writing

        async def with_gate(sandbox: Sandbox) -> None:
            await text_of(sandbox, "mkfifo gate")
            await use(sandbox)
            process = await sandbox.exec(("/bin/sh", "-c", "read -r go < gate; exec sha256sum"))
            data = b"0123456789abcdef" * 65536
            writing = asyncio.ensure_future(process.write(data))
            await asyncio.sleep(0.2)
            await text_of(sandbox, "echo go > gate")
            await writing
            await process.close_stdin()
            assert (await finish(process))[0].split()[0].decode() == hashlib.sha256(data).hexdigest()

        bench.trial(with_gate, SPEC)

    def test_the_output_ends_when_its_last_holder_closed_it_though_the_program_goes_on(
        self, bench: Bench
    ) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "echo said; exec >&- 2>&-; exec sleep 1000"))
            assert await read_all(process.stdout()) == b"said\n"
            assert await read_all(process.stderr()) == b""
            await process.kill()
            assert (await process.wait()).signal == signal.SIGKILL

        bench.trial(use, SPEC)

    def test_a_program_gets_three_descriptors_and_no_more(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            listing = "import os; print([n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}')])"
            done = await sandbox.run(("python3", "-c", listing))
            assert done.stdout == b"[0, 1, 2]\n"
            done = await sandbox.run(("python3", "-c", listing), stdin=b"x")
            assert done.stdout == b"[0, 1, 2]\n"

        bench.trial(use, SPEC)

    @pytest.mark.parametrize(
        ("argv", "code"),
        [
            (("no-such-program",), "not-found"),
            (("/no/such/program",), "not-found"),
            (("./given.txt",), "not-executable"),
            (("/",), "not-executable"),
            ((), "bad-request"),
            (("echo", "a\0b"), "bad-request"),
            (("echo", "x" * 100_000), "bad-request"),
        ],
        ids=["name", "path", "not-executable", "folder", "empty", "nul", "too-long"],
    )
    def test_what_cannot_be_started_is_refused_and_the_sandbox_stays_usable(
        self, bench: Bench, argv: tuple[str, ...], code: str
    ) -> None:
        async def use(sandbox: Sandbox) -> None:
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.exec(argv)
            assert refused.value.code == code
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.run(argv)
            assert refused.value.code == code
            assert await text_of(sandbox, "echo fine") == "fine\n"

        bench.trial(use, SPEC)

    def test_a_bad_working_directory_or_environment_is_refused(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            for cwd in ("no/such/folder", "given.txt"):
                with pytest.raises(GuestOperationError) as refused:
                    await sandbox.exec(("true",), cwd=cwd)
                assert refused.value.code == "not-found"
            for env in ({"A=B": "x"}, {"A": "x\0y"}, {"": "x"}):
                with pytest.raises(GuestOperationError) as refused:
                    await sandbox.exec(("true",), env=env)
                assert refused.value.code == "bad-request"

        bench.trial(use, SPEC)

    def test_working_directories(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            await text_of(sandbox, "mkdir -p inner/folder; echo here > inner/folder/mark")
            assert await text_of(sandbox, "cat given.txt") == "given"
            for cwd in ("inner/folder", "/workspace/inner/folder"):
                assert (await sandbox.run(("cat", "mark"), cwd=cwd)).stdout == b"here\n"

        bench.trial(use, SPEC)

    def test_the_environment_is_composed_in_order(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = 'echo "$FROM_TEMPLATE $OVERRIDDEN $OWN ${PATH:+path} ${HOME:+home}"'
            done = await sandbox.run(("/bin/sh", "-c", script), env={"OVERRIDDEN": "mine", "OWN": "sp ace é"})
            assert done.stdout.decode() == "template mine sp ace é path home\n"
            assert await text_of(sandbox, 'echo "$OVERRIDDEN $OWN"') == "template \n"

        bench.trial(use, SPEC)

    def test_thirty_programs_at_once(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            async def one(number: int) -> None:
                process = await sandbox.exec(
                    ("/bin/sh", "-c", f"read line; echo $line {number}; exit {number}")
                )
                await process.write(b"hello\n")
                out, _ = await finish(process)
                assert out.decode() == f"hello {number}\n"
                assert (await process.wait()).code == number
                await process.kill()

            await asyncio.gather(*(one(number) for number in range(30)))

        bench.trial(use, SPEC)


class TerminalConformance:
    def test_a_terminal_has_the_asked_size_and_takes_another(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = "trap 'stty size; exit' WINCH; tty; stty size; while :; do sleep 0.1; done"
            process = await sandbox.exec(("/bin/sh", "-c", script), terminal=(31, 97))
            chunks = process.stdout()
            first = await read_until(chunks, b"31 97")
            assert b"/dev/pts/" in first
            await process.resize(40, 120)
            assert b"40 120" in first + await read_until(chunks, b"40 120")
            assert await read_all(process.stderr()) == b""
            assert (await process.wait()).ok

        bench.trial(use, SPEC)

    def test_a_size_that_is_none_does_no_harm(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("cat",), terminal=(10, 10))
            for rows, columns in ((-1, 5), (70_000, 5), (2**70, 1)):
                await process.resize(rows, columns)
            plain = await sandbox.exec(("cat",))
            await plain.resize(5, 5)
            assert await text_of(sandbox, "echo fine") == "fine\n"
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.exec(("cat",), terminal=(-1, 70_000))
            assert refused.value.code == "bad-request"

        bench.trial(use, SPEC)

    def test_typed_characters_echo_and_its_end_of_file_ends_the_program(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "echo $TERM; cat; echo end"), terminal=(24, 80))
            chunks = process.stdout()
            await read_until(chunks, b"xterm-256color\r\n")
            await process.write(b"typed\n")
            assert (await read_until(chunks, b"typed\r\ntyped\r\n")).count(b"typed") == 2
            await process.close_stdin()
            await read_until(chunks, b"end")
            assert (await process.wait()).ok
            assert await text_of(sandbox, "echo fine") == "fine\n"

        bench.trial(use, SPEC)

    def test_the_terminals_interrupt_character_reaches_the_program(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "echo go; exec sleep 1000"), terminal=(24, 80))
            await read_until(process.stdout(), b"go")
            await process.write(b"\x03")
            assert (await process.wait()).signal == signal.SIGINT

        bench.trial(use, SPEC)


class EndingConformance:
    def test_a_signal_reaches_the_whole_group(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = "sleep 1000 & echo $!; wait"
            process = await sandbox.exec(("/bin/sh", "-c", script))
            child = int(await read_until(process.stdout(), b"\n"))
            await process.signal(signal.SIGTERM)
            assert (await process.wait()).signal == signal.SIGTERM
            await gone(sandbox, child)
            await process.signal(signal.SIGTERM)
            assert await text_of(sandbox, "echo fine") == "fine\n"

        bench.trial(use, SPEC)

    @pytest.mark.parametrize("number", [0, -9, 65, 10_000, 2**70])
    def test_a_signal_that_is_none_does_no_harm(self, bench: Bench, number: int) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("cat",))
            await process.signal(number)
            await process.write(b"still here")
            await process.close_stdin()
            assert (await finish(process))[0] == b"still here"

        bench.trial(use, SPEC)

    @pytest.mark.parametrize(
        "script",
        [
            "sleep 1000 & echo $! > pid; sleep 1000",
            "setsid sleep 1000 & echo $! > pid; sleep 1000",
            "(setsid sh -c 'echo $$ > pid; exec sleep 1000' &) ; sleep 1000",
            "trap '' TERM HUP INT; echo $$ > pid; while :; do sleep 1; done",
            "nohup setsid sh -c 'echo $$ > pid; while :; do sleep 1; done' >/dev/null 2>&1 < /dev/null & exit 0",
        ],
        ids=["child", "session", "double-fork", "deaf", "daemon-of-an-ended-program"],
    )
    def test_kill_ends_all_that_a_program_started(self, bench: Bench, script: str) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", script))

            async def written() -> bool:
                return bool((await sh(sandbox, "cat pid 2>/dev/null")).stdout.strip())

            await until(written, "the process id")
            pid = int(await text_of(sandbox, "cat pid"))
            assert await alive(sandbox, pid)
            await process.kill()
            await process.kill()
            await gone(sandbox, pid)
            await process.wait()

        bench.trial(use, SPEC)

    def test_kill_of_one_program_leaves_another_alone(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            first = await sandbox.exec(("cat",))
            second = await sandbox.exec(("cat",))
            await first.kill()
            assert (await first.wait()).signal == signal.SIGKILL
            await second.write(b"alive")
            await second.close_stdin()
            assert (await finish(second))[0] == b"alive"

        bench.trial(use, SPEC)

    def test_what_was_written_before_a_kill_can_still_be_read(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.exec(("/bin/sh", "-c", "echo early; echo done > mark; sleep 1000"))

            async def written() -> bool:
                return bool((await sh(sandbox, "cat mark 2>/dev/null")).stdout)

            await until(written, "the mark")
            await process.kill()
            assert await read_all(process.stdout()) == b"early\n"

        bench.trial(use, SPEC)


class AttachConformance:
    def test_a_prepared_program_continues_where_it_was(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.attach("talker")
            chunks = process.stdout()
            assert await read_until(chunks, b"\n") == b"ready one\n", "what it wrote before is not lost"
            await process.write(b"hello\n")
            assert await read_until(chunks, b"\n") == b"heard hello\n"
            await process.close_stdin()
            assert await read_all(chunks) == b""
            assert (await process.wait()).code == 7

        bench.trial(use, SPEC)
        bench.trial(use, SPEC)

    def test_twice_is_not_found_and_harms_nothing(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.attach("second")
            for name in ("second", "nobody"):
                with pytest.raises(GuestOperationError) as refused:
                    await sandbox.attach(name)
                assert refused.value.code == "not-found"
            assert await read_until(process.stdout(), b"\n") == b"ready two\n"
            await process.kill()
            with pytest.raises(GuestOperationError) as refused:
                await sandbox.attach("second")
            assert refused.value.code == "not-found"

        bench.trial(use, SPEC)

    def test_one_that_ended_before_is_told_with_its_last_words(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.attach("ended")
            assert await finish(process) == (b"last words\n", b"complaint\n")
            assert (await process.wait()).code == 3

        bench.trial(use, SPEC)

    def test_its_environment_is_the_templates_and_its_own(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process = await sandbox.attach("environment")
            await process.write(b"\n")
            out, _ = await finish(process)
            assert out.decode().split()[:2] == ["template", "h"]
            assert out.decode().split()[2].endswith("/workspace")

        bench.trial(use, SPEC)

    def test_it_can_be_killed(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            process: Process = await sandbox.attach("talker")
            await process.kill()
            assert (await process.wait()).signal == signal.SIGKILL

        bench.trial(use, SPEC)


class RunConformance:
    def test_output_beyond_the_bound_is_dropped_and_said(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = "echo start; head -c 3000000 /dev/zero; echo more >&2"
            done = await sandbox.run(("/bin/sh", "-c", script), max_output_bytes=1000, timeout_s=DEADLINE_S)
            assert done.status.ok
            assert (len(done.stdout), done.stdout[:6], done.stderr) == (1000, b"start\n", b"more\n")
            assert done.truncated
            exact = await sandbox.run(("printf", "0123456789"), max_output_bytes=10)
            assert (exact.stdout, exact.truncated) == (b"0123456789", False)

        bench.trial(use, SPEC)

    def test_the_deadline_kills_the_program_and_its_children(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            script = "setsid sleep 1000 & echo $! | tee pid; sleep 1000"
            done = await sandbox.run(("/bin/sh", "-c", script), timeout_s=3)
            assert done.timed_out
            assert done.status.signal == signal.SIGKILL
            await gone(sandbox, int(done.stdout))

        bench.trial(use, SPEC)

    def test_the_duration_is_the_programs_own(self, bench: Bench) -> None:
        """Not that of its process, which waits to be used: it once was."""

        async def use(sandbox: Sandbox) -> None:
            for _ in range(2):
                await asyncio.sleep(2)
                begun = time.monotonic()
                done = await sandbox.run(("sleep", "0.2"), timeout_s=DEADLINE_S)
                assert 0.15 < done.status.duration_s < time.monotonic() - begun + 0.5

        bench.trial(use, SPEC)

    def test_what_outlives_the_program_is_killed(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            done = await sh(sandbox, "sleep 1000 & echo $!")
            assert done.status.ok
            assert not done.timed_out
            await gone(sandbox, int(done.stdout))

        bench.trial(use, SPEC)

    def test_without_input_the_program_reads_an_empty_one(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            assert (await sandbox.run(("cat",))).stdout == b""

        bench.trial(use, SPEC)

    def test_cancelling_leaves_no_program(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            running = asyncio.ensure_future(sh(sandbox, "echo $$ > pid; exec sleep 1000"))

            async def written() -> bool:
                return bool((await sh(sandbox, "cat pid 2>/dev/null")).stdout.strip())

            await until(written, "the process id")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await gone(sandbox, int(await text_of(sandbox, "cat pid")))

        bench.trial(use, SPEC)

    def test_cancelling_while_programs_are_being_started_leaves_none(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            command = ("/bin/sh", "-c", "echo $$ >> pids; exec sleep 1000")
            for delay_s in (0.0, 0.001, 0.003, 0.01, 0.02, 0.05):
                starting = [asyncio.ensure_future(sandbox.exec(command)) for _ in range(5)]
                await asyncio.sleep(delay_s)
                for each in starting:
                    each.cancel()
                begun = await asyncio.gather(*starting, return_exceptions=True)
                for each in begun:
                    if not isinstance(each, BaseException):
                        await each.kill()

            async def none_left() -> bool:
                script = "for p in $(cat pids 2>/dev/null); do kill -0 $p 2>/dev/null && exit 1; done; exit 0"
                return (await sh(sandbox, script)).status.ok

            await until(none_left, "the end of the cancelled programs")
            # One that was started late would show now.
            await asyncio.sleep(1)
            assert await none_left()

        bench.trial(use, SPEC)
