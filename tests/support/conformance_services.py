"""What every driver promises about services: up when a trial begins, its own, listened to, and clear when they fail."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from aegis.errors import SandboxStartError
from aegis.sandbox import services
from aegis.sandbox.base import Readiness, Sandbox, ServiceSpec
from aegis.sandbox.services import MAX_LOG_BYTES, Running, held_name
from support.conformance_exec import SPEC
from support.sandbox_bench import Bench, text_of, until

COUNTER = """
import http.server, os, sys
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        if self.path == "/end": os._exit(3)
        if self.path == "/flood":
            for number in range(200000): print(f"line {number}")
        if self.path != "/health": count += 1
        body = str(count).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): print("asked for", self.path, flush=True)
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("counting for", os.environ["WHOM"], "in", os.getcwd(), file=sys.stderr, flush=True)
server.serve_forever()
"""

ASK = (
    "python3 -c 'import os, sys, urllib.request as u; "
    'print(u.build_opener(u.ProxyHandler({})).open("http://127.0.0.1:" + os.environ["COUNTER_PORT"] + sys.argv[1])'
    ".read().decode())' "
)

PORT = 18765
SERVICE = ServiceSpec(
    name="counter",
    command="exec python3 -u serve.py",
    port=PORT,
    ready=Readiness(
        http=f"http://127.0.0.1:{PORT}/health", log="counting for", command='test -n "$COUNTER_PORT"'
    ),
    env={"WHOM": "us"},
    exports={"COUNTER_URL": "http://127.0.0.1:{port}/"},
    files={"serve.py": COUNTER},
)


async def take(sandbox: Sandbox, name: str = "counter") -> Running:
    (spec,) = (spec for spec in sandbox.services if spec.name == name)
    return Running(spec, await sandbox.attach(held_name(name)))


class ServicesConformance:
    def test_each_trial_finds_it_up_and_as_it_was(self, bench: Bench) -> None:
        spec = replace(SPEC, services=(SERVICE,))

        async def use(sandbox: Sandbox) -> None:
            running = await take(sandbox)
            assert await text_of(sandbox, ASK + "/") == "1\n"
            assert await text_of(sandbox, ASK + "/") == "2\n"
            told = (await text_of(sandbox, 'echo "$COUNTER_URL $COUNTER_PORT"')).split()
            assert told == [f"http://127.0.0.1:{told[1]}/", told[1]]

            async def logged() -> bool:
                return running.log.lines()[-2:] == ["asked for /", "asked for /"]

            await until(logged, "its log")
            assert running.status is None
            await running.close()

        bench.trial(use, spec)
        bench.trial(use, spec)

    def test_one_that_ends_in_a_trial_shows_how(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            running = await take(sandbox)
            await sandbox.run(("/bin/sh", "-c", ASK + "/end"))

            async def ended() -> bool:
                return running.status is not None

            await until(ended, "its end")
            assert running.status is not None
            assert running.status.code == 3
            await running.close()

        bench.trial(use, replace(SPEC, services=(SERVICE,)))

    def test_a_flood_is_cut_and_nobody_waits_for_it(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            running = await take(sandbox)
            assert await text_of(sandbox, ASK + "/flood") == "1\n"

            async def logged() -> bool:
                return "line 199999" in running.log.lines()

            await until(logged, "the end of the flood")
            assert sum(len(line) + 1 for line in running.log.lines()) <= MAX_LOG_BYTES
            assert running.log.dropped > 100_000
            await running.close()

        bench.trial(use, replace(SPEC, services=(SERVICE,)))

    def test_one_of_the_trial_is_started_in_it(self, bench: Bench) -> None:
        async def use(sandbox: Sandbox) -> None:
            (spec,) = sandbox.services
            await sandbox.put_tar(services.folders_tar(sandbox.services))
            running = await services.start(sandbox, spec, {"SECRET": "placeholder"})
            assert await text_of(sandbox, ASK + "/") == "1\n"
            assert re.search(r"counting for us in \S*/srv/counter$", "\n".join(running.log.lines()), re.M)
            with pytest.raises(SandboxStartError, match=rf"cannot have port {spec.port}: something listens"):
                await services.start(sandbox, spec, {})
            await running.close()

        bench.trial(use, replace(SPEC, services=(replace(SERVICE, in_template=False),)))

    def test_init_runs_once_when_it_is_up(self, bench: Bench) -> None:
        init = (f"{ASK}/ > first", f"{ASK}/ > second")

        async def use(sandbox: Sandbox) -> None:
            assert await text_of(sandbox, "cat first second") == "1\n2\n"
            assert await text_of(sandbox, ASK + "/") == "3\n"

        bench.trial(use, replace(SPEC, services=(replace(SERVICE, init=init),)))

    @pytest.mark.parametrize(
        ("service", "told"),
        [
            (
                replace(SERVICE, command="echo no such thing >&2; exit 7"),
                r"service 'counter' ended with exit code 7 before it was ready: echo.*\n    no such thing$",
            ),
            (
                replace(SERVICE, command="echo starting; sleep 600", ready_timeout_s=1.0),
                r"service 'counter' was not ready within 1 s: no line .* matches 'counting for'\n    starting$",
            ),
            (
                replace(SERVICE, command="sleep 600", ready=Readiness(command="false"), ready_timeout_s=1.0),
                r"was not ready within 1 s: the command 'false' fails$",
            ),
            (
                replace(SERVICE, command="sleep 600", ready=Readiness(), ready_timeout_s=1.0),
                r"was not ready within 1 s: nothing listens on port \d+$",
            ),
            (
                replace(SERVICE, init=("echo half; echo not so >&2; exit 4",)),
                r"`init` failed \(exit code 4\): echo.*\n    half\n    not so$",
            ),
        ],
        ids=["ends", "no-line", "no-command", "no-port", "init"],
    )
    def test_what_goes_wrong_is_told_with_its_last_lines(
        self, bench: Bench, service: ServiceSpec, told: str
    ) -> None:
        async def body() -> None:
            async with bench.sandbox(replace(SPEC, services=(service,))):
                pass

        with pytest.raises(SandboxStartError, match=told) as caught:
            bench.run(body)
        assert caught.value.fix is not None
        assert "sandbox.services" in caught.value.fix

    def test_two_trials_at_once_have_one_each(self, bench: Bench) -> None:
        spec = replace(SPEC, services=(SERVICE,))

        async def body() -> None:
            async with bench.sandbox(spec) as one, bench.sandbox(spec) as other:
                asked = await asyncio.gather(text_of(one, ASK + "/"), text_of(other, ASK + "/"))
                assert asked == ["1\n", "1\n"]

        bench.run(body)
