"""Keeps one program of the project from outliving us. A program of its own: `keeper.py CONTROL GRACE_S COMMAND`.

Runs the shell command in a new session and adopts whatever it leaves behind. When the other end of the socket CONTROL
is closed, on purpose or because its owner has ended, all of it is ended: SIGTERM, and SIGKILL after the grace. When the
command ends by itself, its exit code (negative for a signal) is written to CONTROL, and the rest is ended at once.
Standard library only, and little of it: it is started anew for each program.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 2.0
REAPING_S = 0.005
GIVE_UP_S = 10.0
"""After this long even SIGKILL has not ended something: it hangs in the kernel or belongs to another user."""


def main() -> None:
    control, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    parent = os.getppid()
    os.set_inheritable(control, False)
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = start(command, prctl)
    while True:
        ended, _ = reap()
        if program in ended:
            tell(control, ended[program])
            return end_all(0.0)
        ready, _, _ = select.select([control, woken], [], [], PARENT_CHECK_S)
        if woken in ready:
            os.read(woken, 4096)
        # Nothing is ever sent to us: what can be read is the end. The second test is for a parent that was forked,
        # which leaves the socket open in its copy.
        if control in ready or os.getppid() != parent:
            return end_all(grace_s)


def start(command: str, prctl: Callable[..., int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execv("/bin/sh", ["sh", "-c", command])
    finally:
        os._exit(127)


def reap() -> tuple[dict[int, int], bool]:
    """Exit codes of the children that have ended, and whether there are any more. Without a child there is no
    descendant either: orphans become our children."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if not pid:
            return ended, True
        ended[pid] = os.waitstatus_to_exitcode(status)


def tell(control: int, status: int) -> None:
    try:
        os.write(control, b"%d" % status)
    except OSError:
        pass  # nobody is there any more to be told


def end_all(grace_s: float) -> None:
    """End all descendants; returns when there are none, or when they can't be ended."""
    if grace_s > 0:
        for pid in descendants(os.getpid()):
            send(pid, signal.SIGTERM)
            send(pid, signal.SIGCONT)  # a stopped program could not react
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < grace_s + GIVE_UP_S:
        _, more = reap()
        if not more:
            return
        if waited >= grace_s:
            for pid in descendants(os.getpid()):
                send(pid, signal.SIGKILL)
        time.sleep(REAPING_S)


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass  # it has ended, or belongs to another user


def descendants(pid: int) -> list[int]:
    """All processes below this one, parents before their children."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The second field, a name in brackets, may hold anything.
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())
    return found


if __name__ == "__main__":
    main()
