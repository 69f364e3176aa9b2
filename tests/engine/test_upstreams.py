"""Server programs of a suite: they are there, they are told apart from others, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aegis
from aegis.engine import upstreams
from aegis.engine.upstreams import Upstreams
from aegis.errors import HostNeedsError, InfrastructureError
from aegis.suite.model import Upstream

DEADLINE_S = 60.0

SERVER = """\
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ.get(self.path[1:], os.getcwd()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
address = ("127.0.0.1", int(os.environ["PORT"]))
print("serving", *address, flush=True)
http.server.HTTPServer(address, Handler).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "server.py").write_text(SERVER)
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        for pid in map(int, file.read_text().split()):
            assert not alive(pid), f"{file.name}: {pid} is left"


def run(command: str, **fields: Any) -> Upstream:
    fields.setdefault("ready_timeout", DEADLINE_S)
    return Upstream(command=command, **fields)


def server(before: str = "") -> Upstream:
    return run(f"{before}exec {sys.executable} server.py")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_for(condition: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def fetch(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=DEADLINE_S) as response:
        return str(response.read().decode())


async def fails(programs: dict[str, Upstream], folder: Path, **options: Any) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught:
        async with Upstreams(programs, folder, **options):
            pass
    return caught.value


def test_each_answers_at_its_own_port_in_the_projects_folder(folder: Path) -> None:
    async def check() -> None:
        async with Upstreams({"a": server(), "b": server()}, folder) as running:
            assert set(running.urls) == {"a", "b"}
            assert len(set(running.urls.values())) == 2
            for url in running.urls.values():
                assert await asyncio.to_thread(fetch, url) == str(folder)
                assert await asyncio.to_thread(fetch, f"{url}/PORT") == url.rpartition(":")[2]
            assert running.problem() is None
        assert running.problem() is None

    asyncio.run(check())


def test_their_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "host")
    monkeypatch.setenv("FROM_RUN", "host")
    program = run(f"exec {sys.executable} server.py", env={"OWN": "own", "FROM_RUN_TOO": "own", "PORT": "1"})

    async def check() -> None:
        env = {"FROM_RUN": "run", "FROM_RUN_TOO": "run", "PORT": "2"}
        async with Upstreams({"a": program}, folder, env=env) as running:
            names = ("FROM_HOST", "FROM_RUN", "FROM_RUN_TOO", "OWN")
            found = [await asyncio.to_thread(fetch, f"{running.urls['a']}/{name}") for name in names]
            assert found == ["host", "run", "own", "own"]

    asyncio.run(check())


def test_nothing_to_start(folder: Path) -> None:
    async def check() -> None:
        async with Upstreams({}, folder) as running:
            assert running.urls == {}
            assert running.problem() is None

    asyncio.run(check())


def test_one_that_ends_early_is_told_with_its_last_words(folder: Path) -> None:
    error = asyncio.run(fails({"orders": run("echo first; echo no database >&2; exit 3")}, folder))
    assert str(error) == (
        "the upstream orders ended before it was ready (exit code 3); its last output:\n  first\n  no database"
    )
    assert error.fix is not None
    assert f"try it by itself in {folder}: PORT=" in error.fix
    assert not isinstance(error, HostNeedsError)


def test_one_that_is_killed_is_told(folder: Path) -> None:
    assert "(SIGSEGV)" in str(asyncio.run(fails({"a": run("kill -SEGV $$")}, folder)))


def test_one_that_puts_itself_into_the_background_is_told_and_ended(folder: Path) -> None:
    # It waits for its shell to be gone: were it to listen before, it would be up like any other.
    waits = f'while kill -0 "$0" 2> /dev/null; do sleep 0.02; done; exec {sys.executable} server.py'
    command = f"setsid sh -c '{waits}' $$ & echo $! > it.pid"
    error = asyncio.run(fails({"a": run(command)}, folder))
    assert "ended before it was ready (exit code 0)" in str(error)
    assert "foreground" in (error.fix or "")


def test_a_command_that_is_not_installed_is_a_need_of_the_host(folder: Path) -> None:
    error = asyncio.run(fails({"a": run("no-such-server --port $PORT")}, folder))
    assert isinstance(error, HostNeedsError)
    assert str(error).startswith("the command of the upstream a was not found: no-such-server --port $PORT")


def test_a_folder_that_is_gone(folder: Path) -> None:
    error = asyncio.run(fails({"a": run("true")}, folder / "gone"))
    assert "could not be started" in str(error)
    assert "No such file or directory" in str(error)


def test_one_that_never_listens(folder: Path) -> None:
    program = run("echo $$ > it.pid; echo waiting; exec sleep 1000", ready_timeout=0.5)
    error = asyncio.run(fails({"a": program}, folder))
    assert "was not ready in time: nothing listens on 127.0.0.1:" in str(error)
    assert str(error).endswith("its last output:\n  waiting")


def test_one_that_listens_elsewhere_is_told_where(folder: Path) -> None:
    code = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); time.sleep(1000)"
    program = run(f'echo $$ > it.pid; exec {sys.executable} -c "{code}"', ready_timeout=5.0)
    error = asyncio.run(fails({"a": program}, folder))
    assert "it listens on 127.0.0.1:" in str(error)
    assert " and not on 127.0.0.1:" in str(error)


def test_when_one_fails_the_others_are_ended(folder: Path) -> None:
    good = server("echo $$ > good.pid; ")
    never = run("echo $$ > never.pid; exec sleep 1000")
    bad = run("while ! test -s good.pid -a -s never.pid; do sleep 0.05; done; exit 1")
    error = asyncio.run(fails({"good": good, "never": never, "bad": bad}, folder))
    assert "the upstream bad ended" in str(error)
    assert (folder / "good.pid").exists()


def test_output_is_bounded_and_redacted(folder: Path) -> None:
    code = "for i in range(20000): print('line', i)\nprint('the key is s3cret-value')\nraise SystemExit(1)"
    (folder / "noisy.py").write_text(code)

    def redact(text: str) -> str:
        return text.replace("s3cret-value", "[secret:KEY]")

    error = asyncio.run(fails({"a": run(f"{sys.executable} noisy.py")}, folder, redact=redact))
    lines = str(error).splitlines()
    assert lines[-1] == "  the key is [secret:KEY]"
    assert lines[-2] == "  line 19999"
    assert len(str(error)) < 2000


def test_output_that_a_terminal_would_obey(folder: Path) -> None:
    error = asyncio.run(fails({"a": run("printf 'a\\033[2Jb\\377\\n'; exit 1")}, folder))
    assert str(error).endswith("\n  a?[2Jb\ufffd")


def test_one_that_dies_in_the_middle_is_known(folder: Path) -> None:
    async def check() -> None:
        async with Upstreams({"a": server("echo $$ > it.pid; "), "b": server()}, folder) as running:
            assert running.problem() is None
            os.kill(int((folder / "it.pid").read_text()), signal.SIGKILL)
            await asyncio.to_thread(wait_for, running.problem)
            told = running.problem() or ""
            assert told.startswith(
                "the upstream a ended in the middle (SIGKILL); its last output:\n  serving 127."
            )
        assert running.problem() == told

    asyncio.run(check())


def test_a_program_does_not_outlive_its_keeper(folder: Path) -> None:
    async def check() -> None:
        async with Upstreams({"a": server("echo $$ > it.pid; ")}, folder) as running:
            pid = int((folder / "it.pid").read_text())
            keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(keeper, signal.SIGKILL)
            await asyncio.to_thread(wait_for, running.problem)
            assert "(its keeper was killed)" in (running.problem() or "")
            await asyncio.to_thread(wait_for, lambda: not alive(pid))

    asyncio.run(check())


HARD_TO_END = """\
import os, signal, subprocess, sys, time
def note(pid):
    with open("all.pid", "a") as file:
        file.write(f"{pid}\\n")
note(os.getpid())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
# A child in a group of its own, one in a session of its own, and a daemon whose parent is gone.
for options in ({"process_group": 0}, {"start_new_session": True}):
    note(subprocess.Popen(["sleep", "1000"], **options).pid)
if not os.fork():
    os.setsid()
    pid = os.fork()
    if not pid:
        time.sleep(1000)
    note(pid)
    os._exit(0)
os.wait()
"""


def test_leaving_ends_everything_that_was_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "GRACE_S", 0.3)
    (folder / "server.py").write_text(HARD_TO_END + SERVER)

    async def check() -> None:
        async with Upstreams({"a": server()}, folder):
            pids = [int(pid) for pid in (folder / "all.pid").read_text().split()]
            assert len(pids) == 4
            assert all(map(alive, pids))
        assert not any(map(alive, pids))

    asyncio.run(check())


def test_a_program_may_end_properly(folder: Path) -> None:
    handler = (
        "import signal, time\n"
        "def end(*_):\n    time.sleep(0.2); open('ended', 'w').close(); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end)\n"
    )
    (folder / "server.py").write_text(handler + SERVER)

    async def check() -> None:
        async with Upstreams({"a": server()}, folder):
            assert not (folder / "ended").exists()
        assert (folder / "ended").exists()

    asyncio.run(check())


@pytest.mark.parametrize("ready", [True, False])
def test_a_cancelled_run_leaves_nothing(folder: Path, ready: bool) -> None:
    command = (
        f"echo $$ > it.pid; exec {sys.executable} server.py" if ready else "echo $$ > it.pid; exec sleep 1000"
    )

    async def hold() -> None:
        async with Upstreams({"a": run(command)}, folder):
            (folder / "ready").touch()
            await asyncio.sleep(1000)

    async def check() -> None:
        task = asyncio.create_task(hold())
        awaited = folder / ("ready" if ready else "it.pid")
        await asyncio.to_thread(wait_for, lambda: awaited.exists() and (folder / "it.pid").read_text())
        assert alive(int((folder / "it.pid").read_text()))
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()  # impatience doesn't hinder the clean-up
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(int((folder / "it.pid").read_text()))

    asyncio.run(check())


HOLDER = """\
import asyncio, os, sys, time
from pathlib import Path
from aegis.engine.upstreams import Upstreams
from aegis.suite.model import Upstream
async def main():
    async with Upstreams({"a": Upstream(command=sys.argv[1])}, Path.cwd()):
        if "fork" in sys.argv and not os.fork():
            time.sleep(1000)  # holds a copy of whatever the keepers listen to
        print("ready", flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_being_killed_leaves_nothing(folder: Path, how: str) -> None:
    (folder / "server.py").write_text(HARD_TO_END + SERVER)
    env = {**os.environ, "PYTHONPATH": str(Path(aegis.__file__).parents[1])}
    words = [sys.executable, "-c", HOLDER, f"exec {sys.executable} server.py", how]
    with subprocess.Popen(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        pids = [int(pid) for pid in (folder / "all.pid").read_text().split()]
        assert len(pids) == 4
        assert all(map(alive, pids))
        holder.kill()
    try:
        wait_for(lambda: not any(map(alive, pids)))
    finally:
        if how == "fork":
            os.killpg(holder.pid, signal.SIGKILL)


def test_a_lost_port_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with Upstreams({"other": server()}, folder) as other:
            taken = int(other.urls["other"].rpartition(":")[2])
            ports = iter([taken, taken, upstreams._free_port()])
            monkeypatch.setattr(upstreams, "_free_port", lambda: next(ports))
            async with Upstreams({"a": server()}, folder) as running:
                assert running.urls["a"] != other.urls["other"]
                assert await asyncio.to_thread(fetch, running.urls["a"]) == str(folder)

    asyncio.run(check())


def test_a_port_that_is_lost_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with Upstreams({"other": server()}, folder) as other:
            taken = int(other.urls["other"].rpartition(":")[2])
            asked = []
            monkeypatch.setattr(upstreams, "_free_port", lambda: asked.append(1) or taken)
            error = await fails({"a": server()}, folder)
            assert "Address already in use" in str(error)
            assert len(asked) == upstreams.PORT_ATTEMPTS

    asyncio.run(check())


def test_a_port_that_answers_from_elsewhere_is_taken_when_the_program_stays(folder: Path) -> None:
    """As with a container, whose port is served by a daemon that isn't below the program."""
    (folder / "daemon.py").write_text(
        "import os, socket, time\n"
        "while not os.path.exists('port'): time.sleep(0.02)\n"
        "s = socket.create_server(('127.0.0.1', int(open('port').read())))\n"
        "while True: s.accept()[0].close()\n"
    )
    daemon = subprocess.Popen([sys.executable, "daemon.py"], cwd=folder)
    try:

        async def check() -> None:
            command = "echo $PORT > port.new; mv port.new port; exec sleep 1000"
            async with Upstreams({"a": run(command)}, folder) as running:
                assert running.problem() is None

        asyncio.run(check())
    finally:
        daemon.kill()
        daemon.wait()


def test_many_at_once(folder: Path) -> None:
    async def one() -> str:
        async with Upstreams({"a": server()}, folder) as running:
            return await asyncio.to_thread(fetch, f"{running.urls['a']}/PORT")

    async def check() -> None:
        before = len(os.listdir("/proc/self/fd"))
        assert len(set(await asyncio.gather(*(one() for _ in range(12))))) == 12
        assert len(os.listdir("/proc/self/fd")) == before
        assert not upstreams._chosen

    asyncio.run(check())
