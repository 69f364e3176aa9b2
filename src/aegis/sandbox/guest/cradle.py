"""The parent of everything that a workload runs.

In a machine it is process 1 of the workload's own process, mount and IPC namespaces, so that nothing the workload does
to the processes it can see reaches the server; ending it ends them all. On a plain host (`Place.chroot` False) it is a
child subreaper. It takes requests from the server over a socket pair: one datagram of JSON each, file descriptors
attached; it answers `started` or `refused`, and later `exited`.
"""

from __future__ import annotations

import array
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from typing import Any

import confine
import work

MAX_MESSAGE = 192 * 1024


def send(sock: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """One message, with file descriptors attached."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its file descriptors; None when the other side has ended."""
    try:
        data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(4 * 4))
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
    """Starts programs and reports their ends, until the server goes away."""

    def __init__(self, sock: socket.socket, place: confine.Place) -> None:
        self._sock = sock
        self._place = place
        self._children: dict[int, tuple[int, float]] = {}
        self._leaving: list[int] = []

    def serve(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self._sock, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(0.005 if self._leaving else None):
                if key.fileobj is self._sock:
                    message = receive(self._sock)
                    if message is None:
                        self._place.end_all()
                        return
                    self._handle(*message)
                else:
                    os.read(wake_read, 4096)
            self._reap()
            for request in [each for each in self._leaving if self._place.group_gone(each)]:
                self._leaving.remove(request)
                send(self._sock, {"did": "forgotten", "id": request})

    def _handle(self, message: dict[str, Any], fds: list[int]) -> None:
        try:
            if message["do"] == "start":
                self._start(message, fds)
            elif message["do"] == "kill":
                self._place.kill_group(message["id"])
            elif message["do"] == "signal":
                self._signal(message["id"], message["number"])
            elif message["do"] == "forget":
                self._place.kill_group(message["id"])
                self._leaving.append(message["id"])
            elif message["do"] == "fresh":
                self._place.fresh_identity(message)
                send(self._sock, {"did": "fresh"})
        finally:
            for fd in fds:
                os.close(fd)

    def _signal(self, request: int, number: int) -> None:
        for pid, (owner, _) in self._children.items():
            if owner == request:
                try:
                    os.killpg(pid, number)
                except (ProcessLookupError, PermissionError):
                    pass

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        request = message["id"]
        extra: list[int] = []
        if message.get("terminal"):
            master, slave = os.openpty()
            set_size(master, *message["terminal"])
            fds = [*fds, master, slave]  # closed by the caller with the rest
            stdio = [slave, slave, slave]
            extra = [master]
        else:
            stdio = fds[:3]
        error_read, error_write = os.pipe2(os.O_CLOEXEC)
        try:
            self._place.make_group(request)
            pid = os.fork()
        except OSError as error:
            os.close(error_read)
            os.close(error_write)
            self._close(extra)
            send(self._sock, {"did": "refused", "id": request, "code": "no-space", "message": f"cannot fork: {error}"})
            return
        if pid == 0:
            self._become(message, stdio, error_write)
        os.close(error_write)
        with os.fdopen(error_read, "rb") as pipe:
            failure = pipe.read()
        self._children[pid] = (request, time.monotonic())
        if failure:
            code, _, text = failure.decode("utf-8", "replace").partition("\n")
            del self._children[pid]
            os.waitpid(pid, 0)
            self._place.group_gone(request)
            send(self._sock, {"did": "refused", "id": request, "code": code, "message": text})
        else:
            send(self._sock, {"did": "started", "id": request, "pid": pid}, extra)
        self._close(extra)
        if message.get("terminal"):
            self._close([slave])

    @staticmethod
    def _close(fds: list[int]) -> None:
        for fd in fds:
            try:
                os.close(fd)
            except OSError:
                pass

    def _become(self, message: dict[str, Any], stdio: list[int], error_fd: int) -> None:
        """In the child: take on the program. Never returns."""
        try:
            os.setsid()
            self._place.join_group(message["id"])
            for target, source in enumerate(stdio):
                os.dup2(source, target)
            if message.get("terminal"):
                import fcntl
                import termios

                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._place.prepare_child()
            if message["op"] != "exec":
                sys.stdout = sys.stderr = None  # type: ignore[assignment]
                os.close(error_fd)
                os.closerange(3, 256)
                os._exit(work.run(message, self._place))
            environment = {**message["env"], **self._place.extra_env(message["id"])}
            os.chdir(self._place.path(message["cwd"]))
            os.execvpe(message["argv"][0], message["argv"], environment)
        except FileNotFoundError as error:
            report = f"not-found\n{error.filename or message.get('argv', ['?'])[0]}: no such file or folder"
        except PermissionError as error:
            report = f"not-executable\n{error.filename or message.get('argv', ['?'])[0]}: permission denied"
        except NotADirectoryError as error:
            report = f"not-found\n{error.filename}: not a folder"
        except OSError as error:
            report = f"failed\n{error.filename or message.get('argv', ['?'])[0]}: {error.strerror}"
        except BaseException as error:
            report = f"failed\n{type(error).__name__}: {error}"
        try:
            os.write(error_fd, report.encode("utf-8", "replace")[:4000])
        finally:
            os._exit(127)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._children:
                continue  # an orphan that was handed to us
            request, started = self._children.pop(pid)
            message: dict[str, Any] = {"did": "exited", "id": request, "duration": time.monotonic() - started}
            if os.WIFSIGNALED(status):
                message["signal"] = os.WTERMSIG(status)
            else:
                message["code"] = os.WEXITSTATUS(status)
            send(self._sock, message)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Size of a terminal."""
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
