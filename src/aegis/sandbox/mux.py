"""The host's side of the stream: processes and files of one machine over one connection.

Everything that arrives is hostile. A frame that the protocol does not allow at that moment ends the connection with
`GuestProtocolError`; memory is bounded by the credit that the host itself granted.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from aegis.errors import GuestOperationError, GuestProtocolError, SandboxLostError
from aegis.sandbox.atrest import LinkAtRest, StreamAtRest, own_frames
from aegis.sandbox.base import WORKSPACE, ExitStatus, PreparedProcess
from aegis.sandbox.connections import Connections
from aegis.sandbox.guest import wire
from aegis.sandbox.inbox import Inbox
from aegis.sandbox.network import Gate, NetworkHandler

EXPLAIN_TIMEOUT_S = 5.0
MAX_UNSENT_BYTES = 1 << 20
"""While more than this waits for a machine that does not read, nothing is read from it: answers would pile up."""

ERROR_CODES = frozenset(
    {
        "not-found",
        "not-executable",
        "is-directory",
        "too-large",
        "permission",
        "no-space",
        "bad-request",
        "failed",
    }
)


class MuxProcess:
    """A program behind the stream; fulfils `aegis.sandbox.base.Process`."""

    def __init__(self, mux: Mux, stream: int, terminal: bool) -> None:
        self._mux = mux
        self.stream = stream
        self._inboxes = (Inbox(), Inbox())
        if terminal:
            self._inboxes[1].end()
        self._opened: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._status: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._status.add_done_callback(_retrieve)
        self._opened.add_done_callback(_retrieve)
        self._credit = wire.WINDOW
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._input_closed = False
        self._killed = False
        self._alone = False
        self._closed = asyncio.Event()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._status.done() and not self._input_closed:
            while self._credit < min(len(view), wire.WORTHWHILE) and not self._status.done():
                self._may_send.clear()
                await self._may_send.wait()
            size = min(len(view), self._credit, 32768)
            if size <= 0:
                break
            self._credit -= size
            self._mux.send(wire.DATA, self.stream, bytes(view[:size]))
            view = view[size:]
            await self._mux.drain()
        self._mux.check()

    async def close_stdin(self) -> None:
        if not self._input_closed:
            self._input_closed = True
            self._mux.send(wire.END, self.stream, b"\0")

    def stdout(self) -> AsyncIterator[bytes]:
        return self._read(0)

    def stderr(self) -> AsyncIterator[bytes]:
        return self._read(1)

    async def _read(self, channel: int) -> AsyncIterator[bytes]:
        inbox = self._inboxes[channel]
        while data := await inbox.take():
            if not inbox.ended and not self._closed.is_set():
                inbox.allowed += len(data)
                self._mux.send_raw(wire.encode_grant(self.stream, channel, len(data)))
            yield data
        self._mux.check()

    async def signal(self, number: int) -> None:
        self._mux.send_json(wire.SIGNAL, self.stream, {"number": number})

    async def resize(self, rows: int, columns: int) -> None:
        self._mux.send_json(wire.RESIZE, self.stream, {"rows": rows, "columns": columns})

    async def wait(self) -> ExitStatus:
        return await asyncio.shield(self._status)

    async def kill(self) -> None:
        """Ends the whole group and returns when the machine says that nothing is left of it."""
        if not self._closed.is_set():
            if not self._killed:
                self._killed = True
                for inbox in self._inboxes:
                    inbox.allowed += wire.FINAL_DRAIN
            self._mux.send(wire.CLOSE, self.stream)
            if not self._alone:  # a program that left nothing behind needs no waiting for
                await self._closed.wait()
        self._mux.check()

    # -- a copy of the machine -----------------------------------------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether it was ended from here, or never began."""
        return self._killed or not self._opened.done()

    def at_rest(self) -> StreamAtRest:
        out, err = self._inboxes
        done = self._status.done() and self._status.exception() is None
        status = self._status.result() if done else None
        return StreamAtRest(
            self.stream,
            self._credit,
            self._input_closed,
            (out.allowed, err.allowed),
            (out.ended, err.ended),
            (out.unread, err.unread),
            None if status is None else (status.code, status.signal, status.duration_s),
        )

    def take_up(self, rest: StreamAtRest) -> None:
        """Go on as the stream was then."""
        self._credit, self._input_closed = rest.credit, rest.input_closed
        for number, inbox in enumerate(self._inboxes):
            if rest.unread[number]:
                inbox.allowed = len(rest.unread[number])
                inbox.ended = False
                inbox.put(rest.unread[number])
            inbox.allowed = rest.allowed[number]
            if rest.ended[number]:
                inbox.end()
        self._opened.set_result({})
        if rest.status is not None:
            self._status.set_result(ExitStatus(*rest.status))

    # -- called by the mux ---------------------------------------------------------------------------------------

    def renew_windows(self) -> None:
        """The machine is about to be allowed a whole window on each channel; nothing of it is on its way."""
        for inbox in self._inboxes:
            inbox.allowed = wire.WINDOW

    def on_frame(self, kind: int, payload: bytes) -> None:
        if kind == wire.OPENED:
            if self._opened.done():
                raise wire.WireError("OPENED twice")
            self._opened.set_result(wire.decode_json(payload))
        elif kind in (wire.DATA, wire.DATA_ERR):
            self._inboxes[kind - wire.DATA].put(payload)
        elif kind == wire.END:
            self._inboxes[wire.decode_channel(payload)].end()
        elif kind == wire.GRANT:
            _, amount = wire.decode_grant(payload)
            if self._credit + amount > wire.WINDOW:
                raise wire.WireError("more credit than was used")
            self._credit += amount
            self._may_send.set()
        elif kind == wire.EXIT:
            message = wire.decode_json(payload)
            if not self._status.done():
                self._alone = message.get("alone") is True
                self._status.set_result(_exit_status(message))
            self._may_send.set()
        elif kind == wire.CLOSE:
            self._finish(None)
        else:
            raise wire.WireError(f"frame kind {kind} on a program's stream")

    def _finish(self, error: Exception | None) -> None:
        """No more frames will come."""
        self._mux.forget(self.stream)
        self._closed.set()
        for inbox in self._inboxes:
            inbox.end()
        if not self._status.done():
            if error is None:
                self._status.set_result(ExitStatus(None, 9, 0.0))
            else:
                self._status.set_exception(error)
        if not self._opened.done():
            self._opened.set_exception(
                error or GuestProtocolError("the stream was closed before it was opened")
            )
        self._may_send.set()

    def fail(self, error: Exception) -> None:
        self._finish(error)

    async def opened(self) -> dict[str, Any]:
        """The answer to OPEN. Raises GuestOperationError when it was refused."""
        answer = await asyncio.shield(self._opened)
        error = answer.get("error")
        if error is not None:
            self._mux.forget(self.stream)
            raise operation_error(error)
        return answer


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Marks a failure as seen: nobody may be waiting for it when a machine goes away."""
    if not future.cancelled():
        future.exception()


def _exit_status(message: dict[str, Any]) -> ExitStatus:
    code, signal, duration = message.get("code"), message.get("signal"), message.get("duration", 0.0)
    if not isinstance(duration, int | float) or not 0 <= duration < 1e9:
        raise wire.WireError("EXIT with an impossible duration")
    if type(signal) is int and 0 < signal <= 64:  # true and false are numbers in Python
        return ExitStatus(None, signal, float(duration))
    if type(code) is int and 0 <= code <= 255:
        return ExitStatus(code, None, float(duration))
    raise wire.WireError("EXIT with neither a code nor a signal")


def operation_error(error: Any) -> GuestOperationError:
    """A refusal as the guest worded it, bounded and made safe to show."""
    if not isinstance(error, dict):
        raise GuestProtocolError("the machine refused an operation without saying why")
    code = error.get("code")
    message = shown(error.get("message", ""))
    known = code if isinstance(code, str) and code in ERROR_CODES else "failed"
    return GuestOperationError(message or "refused", code=known)


def shown(text: object) -> str:
    """A machine's words on one line of bounded length, without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:2000])


class Mux:
    """One connection to a machine. `start` begins reading; `close` ends it; `lost` is called once when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = wire.Decoder()
        self._processes: dict[int, MuxProcess] = {}
        self._next_stream = 1
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello.add_done_callback(_retrieve)
        self._asked_ready = False
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(_retrieve)
        self.gone = asyncio.Event()
        self.prepared: dict[str, int] = {}
        """Stream numbers of prepared programs."""
        self._opening: set[asyncio.Task[MuxProcess]] = set()
        self.connections = Connections(self.send_raw, self.drain)
        """What the workload opens."""
        self._awaited: tuple[object, NetworkHandler | None, Gate | None] | None = None
        self._still = 0
        self._held_back: bytearray | None = None
        self.explain: Callable[[], Awaitable[Exception]] | None = None
        """Asked why the machine is gone when its connection ends."""

    def start(self, *, first_stream: int = 1, prepared: Mapping[str, int] | None = None) -> None:
        """`first_stream`: number of the first stream this side opens; `prepared`: streams of the template below it."""
        self._next_stream = first_stream
        self.prepared = dict(prepared or {})
        self._task = asyncio.create_task(self._receive())

    async def hello(self) -> None:
        """Wait for the machine's first frame."""
        await asyncio.shield(self._hello)

    async def init(
        self, message: dict[str, Any], handler: NetworkHandler | None = None, gate: Gate | None = None
    ) -> None:
        """Give the machine its identity; returns when it has acknowledged this very one.

        From its acknowledgement on `handler` serves its connections; until then, and without one, they are reset.
        What it asks is answered by `gate`.
        """
        if self._ready.done():  # a pooled machine is given an identity a second time, when a trial takes it
            self.check()
            self._ready = asyncio.get_running_loop().create_future()
            self._ready.add_done_callback(_retrieve)
        self._asked_ready = True
        self.connections.handler = self.connections.gate = None
        self._awaited = message["nonce"], handler, gate
        self.send_json(wire.INIT, 0, message)
        nonce = await asyncio.shield(self._ready)
        if nonce != message["nonce"]:
            raise GuestProtocolError("the machine acknowledged another identity than its own")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task
        self._fail(SandboxLostError("the sandbox was stopped"))
        await self.connections.ended()
        self._writer.transport.abort()  # a machine that does not read would make any other end wait
        with suppress(Exception):
            await self._writer.wait_closed()

    # -- receiving -----------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        try:
            while data := await self._reader.read(65536):
                for kind, stream, payload in self._decoder.feed(data):
                    self._frame(kind, stream, payload)
                if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                    await self.drain()
            await self._ended("the machine's connection was closed")
        except (wire.WireError, GuestProtocolError) as error:
            self._fail(GuestProtocolError(f"the machine broke the protocol: {error}"))
        except OSError as error:
            await self._ended(f"the machine's connection broke: {error}")

    async def _ended(self, what: str) -> None:
        if self._error is None and self.explain is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(EXPLAIN_TIMEOUT_S):
                    self._fail(await self.explain())
        self._fail(SandboxLostError(what))

    def _frame(self, kind: int, stream: int, payload: bytes) -> None:
        if stream >= wire.FIRST_CONNECTION:
            self.connections.frame(kind, stream, payload)
        elif stream:
            process = self._processes.get(stream)
            if process is not None:
                process.on_frame(kind, payload)
            elif stream >= self._next_stream:
                raise wire.WireError(f"frame for stream {stream}, which was never opened")
        elif kind == wire.HELLO:
            if wire.decode_json(payload).get("protocol") != wire.VERSION:
                raise wire.WireError("the machine speaks another version of the protocol")
            if not self._hello.done():
                self._hello.set_result(None)
        elif kind == wire.READY:
            if not self._asked_ready or self._ready.done():
                raise wire.WireError("READY that nobody asked for")
            nonce = str(wire.decode_json(payload).get("nonce"))
            if self._awaited is not None and nonce == self._awaited[0]:
                # Here, not when `init` goes on: a connection may stand right behind this frame.
                _, self.connections.handler, self.connections.gate = self._awaited
            self._ready.set_result(nonce)
        elif kind == wire.DOWN:
            reason = shown(wire.decode_json(payload).get("reason"))[:200]
            self._fail(SandboxLostError(f"the machine went down: {reason}", by_guest=True))
        else:
            raise wire.WireError(f"frame kind {kind} on stream 0")

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        for process in list(self._processes.values()):
            process.fail(self._error)
        for future in (self._hello, self._ready):
            if not future.done():
                future.set_exception(self._error)
        self.connections.end()
        self.gone.set()

    def fail(self, error: Exception) -> None:
        """The machine is known to be gone for another reason than the connection shows."""
        self._error = (
            None if isinstance(self._error, SandboxLostError) and not self._error.by_guest else self._error
        )
        self._fail(error)

    def check(self) -> None:
        """Raise what ended the connection, if anything did."""
        if self._error is not None:
            raise self._error

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, kind: int, stream: int, payload: bytes = b"") -> None:
        self.send_raw(wire.encode(kind, stream, payload))

    def send_json(self, kind: int, stream: int, value: dict[str, Any]) -> None:
        self.send_raw(wire.encode_json(kind, stream, value))

    def send_raw(self, data: bytes) -> None:
        if self._held_back is not None:
            self._held_back += data
        elif self._error is None:
            self._writer.write(data)

    async def drain(self) -> None:
        with suppress(OSError):
            await self._writer.drain()

    # -- streams -------------------------------------------------------------------------------------------------

    def _new(self, terminal: bool) -> MuxProcess:
        self.check()
        process = MuxProcess(self, self._next_stream, terminal)
        self._processes[self._next_stream] = process
        self._next_stream += 1
        return process

    async def open(self, request: dict[str, Any], *, terminal: bool = False) -> MuxProcess:
        """Open a stream. Raises GuestOperationError when the machine refuses."""
        process = self._new(terminal)
        try:
            self.send_json(wire.OPEN, process.stream, request)
        except wire.WireError:
            self.forget(process.stream)
            message = "the command line and environment together are longer than 64 KiB"
            raise GuestOperationError(message, code="bad-request", fix="put the text into a file") from None
        try:
            await process.opened()
        except asyncio.CancelledError:
            self.send(wire.CLOSE, process.stream)
            raise
        return process

    async def exec(
        self,
        argv: tuple[str, ...],
        cwd: str,
        env: Mapping[str, str],
        terminal: tuple[int, int] | None = None,
        *,
        no_input: bool = False,
    ) -> MuxProcess:
        request: dict[str, Any] = {"op": "exec", "argv": list(argv), "cwd": cwd, "env": dict(env)}
        if no_input:
            request["no_input"] = True
        if terminal:
            request["terminal"] = list(terminal)
        return await self.open(request, terminal=terminal is not None)

    async def prepare(self, program: PreparedProcess, env: Mapping[str, str]) -> None:
        """Start a program that waits for `attach`, perhaps in a restored machine.

        Returns when it is ready, or when its time for that is over: it goes on getting ready then. Raises
        GuestOperationError when it cannot be started.
        """
        request: dict[str, Any] = {"op": "prepare", "name": program.name, "argv": list(program.argv)}
        request |= {"cwd": program.cwd, "env": {**env, **program.env}, "ready": program.says_ready}
        self.prepared[program.name] = self._next_stream
        opening = asyncio.create_task(self.open(request))
        opening.add_done_callback(_retrieve)
        await asyncio.wait([opening], timeout=program.ready_timeout_s)
        if opening.done():
            await opening
        else:
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def hold(self, process: MuxProcess, name: str) -> None:
        """Make a running program a prepared one, which waits for `attach`: it goes on, but what it writes waits in its
        pipes. All that it wrote before has arrived when this returns. Raises GuestOperationError(not-found)."""
        request = self._new(False)
        self.send_json(wire.OPEN, request.stream, {"op": "hold", "stream": process.stream, "name": name})
        await request.opened()
        self.forget(request.stream)
        self.prepared[name] = process.stream

    async def rest(self) -> None:
        """Let the machine do ahead what the next command would wait for; called before it is saved."""
        process = await self.open({"op": "rest"})
        self.forget(process.stream)

    async def set_clock(self, at: float | None, zone: str | None, data: bytes | None) -> None:
        """`data` is the zone's file (RFC 8536). Raises GuestOperationError(bad-request)."""
        request: dict[str, Any] = {"op": "clock", "at": at}
        if zone is not None and data is not None:
            request["zone"] = {"name": zone, "data": base64.b64encode(data).decode()}
        process = await self.open(request)
        self.forget(process.stream)

    async def still(self) -> None:
        """Make the connection quiet: all that the machine has sent is here, and nothing is on its way. What this side
        wants to say waits for `go_on`, which must follow whatever happens."""
        process = self._new(False)
        self._still = process.stream
        self.send_json(wire.OPEN, process.stream, {"op": "still"})
        self._held_back = bytearray()
        try:
            await process.opened()
        finally:
            self.forget(process.stream)

    def go_on(self) -> None:
        """End what `still` began, if it did."""
        if self._held_back is not None:
            waiting, self._held_back = self._held_back, None
            self.send_raw(wire.encode(wire.CLOSE, self._still) + waiting)

    def at_rest(self) -> LinkAtRest:
        """What a copy of the machine, taken now, needs of this side. Only between `still` and `go_on`."""
        live = [process for process in self._processes.values() if not process.leaving]
        return LinkAtRest(
            self._still,
            self._next_stream,
            dict(self.prepared),
            tuple(process.at_rest() for process in live),
            own_frames(bytes(self._held_back or b"")),
        )

    def take_up(self, rest: LinkAtRest) -> None:
        """Go on with a copy of a machine; instead of what `start` gets to know."""
        self._next_stream, self.prepared = rest.next_stream, dict(rest.prepared)
        for each in rest.streams:
            process = self._processes[each.stream] = MuxProcess(self, each.stream, False)
            process.take_up(each)
        self.send_raw(wire.encode(wire.CLOSE, rest.still) + rest.unsent)

    @property
    def programs(self) -> tuple[MuxProcess, ...]:
        """Those whose streams are open."""
        return tuple(self._processes.values())

    def program(self, stream: int) -> MuxProcess | None:
        """The open program of this number."""
        return self._processes.get(stream)

    async def attach(self, name: str) -> MuxProcess:
        """The prepared program. Raises GuestOperationError(not-found)."""
        number = self.prepared.get(name)
        if number is None:
            raise GuestOperationError(f"nothing was prepared under the name {name!r}", code="not-found")
        # Registered before the request is sent: its frames may stand right behind the answer.
        process = self._processes.get(number) or MuxProcess(self, number, False)
        process.renew_windows()
        self._processes[number] = process
        request = self._new(False)
        self.send_json(wire.OPEN, request.stream, {"op": "attach", "name": name})
        await request.opened()
        self.forget(request.stream)
        return process

    @property
    def next_stream(self) -> int:
        """Number that the next stream will get: a restored machine goes on from its template's."""
        return self._next_stream

    def forget(self, stream: int) -> None:
        self._processes.pop(stream, None)


DEFAULT_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
    "PWD": WORKSPACE,
}
"""Environment of a program before the image's, the template's and its own additions."""
