"""Linux namespaces: being root of a private view of the host, with or without being root of the host."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from aegis.errors import HostNeedsError

from .tools import require_tools

NAMESPACE = ("unshare", "--user", "--map-root-user", "--map-auto")
"""Makes this user root of a namespace that has a range of ids."""

PRIVATE = ("--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
"""Mounts and processes of its own, which end when the first process does."""


def isolated(purpose: str) -> list[str]:
    """The command prefix under which a program is root with its own mounts and processes.

    Raises `HostNeedsError` where this user may not have that.
    """
    require_tools("setpriv", "unshare", purpose=purpose)
    if os.geteuid() == 0:
        return ["unshare", *PRIVATE]
    require_subordinate_ids(purpose)
    return [*NAMESPACE, *PRIVATE]


def require_subordinate_ids(purpose: str) -> None:
    """Raise `HostNeedsError` unless this user may make user namespaces with a range of ids."""
    require_tools("unshare", "newuidmap", purpose=f"{purpose} without root")
    user = getpass.getuser()
    for name in ("/etc/subuid", "/etc/subgid"):
        if not has_subordinate_ids(Path(name), user):
            raise HostNeedsError(
                f"{purpose} without root needs subordinate ids; {user} has none in {name}",
                fix=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    trial = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    if trial.returncode != 0:
        raise HostNeedsError(
            f"{purpose} without root needs user namespaces: {trial.stderr.decode('utf-8', 'replace').strip()}",
            fix="sudo sysctl kernel.unprivileged_userns_clone=1, or run it as root",
        )


def has_subordinate_ids(table: Path, user: str) -> bool:
    """Whether `/etc/subuid` or its like gives the user a range."""
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (user, str(os.getuid())) for line in lines)
