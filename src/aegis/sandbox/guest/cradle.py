"""The parent of everything that a workload runs.

In a machine it is process 1 of the workload's own process, mount and IPC namespaces, so that nothing the workload does
to the processes it can see reaches the server; ending it ends them all. On a plain host it is a child subreaper.

It makes spares: children that have their session and group already, and wait on a socket for the program that they
will become. Forking and joining a group are slow under software emulation; this way they lie before the request. The
server gets the spare's socket and sends the request there: one datagram of JSON, file descriptors attached. The socket
closes when the program has begun; whatever comes out of it before is the refusal (or a terminal's master).
"""

from __future__ import annotations

import array
import errno
import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import struct
import termios
import time
from typing import Any

from . import confine, dial, work

MAX_MESSAGE = 192 * 1024
ERROR_CODES = {
    errno.ENOENT: "not-found",
    errno.ENOTDIR: "not-found",
    errno.EACCES: "not-executable",
    errno.EPERM: "not-executable",
    errno.ENOEXEC: "not-executable",
    errno.EISDIR: "not-executable",
    errno.E2BIG: "bad-request",
    errno.ENOMEM: "no-space",
}


def send(sock: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """One message, with file descriptors attached."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its file descriptors; None when the other side has ended."""
    try:
        data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        return None
    return json.loads(data), list(fds)


class Cradle:
    """Makes spares, reports the ends of what they became, and ends groups, until the server goes away."""

    def __init__(self, sock: socket.socket, place: confine.Place) -> None:
        self._sock = sock
        self._place = place
        self._running: dict[int, int] = {}  # pid → group
        self._leaving: list[int] = []
        self._last_group = 0
        # Held open: the workload may unmount them.
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._command = self._command_line("self")

    def serve(self) -> None:
        """Until the server is gone, which may show while it is being answered; then everything ends."""
        try:
            self._serve()
        except ConnectionError:
            pass
        self._place.end_all()

    def _serve(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workload may send it to process 1
        selector = selectors.DefaultSelector()
        selector.register(self._sock, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(0.005 if self._leaving else None):
                if key.fileobj is self._sock:
                    message = receive(self._sock)
                    if message is None:
                        return
                    self._handle(message[0])
                else:
                    os.read(wake_read, 4096)
            self._reap()
            for group in [each for each in self._leaving if self._is_gone(each)]:
                self._leaving.remove(group)
                send(self._sock, {"did": "gone", "group": group})

    def _handle(self, message: dict[str, Any]) -> None:
        if message["do"] == "spare":
            self._make_spare()
        elif message["do"] == "forget":
            self._kill(message["group"])
            self._leaving.append(message["group"])
        elif message["do"] == "signal":
            for pid, group in self._running.items():
                if group == message["group"]:
                    signal_group(pid, message["number"])
        elif message["do"] == "rest":
            gc.collect()
            gc.freeze()
            send(self._sock, {"did": "rested", "id": message["id"]})

    def _kill(self, group: int) -> None:
        """The program itself too: on a plain host nothing marks it as one of its group until it has begun."""
        for pid, its_group in self._running.items():
            if its_group == group:
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
        self._place.kill_group(group)

    def _is_gone(self, group: int) -> bool:
        running = group in self._running.values()
        return not running and self._place.group_gone(group)

    def _make_spare(self) -> None:
        self._last_group += 1
        group = self._last_group
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._place.make_group(group)
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._place.group_gone(group)
            send(self._sock, {"did": "failed", "message": f"cannot start a program: {error.strerror}"})
            return
        if pid == 0:
            ours.close()
            self._sock.close()
            Spare(theirs, self._place, group, self._null, self._proc).wait()
        theirs.close()
        self._running[pid] = group
        send(self._sock, {"did": "spare", "group": group}, [ours.fileno()])
        ours.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._wake_spare(pid)
                continue
            if pid not in self._running:
                continue  # an orphan that was handed to us
            group = self._running.pop(pid)
            message: dict[str, Any] = {"did": "exited", "group": group, "ended": time.monotonic()}
            if os.WIFSIGNALED(status):
                message["signal"] = os.WTERMSIG(status)
            else:
                message["code"] = os.WEXITSTATUS(status)
            message["alone"] = self._place.group_empty(group)
            send(self._sock, message)

    def _wake_spare(self, pid: int) -> None:
        """A spare that the workload has stopped would never become a program; a program may be stopped."""
        if pid in self._running and self._command_line(str(pid)) == self._command:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def _command_line(self, pid: str) -> bytes:
        try:
            fd = os.open(f"{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except FileNotFoundError:  # it has just ended
            return b""
        try:
            return os.read(fd, 4096)
        except ProcessLookupError:
            return b""
        finally:
            os.close(fd)


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (OSError, OverflowError):  # it has ended, or there is no such signal
        pass


class Spare:
    """Runs in the child only."""

    def __init__(self, sock: socket.socket, place: confine.Place, group: int, null: int, proc: int) -> None:
        self._sock = sock
        self._place = place
        self._group = group
        self._null = null
        self._proc = proc

    def wait(self) -> None:
        """Wait for the request and become it. Never returns."""
        try:
            try:
                self._prepare()
            except OSError as error:
                received = receive(self._sock)
                self._refuse("failed", f"cannot start a program: {error.strerror}")
            else:
                received = receive(self._sock)
                if received is not None:
                    self._become(*received)
        finally:
            os._exit(127)

    def _prepare(self) -> None:
        os.setsid()
        self._place.join_group(self._group)
        self._place.prepare_child()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    def _refuse(self, code: str, text: str) -> None:
        send(self._sock, {"code": code, "message": text[:2000]})

    def _become(self, message: dict[str, Any], fds: list[int]) -> None:
        try:
            self._take_stdio(message, fds)
            if message["op"] == "dial":
                connection = dial.connect(message["port"], message["wait"])
                self._sock.close()
                os.closerange(3, connection.fileno())
                os.closerange(connection.fileno() + 1, 256)
                os._exit(dial.carry(connection))
            if message["op"] != "exec":
                self._sock.close()
                first = work.PROC
                if message["op"] == "processes":
                    os.dup2(self._proc, work.PROC)
                    first += 1
                os.closerange(first, 256)
                os._exit(work.run(message, self._place))
            os.chdir(self._place.path(message["cwd"]))
            environment = {**message["env"], **self._place.extra_env(self._group)}
            os.execvpe(message["argv"][0], message["argv"], environment)
        except work.Refused as error:
            code, text = error.code, str(error)
        except OSError as error:
            what = error.filename or message.get("argv", ["?"])[0]
            code, text = ERROR_CODES.get(error.errno or 0, "failed"), f"{what}: {error.strerror}"
        except Exception as error:  # a name with a zero byte, no name at all, an impossible terminal
            code, text = "bad-request", f"{type(error).__name__}: {error}"
        self._refuse(code, text)

    def _take_stdio(self, message: dict[str, Any], fds: list[int]) -> None:
        if message.get("terminal"):
            master, slave = os.openpty()
            set_size(master, *message["terminal"])
            send(self._sock, {"terminal": True}, [master])
            fds = [slave, slave, slave]
        elif message.get("no_input"):
            fds = [self._null, *fds]
        for target in range(3):
            os.dup2(fds[target], target)
        if message.get("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Size of a terminal."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
