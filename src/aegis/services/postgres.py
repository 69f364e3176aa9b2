"""PostgreSQL, with a cluster made once in the image and settings for a database that lives for one trial."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from aegis.sandbox.base import ImageLayer, Readiness, ServiceSpec
from aegis.services.base import PACKAGES, Made, Param, matches, settings

PORT = 5432

# Nothing survives the trial, so nothing has to reach a disk; and an idle server stays idle.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "jit": "off",
    "autovacuum_naptime": "1h",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
}

# `$as` runs a command as somebody whom the server accepts: it refuses to run as root. Debian keeps its programs in a
# folder of the release.
_PROGRAMS = """
for folder in /usr/lib/postgresql/*/bin; do PATH="$folder:$PATH"; done
if ! command -v postgres > /dev/null; then
    echo "there is no postgres here: install Debian's package postgresql, or use --isolation=vm" >&2
    exit 127
fi
as=
if [ "$(id -u)" = 0 ]; then
    owner=postgres
    id "$owner" > /dev/null 2>&1 || owner=nobody
    as="setpriv --reuid=$owner --regid=$(id -g "$owner") --clear-groups"
fi
"""

_CLUSTER = """
mkdir data
[ -z "$as" ] || chown "$owner" data
chmod 700 data
$as initdb -D "$PWD/data" --username=@USER@ --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync \\
    --no-instructions --wal-segsize=1 > initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
printf '%s\\n' @CREATE@ | $as postgres --single -D "$PWD/data" postgres > initdb.log 2>&1 \\
    || { cat initdb.log >&2; exit 1; }
rm -f initdb.log
"""

# Debian makes a cluster of its own when the package is installed, and compiles queries with a library of 100 MB.
_TRIM = """
rm -rf /var/lib/postgresql/*/main /etc/postgresql/*/main /var/log/postgresql/*
rm -f /usr/lib/postgresql/*/lib/llvmjit.so /usr/lib/x86_64-linux-gnu/libLLVM-*.so*
"""


class Postgres:
    """One database server of the image's own Debian release; every local connection is trusted."""

    name = "postgres"
    description = "PostgreSQL on port 5432 with an empty database"
    params: Mapping[str, Param] = {
        "database": Param(
            "a name such as app", matches(r"[a-z_][a-z0-9_]{0,62}"), "name of the database (app)"
        ),
        "user": Param(
            "a name such as app", matches(r"[a-z_][a-z0-9_]{0,62}"), "its superuser, any password (postgres)"
        ),
        "settings": Param(
            "a mapping of settings", settings, "settings of the server, such as {max_connections: 200}"
        ),
        "packages": PACKAGES,
    }

    def make(self, name: str, port: int | None, params: Mapping[str, Any]) -> Made:
        user, database = params.get("user", "postgres"), params.get("database", "app")
        create = [] if database == "postgres" else [f"CREATE DATABASE {database};"]
        cluster = _CLUSTER.replace("@USER@", user).replace("@CREATE@", shlex.join(create) or "''")
        chosen = {**SETTINGS, **{key: _text(value) for key, value in params.get("settings", {}).items()}}
        options = " ".join(f"-c {key}={shlex.quote(value)}" for key, value in chosen.items())
        serve = f'exec $as postgres -D "$PWD/data" -p "$PORT" {options}\n'
        spec = ServiceSpec(
            name=name,
            kind=self.name,
            command=f"set -eu{_PROGRAMS}{serve}",
            prepare=f"set -eu{_PROGRAMS}{cluster}",
            port=port or PORT,
            ready=Readiness(log="database system is ready to accept connections", tcp=port or PORT),
            ready_timeout_s=180.0,
            exports={
                "PGHOST": "127.0.0.1",
                "PGPORT": "{port}",
                "PGUSER": user,
                "PGDATABASE": database,
                "DATABASE_URL": f"postgresql://{user}@127.0.0.1:{{port}}/{database}",
            },
        )
        prepare = f"mkdir -p {spec.folder}\ncd {spec.folder}\n{spec.prepare}"
        packages = ("postgresql", *params.get("packages", ()))
        return Made(spec, ImageLayer(self.name, packages, (_TRIM, prepare)))


def _text(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
