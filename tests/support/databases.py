"""A real PostgreSQL on a temporary port."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.gateway_server import World


def postgres_programs() -> tuple[str, str] | None:
    """Paths of `postgres` and `initdb`; Debian keeps them out of the search path. None where they are not installed."""
    places = [os.environ.get("PATH", ""), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    for place in places:
        postgres, initdb = shutil.which("postgres", path=place), shutil.which("initdb", path=place)
        if postgres and initdb:
            return postgres, initdb
    return None


def _as_user() -> tuple[dict[str, int], int, int]:
    """PostgreSQL refuses to run as root: then it runs as nobody."""
    if os.geteuid() != 0:
        return {}, os.getuid(), os.getgid()
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}, nobody.pw_uid, nobody.pw_gid


def _with_us() -> list[str]:
    """So that a server ends with a test run that is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []


@contextlib.contextmanager
def postgres_server(programs: tuple[str, str], folder: Path, net: World) -> Iterator[int]:
    """Its port, once it accepts connections; user `app` needs no password."""
    postgres, initdb = programs
    port = net.free_port()
    user, uid, gid = _as_user()
    data = Path("/tmp") / f"pg-{os.getpid()}-{port}"
    data.mkdir(mode=0o700)
    os.chown(data, uid, gid)
    log = folder / "postgres.log"
    subprocess.run(
        [initdb, "-D", str(data), "-U", "app", "--auth=trust", "--no-sync"],
        check=True, capture_output=True, cwd="/tmp", **user,  # type: ignore[call-overload]
    )  # fmt: skip
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*_with_us(), postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data), "-F"],
            stdout=out, stderr=out, cwd="/tmp", **user,  # type: ignore[call-overload]
        )  # fmt: skip
    try:
        net.wait_for_port(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)
        subprocess.run(["rm", "-rf", str(data)], check=False)
