"""The machine's side of the stream: frames from the host become programs, their output becomes frames.

One thread, one selector. Nothing is read from a program's pipe unless the host has granted the bytes, and nothing at
all while more than `HIGH_WATER` bytes wait for the host, so a program that floods makes itself wait and nobody else.
"""

from __future__ import annotations

import errno
import gc
import os
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from . import cradle, identity, network, relay, teller, wire
from .program import Channel, Program

HIGH_WATER = 524288
READ_SIZE = 32768
MAX_EARLY = 32768
SPARE_DELAY_S = 0.3
"""How long it must be quiet before the next spare is made: it would compete with the program that has just begun."""


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
        self._still: int | None = None
        self._may_leave: int | None = None
        self._programs: dict[int, Program] = {}
        self._groups: dict[int, Program] = {}
        self._waiting: deque[tuple[int, dict[str, Any], bool]] = deque()
        self._spare: tuple[int, socket.socket] | None = None
        self._spare_asked = False
        self._prepared: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._interest: dict[int, int] = {}
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._relays = relay.Relays(self)
        self._network: network.Network | None = None
        self.desk = teller.Desk(self, self._adopt, self._exited)
        self.done = False

    def open_network(self) -> network.Network:
        """Take over all connections of a machine; a plain host's are its own. Raises OSError."""
        self._network = network.Network(self, self._relays.accept, self._relays.report, self._relays.ask)
        return self._network

    def serve(self) -> None:
        os.set_blocking(self._link, False)
        self.watch(self._link, selectors.EVENT_READ, self._on_link)
        self.watch(self._nursery.fileno(), selectors.EVENT_READ, self._on_nursery)
        self.send(wire.encode_json(wire.HELLO, 0, {"protocol": wire.VERSION}))
        while not self.done:
            events = self._selector.select(None if self._spare or self._spare_asked else SPARE_DELAY_S)
            for key, mask in events:
                callback = self._callbacks.get(key.fd)
                if callback is not None:
                    callback(mask)
            if not events:
                self._ask_for_spare()
        self.desk.close()

    # -- descriptors ---------------------------------------------------------------------------------------------

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call back when a descriptor is ready for one of `mask`; 0 ends that, before it is closed."""
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

    def has_room(self) -> bool:
        """Whether more may be sent that can wait."""
        return len(self._out) <= HIGH_WATER

    def send(self, data: bytes) -> None:
        had_room = self.has_room()
        self._out += data
        self._flush()
        if self.has_room() != had_room:
            self._refresh_outputs()

    def _flush(self) -> None:
        while self._out and self._may_leave != 0:
            size = READ_SIZE if self._may_leave is None else min(READ_SIZE, self._may_leave)
            try:
                sent = os.write(self._link, memoryview(self._out)[:size])
            except BlockingIOError:
                break
            except OSError as error:
                if self._wait_on_hangup and error.errno in (errno.EPIPE, errno.ENODEV):
                    break
                self.done = True
                return
            del self._out[:sent]
            if self._may_leave is not None:
                self._may_leave -= sent
        waits = self._out and self._may_leave != 0
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if waits else 0)
        self.watch(self._link, mask, self._on_link)

    def _on_link(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            had_room = self.has_room()
            self._flush()
            if self.has_room() != had_room:
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
            try:
                for kind, stream, payload in self._decoder.feed(data):
                    self._frame(kind, stream, payload)
            except (wire.WireError, LookupError, TypeError, ValueError) as error:
                self._down(f"the host broke the protocol: {type(error).__name__}: {error}")
            except OSError as error:
                self._down(f"the machine's own program failed: {error}")

    def _frame(self, kind: int, stream: int, payload: bytes) -> None:
        if stream >= wire.FIRST_CONNECTION:
            self._relays.frame(kind, stream, payload)
        elif kind == wire.OPEN:
            self._open(stream, wire.decode_json(payload))
        elif kind == wire.INIT:
            self._init(wire.decode_json(payload))
        elif kind == wire.CLOSE and stream == self._still:
            self._still = self._may_leave = None
            self.send(b"")
        else:
            program = self._programs.get(stream)
            if program is not None:  # a frame for a stream that has just ended is no error
                self._program_frame(program, kind, payload)
            elif kind == wire.CLOSE:
                self._give_up(stream)

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
            cradle.send(self._nursery, {"do": "signal", "group": program.group, "number": number})
        elif kind == wire.RESIZE and program.terminal and program.outputs[0].open:
            size = wire.decode_json(payload)
            try:
                cradle.set_size(program.outputs[0].fd, size["rows"], size["columns"])
            except (OSError, struct.error):
                pass  # no terminal has this size
        elif kind == wire.CLOSE:
            self.desk.give_up(program.group)
            if program.gone:
                self._forget(program)
            else:
                cradle.send(self._nursery, {"do": "forget", "group": program.group})

    def _give_up(self, stream: int) -> None:
        """The host no longer wants what still waits to be started."""
        for request in self._waiting:
            if request[0] == stream:
                self._waiting.remove(request)
                self.send(wire.encode(wire.CLOSE, stream))
                return

    # -- identity ------------------------------------------------------------------------------------------------

    def _init(self, message: dict[str, Any]) -> None:
        self._relays.reset()
        identity.renew(message)
        if self._network is not None:
            self._network.renew(message.get("network"))
            if message.get("rehearse"):
                identity.rehearse()
                self._network.rehearse()
        self.send(wire.encode_json(wire.READY, 0, {"nonce": message["nonce"]}))

    # -- programs ------------------------------------------------------------------------------------------------

    def _open(self, stream: int, request: dict[str, Any]) -> None:
        operation = request.get("op")
        if operation == "attach":
            self._attach(stream, request["name"])
        elif operation == "hold":
            self._hold(stream, request["stream"], request["name"])
        elif operation in ("exec", "put", "get", "tree", "look", "processes", "gather", "dial"):
            self._start(stream, request)
        elif operation == "prepare":
            self._prepared[request["name"]] = stream
            self._start(stream, {**request, "op": "exec"}, held=True)
        elif operation == "clock":
            self._set_clock(stream, request)
        elif operation == "mark":
            self.desk.mark(stream)
        elif operation == "changes":
            self.desk.tell(stream, request)
        elif operation == "still":
            self._be_still(stream)
        elif operation == "rest":
            self.desk.mark_ahead()
            if self._network is not None:
                identity.rehearse()
            gc.collect()
            gc.freeze()
            if self._spare is None:
                self._ask_for_spare()
            cradle.send(self._nursery, {"do": "rest", "id": stream})
        else:
            self._refuse(stream, "bad-request", f"unknown operation {operation!r}")

    def _set_clock(self, stream: int, request: dict[str, Any]) -> None:
        if self._network is None:
            self._refuse(stream, "bad-request", "this clock is the host's own")
            return
        try:
            identity.set_clock(request.get("at"), request.get("zone"))
        except (OSError, OverflowError) as error:
            self._refuse(stream, "bad-request", f"the clock cannot show this: {error}")
            return
        self.send(wire.encode_json(wire.OPENED, stream, {}))

    def _be_still(self, stream: int) -> None:
        """Send what waits and the answer, then nothing until the host closes this stream: whoever copies the machine
        meanwhile copies no frame that is cut or on its way."""
        self._out += wire.encode_json(wire.OPENED, stream, {})
        self._still, self._may_leave = stream, len(self._out)
        self._flush()

    def _refuse(self, stream: int, code: str, message: str) -> None:
        self.send(wire.encode_json(wire.OPENED, stream, {"error": {"code": code, "message": message}}))

    def _hold(self, stream: int, target: int, name: str) -> None:
        """Make a running program a prepared one: it goes on, and its output waits for the host that attaches."""
        program = self._programs.get(target)
        if program is None or not program.begun or program.terminal:
            self._refuse(stream, "not-found", f"stream {target} is no running program")
            return
        program.held = True
        for channel in program.outputs:
            self._refresh(channel)
        self._prepared[name] = target
        self.send(wire.encode_json(wire.OPENED, stream, {}))

    def _adopt(self, stream: int, pipes: tuple[int, ...]) -> int:
        """What this process does itself looks like a program to the host. Its group; the cradle's are positive."""
        outputs = [Channel(fd, stream, number) for number, fd in enumerate(pipes)]
        program = Program(stream, -stream, None, outputs, False)
        program.begun = True
        self._programs[stream] = self._groups[-stream] = program
        self.send(wire.encode_json(wire.OPENED, stream, {}))
        for channel in program.outputs:
            self._refresh(channel)
        return -stream

    def _attach(self, stream: int, name: str) -> None:
        """Give a prepared program, which ran under another stream number until now, to this stream. All that was sent
        before has arrived somewhere: the host grants the whole window anew."""
        old = self._prepared.pop(name, None)
        program = self._programs.get(old) if old is not None else None
        if old is None or program is None:
            self._refuse(stream, "not-found", f"nothing was prepared under the name {name!r}")
            return
        self.send(wire.encode_json(wire.OPENED, stream, {"stream": old}))
        program.held = False
        for channel in program.outputs:
            channel.credit = wire.WINDOW
            if not channel.open:
                self.send(wire.encode(wire.END, old, bytes([channel.number])))
        if program.early:
            program.outputs[0].credit -= len(program.early)
            self.send(wire.encode(wire.DATA, old, bytes(program.early)))
        for channel in program.outputs:
            self._refresh(channel)
        if program.exit is not None:
            self.send(wire.encode_json(wire.EXIT, old, program.exit))

    def _start(self, stream: int, request: dict[str, Any], *, held: bool = False) -> None:
        if stream in self._programs:
            self._refuse(stream, "bad-request", f"stream {stream} is in use")
            return
        self._waiting.append((stream, request, held))
        if self._spare is None:
            self._ask_for_spare()
        else:
            self._start_next()

    def _ask_for_spare(self) -> None:
        if not self._spare_asked:
            self._spare_asked = True
            cradle.send(self._nursery, {"do": "spare"})

    def _start_next(self) -> None:
        """Let the spare become the program that has waited longest."""
        assert self._spare is not None
        stream, request, held = self._waiting.popleft()
        group, sock = self._spare
        self._spare = None
        stdin = -1
        theirs: list[int] = []
        outputs: list[Channel] = []
        if not request.get("terminal"):
            if not request.get("no_input"):
                stdin_read, stdin = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(stdin, False)
                theirs.append(stdin_read)
            for number in (0, 1):
                read, write = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(read, False)  # it may be drained before the program has begun
                outputs.append(Channel(read, stream, number))
                theirs.append(write)
        program = Program(
            stream, group, stdin if stdin >= 0 else None, outputs, bool(request.get("terminal"))
        )
        program.held = held
        if held and request.get("ready"):
            program.early = bytearray()
        self._programs[stream] = program
        self._groups[group] = program
        try:
            cradle.send(sock, request, theirs)
        except OSError:
            pass  # the workload ended the spare: the socket's end tells
        for fd in theirs:
            os.close(fd)
        self.watch(sock.fileno(), selectors.EVENT_READ, lambda _: self._on_begun(program, sock))
        if self._waiting:
            self._ask_for_spare()

    def _on_begun(self, program: Program, sock: socket.socket) -> None:
        """The spare answered: it has become the program (end of file), or says why it cannot."""
        received = cradle.receive(sock)
        if self._programs.get(program.stream) is not program:  # closed by the host while it was starting
            for fd in received[1] if received is not None else []:
                os.close(fd)
            self._unwatch(sock.fileno())
            sock.close()
            return
        if received is not None and received[0].get("terminal"):
            master = received[1][0]
            os.set_blocking(master, False)
            program.stdin = master
            program.outputs = [Channel(master, program.stream, 0)]
            return
        self._unwatch(sock.fileno())
        sock.close()
        if received is not None:
            self._drop(program)
            self._refuse(program.stream, received[0]["code"], received[0]["message"])
            cradle.send(self._nursery, {"do": "forget", "group": program.group})
            return
        program.begun = True
        for channel in program.outputs:
            self._refresh(channel)
        if program.early is not None:
            channel = program.outputs[0]
            self.watch(channel.fd, selectors.EVENT_READ, lambda _: self._on_early(program, channel))
            return
        self.send(wire.encode_json(wire.OPENED, program.stream, {}))
        if program.exit is not None and not program.held:
            self.send(wire.encode_json(wire.EXIT, program.stream, program.exit))

    def _on_early(self, program: Program, channel: Channel) -> None:
        """A prepared program is ready with its first line; one that ends or floods instead is as ready as it gets."""
        assert program.early is not None
        data = os.read(channel.fd, min(READ_SIZE, MAX_EARLY - len(program.early)))
        program.early += data
        if not data or b"\n" in data or len(program.early) >= MAX_EARLY:
            self._unwatch(channel.fd)
            self.send(wire.encode_json(wire.OPENED, program.stream, {}))

    def _on_nursery(self, mask: int) -> None:
        received = cradle.receive(self._nursery)
        if received is None:
            self._down("the machine's init was ended")
            return
        message, fds = received
        did = message["did"]
        if did == "exited" and self._spare is not None and self._spare[0] == message["group"]:
            self._spare[1].close()  # ended by the workload; the next program gets another
            self._spare = None
            return
        if did == "spare":
            self._spare_asked = False
            self._spare = (message["group"], socket.socket(fileno=fds[0]))
            if self._waiting:
                self._start_next()
        elif did == "failed":
            self._spare_asked = False
            if self._waiting:
                self._refuse(self._waiting.popleft()[0], "no-space", message["message"])
        elif did == "exited":
            self._exited(message)
        elif did == "gone":
            program = self._groups.get(message["group"])
            if program is not None:
                self._forget(program)
        elif did == "rested":
            self.send(wire.encode_json(wire.OPENED, message["id"], {}))

    def _exited(self, message: dict[str, Any]) -> None:
        program = self._groups.get(message["group"])
        if program is None:
            return
        program.gone = message["alone"]
        program.exit = {k: message[k] for k in ("code", "signal", "alone") if k in message}
        program.exit["duration"] = max(0.0, message["ended"] - program.started)
        if program.begun and not program.held:
            self.send(wire.encode_json(wire.EXIT, program.stream, program.exit))

    def _forget(self, program: Program) -> None:
        for channel in program.outputs:
            self._drain(channel)
        self._drop(program)
        self.send(wire.encode(wire.CLOSE, program.stream))

    def _drop(self, program: Program) -> None:
        for channel in program.outputs:
            self._close_output(program, channel, tell=False)
        self._close_stdin(program)
        self._programs.pop(program.stream, None)
        self._groups.pop(program.group, None)

    def _drain(self, channel: Channel) -> None:
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
            self.send(wire.encode(wire.DATA if channel.number == 0 else wire.DATA_ERR, channel.stream, data))

    # -- input ---------------------------------------------------------------------------------------------------

    def _grant(self, stream: int, amount: int) -> None:
        if amount:
            self.send(wire.encode_grant(stream, 0, amount))

    def _feed(self, program: Program) -> None:
        if program.stdin is None:
            self._grant(program.stream, len(program.pending))
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
                self._type_end_of_file(program)
            self._refresh(program.outputs[0])
        elif blocked:
            self.watch(program.stdin, selectors.EVENT_WRITE, lambda _: self._feed(program))
        else:
            self._unwatch(program.stdin)
            if program.input_ended:
                self._close_stdin(program)

    @staticmethod
    def _type_end_of_file(program: Program) -> None:
        """A terminal has no end of file but a character for it, which is no part of the host's credit."""
        assert program.stdin is not None
        try:
            os.write(program.stdin, b"\x04")
        except BlockingIOError:
            return
        except OSError:
            pass
        program.input_ended = False

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
        self._relays.refresh()
        if self._network is not None:
            self._network.refresh()

    def _refresh(self, channel: Channel) -> None:
        """Watch the pipe exactly while its bytes may be sent."""
        if not channel.open:
            return
        program = self._programs[channel.stream]
        readable = channel.credit >= wire.WORTHWHILE and self.has_room() and not program.held
        mask = selectors.EVENT_READ if readable else 0
        if program.terminal and (program.pending or program.input_ended):
            mask |= selectors.EVENT_WRITE
        self.watch(channel.fd, mask, lambda ready: self._on_output(program, channel, ready))

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
        self.send(wire.encode(wire.DATA if channel.number == 0 else wire.DATA_ERR, channel.stream, data))
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
            self.send(wire.encode(wire.END, channel.stream, bytes([channel.number])))

    def _down(self, reason: str) -> None:
        os.set_blocking(self._link, True)
        self._may_leave = None
        self._out += wire.encode_json(wire.DOWN, 0, {"reason": reason})
        self._flush()
        self.done = True
