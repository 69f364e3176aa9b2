"""The guest program as it is, serving a folder, with a test in the host's place."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aegis.sandbox import guest
from aegis.sandbox.guest import wire

PATIENCE_S = 60.0


class GuestProgram:
    """Frames in and out, one at a time and blocking."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._sock = sock
        self._decoder = wire.Decoder()
        self._frames: list[wire.Frame] = []
        self.process = process
        self.next_stream = 1

    def send(self, data: bytes) -> None:
        """Raw bytes. A guest that has hung up already doesn't disturb."""
        try:
            self._sock.sendall(data)
        except ConnectionError:
            pass

    def receive(self) -> wire.Frame | None:
        """The next frame; None at the end of the stream. Raises TimeoutError when it stays silent."""
        while not self._frames:
            try:
                data = self._sock.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def expect(self, kind: int, stream: int) -> bytes:
        """The payload of the next frame of this kind and stream; others are dropped."""
        while (frame := self.receive()) is not None:
            if frame[:2] == (kind, stream):
                return frame[2]
        raise AssertionError("the guest hung up")

    def rest(self) -> list[wire.Frame]:
        """All frames to the end of the stream."""
        frames = []
        while (frame := self.receive()) is not None:
            frames.append(frame)
        return frames

    def open(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send OPEN; the stream's number and the answer."""
        stream, self.next_stream = self.next_stream, self.next_stream + 1
        self.send(wire.encode_json(wire.OPEN, stream, request))
        return stream, json.loads(self.expect(wire.OPENED, stream))

    def execute(self, script: str) -> bytes:
        """What a shell script prints."""
        stream, answer = self.open({"op": "exec", "argv": ["/bin/sh", "-c", script], "cwd": "/", "env": ENV})
        assert answer == {}, answer
        output = b""
        while (frame := self.receive()) is not None:
            if frame[1] != stream:
                continue
            if frame[0] == wire.DATA:
                output += frame[2]
            elif frame[0] == wire.END and frame[2] == b"\0":
                break
        self.send(wire.encode(wire.CLOSE, stream))
        self.expect(wire.CLOSE, stream)
        return output

    def half_close(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)


ENV = {"PATH": os.defpath}


@contextmanager
def guest_program(folder: Path) -> Iterator[GuestProgram]:
    """Start it; it has said HELLO. Afterwards it is gone."""
    (folder / "workspace").mkdir(parents=True)
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    program = str(Path(guest.__file__).with_name("main.py"))
    command = [sys.executable, "-I", "-S", program, "--folder", str(folder), "--link", str(theirs.fileno())]
    with (
        ours,
        subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
        ) as process,
    ):
        theirs.close()
        try:
            served = GuestProgram(ours, process)
            assert json.loads(served.expect(wire.HELLO, 0)) == {"protocol": wire.VERSION}
            yield served
        finally:
            ours.close()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


def wait_until_gone(path: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while path.exists():
        assert time.monotonic() < end, f"{path} is still there"
        time.sleep(0.02)
