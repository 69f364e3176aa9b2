"""A real PostgreSQL, and a real MariaDB, on temporary ports."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import subprocess
import time
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
        _wait_until_ready(data / "postmaster.pid", log)
        yield port
    finally:
        server.terminate()
        server.wait(30)
        subprocess.run(["rm", "-rf", str(data)], check=False)


def _wait_until_ready(status: Path, log: Path, deadline_s: float = 120.0) -> None:
    """PostgreSQL listens before it lets anybody in; the last line of postmaster.pid says when it does."""
    began = time.monotonic()
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        assert time.monotonic() - began < deadline_s, log.read_text(errors="replace")
        time.sleep(0.05)


def mariadb_programs() -> tuple[str, Path] | None:
    """Path of the server, and of the folder with what a new database is made from; None where it is not installed."""
    server = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec")
    if server is None:
        return None
    shared = Path(server).resolve().parents[1] / "share"
    found = [
        path for path in (shared / "mysql", shared / "mariadb") if (path / "mysql_system_tables.sql").exists()
    ]
    return (server, found[0]) if found else None


@contextlib.contextmanager
def mariadb_server(programs: tuple[str, Path], folder: Path, net: World) -> Iterator[int]:
    """Its port, once it accepts connections; user `app` may do everything with the password `pw`."""
    server, shared = programs
    port = net.free_port()
    user, uid, gid = _as_user()
    data = Path("/tmp") / f"my-{os.getpid()}-{port}"
    data.mkdir(mode=0o700)
    os.chown(data, uid, gid)
    common = [
        server,
        "--no-defaults",
        f"--datadir={data}",
        f"--lc-messages-dir={shared}",
        "--innodb-log-file-size=4M",
    ]
    scripts = [shared / name for name in ("mysql_system_tables.sql", "mysql_system_tables_data.sql")]
    setup = "create database mysql;\nuse mysql;\n" + "".join(path.read_text() for path in scripts)
    subprocess.run(
        [*common, "--bootstrap", "--skip-networking", f"--plugin-dir={data}"],
        input=setup.encode(), check=True, capture_output=True, cwd="/tmp", **user,  # type: ignore[call-overload]
    )  # fmt: skip
    first = data / "first.sql"
    first.write_text(
        "create user app@'%' identified by 'pw';\ngrant all on *.* to app@'%' with grant option;\n"
    )
    os.chown(first, uid, gid)
    log = folder / "mariadb.log"
    listen = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={data}/s", f"--pid-file={data}/pid"]
    with log.open("wb") as out:
        running = subprocess.Popen(
            [*_with_us(), *common, *listen, "--skip-name-resolve", f"--init-file={first}", f"--plugin-dir={data}"],
            stdout=out, stderr=out, cwd="/tmp", **user,  # type: ignore[call-overload]
        )  # fmt: skip
    try:
        net.wait_for_port(port)
        yield port
    finally:
        running.terminate()
        running.wait(60)
        subprocess.run(["rm", "-rf", str(data)], check=False)
