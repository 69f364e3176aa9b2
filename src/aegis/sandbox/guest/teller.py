"""Marks the workload's files for the server, and tells what differs: in a child, so that everything else goes on."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from . import changes, wire, work


class Server(Protocol):
    """What is needed of it."""

    def send(self, data: bytes) -> None: ...

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None: ...


class Desk:
    """The operations `mark` and `changes` of one server.

    `adopt` takes a stream and two pipes, and gives the group that stands for them; `exited` is told how that ended.
    """

    def __init__(
        self, server: Server, adopt: Callable[[int, int, int], int], exited: Callable[[dict[str, Any]], None]
    ) -> None:
        self._server = server
        self._adopt = adopt
        self._exited = exited
        self._tellers: dict[int, Teller] = {}
        self.tree: changes.Tree | None = None
        """The workload's files; without them nothing is ever marked."""

    def mark_ahead(self) -> None:
        """In a machine that is about to be saved. Raises OSError."""
        if self.tree is not None:
            self.tree.mark(ahead=True)

    def mark(self, stream: int) -> None:
        try:
            if self.tree is not None:
                self.tree.mark()
        except OSError as error:
            self._refuse(stream, "failed", f"cannot look at the files: {error.strerror}")
        else:
            self._server.send(wire.encode_json(wire.OPENED, stream, {}))

    def tell(self, stream: int, request: dict[str, Any]) -> None:
        if self.tree is None or not self.tree.is_marked:
            self._refuse(stream, "not-found", "nothing was marked")
            return
        try:
            teller = Teller(self.tree, request)
        except OSError as error:
            self._refuse(stream, "no-space", f"cannot compare: {error.strerror}")
            return
        group = self._adopt(stream, teller.out, teller.err)
        self._tellers[group] = teller
        self._server.watch(teller.done, selectors.EVENT_READ, lambda _: self._told(group))

    def give_up(self, group: int) -> None:
        """The host does not wait for its answer any longer. Nothing happens for any other program's group."""
        if group in self._tellers:
            self._tellers[group].kill()
            self._told(group)

    def close(self) -> None:
        for group in list(self._tellers):
            self._tellers[group].kill()
            self._tellers.pop(group).reap()

    def _told(self, group: int) -> None:
        teller = self._tellers.pop(group)
        self._server.watch(teller.done, 0, lambda _: None)
        self._exited({"group": group, "alone": True, "ended": time.monotonic(), **teller.reap()})

    def _refuse(self, stream: int, code: str, message: str) -> None:
        error = {"code": code, "message": message}
        self._server.send(wire.encode_json(wire.OPENED, stream, {"error": error}))


class Teller:
    """Begun when it is made, which may raise OSError. `out` and `err` are read, and closed, by whoever made it; `done`
    ends when it has ended."""

    def __init__(self, tree: changes.Tree, request: dict[str, Any]) -> None:
        asked = {name: int(request[name]) for name in ("max_items", "max_file_bytes", "max_bytes")}
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        try:
            self._pid = os.fork()
        except OSError:
            for pair in pipes:
                os.close(pair[0])
                os.close(pair[1])
            raise
        if self._pid == 0:
            _tell(tree, asked, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self.out, self.err, self.done = (read for read, _ in pipes)
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def reap(self) -> dict[str, int]:
        """How it ended: `code` or `signal`. Once, after `done`."""
        os.close(self.done)
        _, status = os.waitpid(self._pid, 0)
        if os.WIFSIGNALED(status):
            return {"signal": os.WTERMSIG(status)}
        return {"code": os.WEXITSTATUS(status)}


def _tell(tree: changes.Tree, asked: dict[str, int], pipes: list[int]) -> None:
    """In the child. Never returns."""
    code = 3
    try:
        # The host's connection above all: its end must show when the server ends.
        kept = sorted((*pipes, *tree.descriptors))
        for low, high in zip([2, *kept], [*kept, 1 << 16], strict=True):
            os.closerange(low + 1, high)
        out, err, _ = pipes
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            with os.fdopen(os.dup(out), "wb", buffering=65536) as pipe:
                for line in tree.changes(**asked):
                    pipe.write(line)
            code = 0
        except OSError as error:
            _fail(err, work.CODES.get(error.errno or 0, "failed"), str(error.strerror or error))
        except Exception as error:
            _fail(err, "failed", f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def _fail(fd: int, code: str, message: str) -> None:
    os.write(fd, json.dumps({"code": code, "message": message[:2000]}).encode())
