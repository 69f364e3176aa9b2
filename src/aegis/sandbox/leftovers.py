"""Looking at what runs in a machine, and undoing single changes in it. Needs nothing in the image but a shell."""

from __future__ import annotations

import posixpath

from aegis.errors import GuestOperationError
from aegis.sandbox.base import WORKSPACE, Change, Sandbox

STEP_TIMEOUT_S = 120.0
LISTING_BYTES = 256 * 1024

# PID, start time and command line of each process, without the shell that asks and what it starts. A folder of the host
# shows all of the host's processes: there only those count whose HOME is the sandbox's own.
_LIST = r"""
for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [ "$pid" != $$ ] || continue
    read -r line 2>/dev/null < $folder/stat || continue
    set -- ${line##*) }
    [ "$2" != $$ ] && [ "$1" != Z ] || continue
    shift 19
    case $ONLY_HOME in
    "") ;;
    *) tr '\0' '\n' 2>/dev/null < $folder/environ | grep -qxF "HOME=$ONLY_HOME" || continue ;;
    esac
    command=$(tr '\0\n' '  ' 2>/dev/null < $folder/cmdline) || continue
    [ -z "$command" ] || [ "$command" = "$OWN" ] || echo "$pid $1 $command"
done
"""
_MACHINE = "ONLY_HOME= OWN=$(tr '\\0\\n' '  ' 2>/dev/null < /proc/1/cmdline)"
_FOLDER = 'ONLY_HOME=$HOME OWN=""'


async def list_processes(sandbox: Sandbox) -> str:
    """A line `PID START COMMAND` for each process that does not belong to the machine itself; "" when the image cannot
    tell. The machine's word: hostile."""
    where = _FOLDER if sandbox.info.driver == "process" else _MACHINE
    script = f'echo "$HOME"; set -f; {where}; set +f\n{_LIST}'
    try:
        done = await sandbox.run(
            ("/bin/sh", "-c", script), timeout_s=STEP_TIMEOUT_S, max_output_bytes=LISTING_BYTES
        )
    except GuestOperationError:
        return ""
    home, _, text = done.stdout.decode("utf-8", "replace").partition("\n")
    if sandbox.info.driver == "process":
        # The folder has another name in each trial; the same program must have the same command line.
        text = text.replace(home, WORKSPACE)
    return text


async def undo(sandbox: Sandbox, change: Change) -> bool:
    """Put back what the change was before it; False when that did not work, or is not known."""
    folder, name = posixpath.split(change.path.rstrip("/"))
    if change.how == "added":
        return await _shell(sandbox, 'rm -rf -- "./$1"', name, cwd=folder)
    if change.kind != "file" or change.before is None:
        return False
    # Written into the file that is there, so that owner and mode stay.
    if not await _shell(sandbox, 'mkdir -p -- "$1"', _relative(folder), cwd=WORKSPACE):
        return False
    return await _shell(sandbox, 'cat > "./$1"', name, cwd=folder, stdin=change.before)


async def end_process(sandbox: Sandbox, pid: int) -> bool:
    """End one process of the sandbox at once."""
    return await _shell(sandbox, 'kill -9 "$1"', str(pid), cwd=WORKSPACE)


def _relative(folder: str) -> str:
    """Relative to the workspace: absolute paths mean the host's where a folder stands for the machine."""
    return posixpath.relpath(folder, WORKSPACE)


async def _shell(sandbox: Sandbox, script: str, argument: str, *, cwd: str, stdin: bytes = b"") -> bool:
    try:
        done = await sandbox.run(
            ("/bin/sh", "-c", script, "sh", argument), cwd=cwd, stdin=stdin, timeout_s=STEP_TIMEOUT_S
        )
    except GuestOperationError:
        return False
    return done.status.ok and not done.timed_out
