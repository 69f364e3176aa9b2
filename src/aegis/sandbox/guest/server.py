"""The machine's side of the stream: frames from the host become programs, their output becomes frames.

One thread, one selector. Nothing is read from a program's pipe unless the host has granted the bytes, and nothing at
all while more than `HIGH_WATER` bytes wait for the host, so a program that floods makes itself wait and nobody else.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

import cradle
import identity
import wire

HIGH_WATER = 524288
READ_SIZE = 32768


class Channel:
    """A program's output pipe on its way to the host."""

    def __init__(self, fd: int, stream: int, number: int) -> None:
        self.fd = fd
        self.stream = stream
        self.number = number
        self.credit = wire.WINDOW
        self.open = True


class Program:
    """One stream: a program and its pipes. `terminal` programs have one descriptor for all three."""

    def __init__(self, stream: int, stdin: int, outputs: list[Channel], terminal: bool) -> None:
        self.stream = stream
        self.stdin: int | None = stdin
        self.outputs = outputs
        self.terminal = terminal
        self.pending = bytearray()  # input not yet taken by the program; bounded by the window granted to the host
        self.input_ended = False
        self.held = False
        """Prepared and not yet attached: its output and its end wait for the host that attaches."""
        self.exit: dict[str, Any] | None = None


class Server:
    """Serves one host connection until it ends.

    `wait_on_hangup` is for devices whose host side may be away for a moment (a restored machine); a socket's end of
    file ends the server.
    """

    def __init__(self, link: int, nursery: socket.socket, *, wait_on_hangup: bool) -> None:
        self._link = link
        self._nursery = nursery
        self._wait_on_hangup = wait_on_hangup
        self._decoder = wire.Decoder()
        self._out = bytearray()
        self._programs: dict[int, Program] = {}
        self._starting: dict[int, tuple[Program | None, list[int]]] = {}
        self._prepared: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._interest: dict[int, int] = {}
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._ready_nonce: str | None = None
        self.done = False

    def serve(self) -> None:
        os.set_blocking(self._link, False)
        self._watch(self._link, selectors.EVENT_READ, self._on_link)
        self._watch(self._nursery.fileno(), selectors.EVENT_READ, self._on_nursery)
        self._send(wire.encode_json(wire.HELLO, 0, {"protocol": wire.VERSION}))
        while not self.done:
            for key, mask in self._selector.select():
                callback = self._callbacks.get(key.fd)
                if callback is not None:
                    callback(mask)

    # -- descriptors ---------------------------------------------------------------------------------------------

    def _watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        if not mask:
            self._unwatch(fd)
            return
        self._callbacks[fd] = callback
        known = self._interest.get(fd)
        if known == mask:
            return
        self._interest[fd] = mask
        if known is None:
            self._selector.register(fd, mask)
        else:
            self._selector.modify(fd, mask)

    def _unwatch(self, fd: int) -> None:
        if self._interest.pop(fd, None) is not None:
            self._selector.unregister(fd)
        self._callbacks.pop(fd, None)

    # -- the link ------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        was_full = len(self._out) > HIGH_WATER
        self._out += data
        self._flush()
        if (len(self._out) > HIGH_WATER) != was_full:
            self._refresh_outputs()

    def _flush(self) -> None:
        while self._out:
            try:
                sent = os.write(self._link, memoryview(self._out)[:READ_SIZE])
            except BlockingIOError:
                break
            except OSError as error:
                if self._wait_on_hangup and error.errno in (errno.EPIPE, errno.ENODEV):
                    break
                self.done = True
                return
            del self._out[:sent]
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._watch(self._link, mask, self._on_link)

    def _on_link(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            was_full = len(self._out) > HIGH_WATER
            self._flush()
            if was_full and len(self._out) <= HIGH_WATER:
                self._refresh_outputs()
        if mask & selectors.EVENT_READ:
            try:
                data = os.read(self._link, READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                if self._wait_on_hangup:
                    identity.pause()
                else:
                    self.done = True
                return
            for kind, stream, payload in self._decoder.feed(data):
                self._frame(kind, stream, payload)

    def _frame(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == wire.OPEN:
            self._open(stream, wire.decode_json(payload))
        elif kind == wire.INIT:
            self._init(wire.decode_json(payload))
        else:
            program = self._programs.get(stream)
            if program is not None:  # a frame for a stream that has just ended is no error
                self._program_frame(program, kind, payload)

    def _program_frame(self, program: Program, kind: int, payload: bytes) -> None:
        if kind == wire.DATA:
            if program.stdin is None:
                self._grant(program.stream, len(payload))
            else:
                program.pending += payload
                self._feed(program)
        elif kind == wire.END:
            program.input_ended = True
            self._feed(program)
        elif kind == wire.GRANT:
            channel, amount = wire.decode_grant(payload)
            if channel < len(program.outputs):
                program.outputs[channel].credit += amount
                self._refresh(program.outputs[channel])
        elif kind == wire.SIGNAL:
            number = wire.decode_json(payload)["number"]
            cradle.send(self._nursery, {"do": "signal", "id": program.stream, "number": number})
        elif kind == wire.RESIZE and program.terminal and program.outputs[0].open:
            size = wire.decode_json(payload)
            cradle.set_size(program.outputs[0].fd, size["rows"], size["columns"])
        elif kind == wire.KILL:
            cradle.send(self._nursery, {"do": "kill", "id": program.stream})
        elif kind == wire.CLOSE:
            cradle.send(self._nursery, {"do": "forget", "id": program.stream})

    # -- identity ------------------------------------------------------------------------------------------------

    def _init(self, message: dict[str, Any]) -> None:
        identity.renew(message)
        self._ready_nonce = message["nonce"]
        cradle.send(self._nursery, {"do": "fresh", **{k: message[k] for k in ("hostname", "machine_id", "boot_id")}})

    # -- programs ------------------------------------------------------------------------------------------------

    def _open(self, stream: int, request: dict[str, Any]) -> None:
        operation = request.get("op")
        if operation == "attach":
            self._attach(stream, request["name"])
        elif operation in ("exec", "put", "get", "tree"):
            self._start(stream, request)
        elif operation == "prepare":
            self._prepared[request["name"]] = stream
            self._start(stream, {**request, "op": "exec"}, held=True)
        else:
            self._refuse(stream, "bad-request", f"unknown operation {operation!r}")

    def _refuse(self, stream: int, code: str, message: str) -> None:
        self._send(wire.encode_json(wire.OPENED, stream, {"error": {"code": code, "message": message}}))

    def _attach(self, stream: int, name: str) -> None:
        """Give a prepared program, which ran under another stream number until now, to this stream."""
        old = self._prepared.pop(name, None)
        program = self._programs.get(old) if old is not None else None
        if old is None or program is None:
            self._refuse(stream, "not-found", f"nothing was prepared under the name {name!r}")
            return
        self._send(wire.encode_json(wire.OPENED, stream, {"stream": old}))
        program.held = False
        for channel in program.outputs:
            self._refresh(channel)
        if program.exit is not None:
            self._send(wire.encode_json(wire.EXIT, old, program.exit))

    def _start(self, stream: int, request: dict[str, Any], *, held: bool = False) -> None:
        if stream in self._programs or stream in self._starting:
            self._refuse(stream, "bad-request", f"stream {stream} is in use")
            return
        message = {**request, "do": "start", "id": stream}
        if request.get("terminal"):
            self._starting[stream] = (None, [])
            theirs: list[int] = []
        else:
            stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
            out_read, out_write = os.pipe2(os.O_CLOEXEC)
            err_read, err_write = os.pipe2(os.O_CLOEXEC)
            theirs = [stdin_read, out_write, err_write]
            outputs = [Channel(out_read, stream, 0), Channel(err_read, stream, 1)]
            program = Program(stream, stdin_write, outputs, False)
            program.held = held
            self._starting[stream] = (program, [stdin_write, out_read, err_read])
        cradle.send(self._nursery, message, theirs)
        for fd in theirs:
            os.close(fd)

    def _on_nursery(self, mask: int) -> None:
        received = cradle.receive(self._nursery)
        if received is None:
            self._down("the machine's init was ended")
            return
        message, fds = received
        did = message["did"]
        if did == "started":
            self._started(message["id"], fds)
        elif did == "refused":
            _, ours = self._starting.pop(message["id"])
            for fd in ours:
                os.close(fd)
            self._refuse(message["id"], message["code"], message["message"])
        elif did == "exited":
            self._exited(message)
        elif did == "forgotten":
            self._forget(message["id"])
        elif did == "fresh" and self._ready_nonce is not None:
            self._send(wire.encode_json(wire.READY, 0, {"nonce": self._ready_nonce}))

    def _started(self, stream: int, fds: list[int]) -> None:
        program, _ = self._starting.pop(stream)
        if program is None:
            program = Program(stream, fds[0], [Channel(fds[0], stream, 0)], True)
        self._programs[stream] = program
        self._send(wire.encode_json(wire.OPENED, stream, {}))
        if program.stdin is not None:
            os.set_blocking(program.stdin, False)
        for channel in program.outputs:
            os.set_blocking(channel.fd, False)
            self._refresh(channel)

    def _exited(self, message: dict[str, Any]) -> None:
        program = self._programs.get(message["id"])
        if program is None:
            return
        program.exit = {k: message[k] for k in ("code", "signal", "duration") if k in message}
        if not program.held:
            self._send(wire.encode_json(wire.EXIT, program.stream, program.exit))

    def _forget(self, stream: int) -> None:
        program = self._programs.pop(stream, None)
        if program is not None:
            for channel in program.outputs:
                self._drain(program, channel)
                self._close_output(program, channel, tell=False)
            self._close_stdin(program)
        self._send(wire.encode(wire.CLOSE, stream))

    def _drain(self, program: Program, channel: Channel) -> None:
        """Send what ended processes left in the pipe; the host has made room for `FINAL_DRAIN` bytes."""
        left = wire.FINAL_DRAIN
        while channel.open and left > 0:
            try:
                data = os.read(channel.fd, min(READ_SIZE, left))
            except OSError:
                return
            if not data:
                return
            left -= len(data)
            self._send(wire.encode(wire.DATA if channel.number == 0 else wire.DATA_ERR, channel.stream, data))

    # -- input ---------------------------------------------------------------------------------------------------

    def _grant(self, stream: int, amount: int) -> None:
        if amount:
            self._send(wire.encode_grant(stream, 0, amount))

    def _feed(self, program: Program) -> None:
        if program.stdin is None:
            program.pending.clear()
            return
        blocked = False
        while program.pending:
            try:
                taken = os.write(program.stdin, memoryview(program.pending)[:READ_SIZE])
            except BlockingIOError:
                blocked = True
                break
            except OSError:  # the program closed its input: what it does not want is dropped
                self._grant(program.stream, len(program.pending))
                program.pending.clear()
                self._close_stdin(program)
                return
            del program.pending[:taken]
            self._grant(program.stream, taken)
        if program.terminal:
            if program.input_ended and not blocked:
                program.input_ended = False
                program.pending += b"\x04"
                self._feed(program)
            else:
                self._refresh(program.outputs[0])
        elif blocked:
            self._watch(program.stdin, selectors.EVENT_WRITE, lambda _: self._feed(program))
        else:
            self._unwatch(program.stdin)
            if program.input_ended:
                self._close_stdin(program)

    def _close_stdin(self, program: Program) -> None:
        if program.stdin is not None and not program.terminal:
            self._unwatch(program.stdin)
            os.close(program.stdin)
        program.stdin = None

    # -- output --------------------------------------------------------------------------------------------------

    def _refresh_outputs(self) -> None:
        for program in self._programs.values():
            for channel in program.outputs:
                self._refresh(channel)

    def _refresh(self, channel: Channel) -> None:
        """Watch the pipe exactly while its bytes may be sent."""
        if not channel.open:
            return
        program = self._programs[channel.stream]
        readable = channel.credit > 0 and len(self._out) <= HIGH_WATER and not program.held
        mask = selectors.EVENT_READ if readable else 0
        if program.terminal and program.pending:
            mask |= selectors.EVENT_WRITE
        self._watch(channel.fd, mask, lambda ready: self._on_output(program, channel, ready))

    def _on_output(self, program: Program, channel: Channel, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._feed(program)
        if not mask & selectors.EVENT_READ or not channel.open:
            return
        try:
            data = os.read(channel.fd, min(READ_SIZE, channel.credit))
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal's last holder has closed it
            data = b""
        if not data:
            self._close_output(program, channel, tell=True)
            return
        channel.credit -= len(data)
        self._send(wire.encode(wire.DATA if channel.number == 0 else wire.DATA_ERR, channel.stream, data))
        self._refresh(channel)

    def _close_output(self, program: Program, channel: Channel, *, tell: bool) -> None:
        if not channel.open:
            return
        channel.open = False
        if program.terminal:
            program.stdin = None
        self._unwatch(channel.fd)
        os.close(channel.fd)
        if tell:
            self._send(wire.encode(wire.END, channel.stream, bytes([channel.number])))

    def _down(self, reason: str) -> None:
        os.set_blocking(self._link, True)
        self._out += wire.encode_json(wire.DOWN, 0, {"reason": reason})
        self._flush()
        self.done = True
