"""MCP servers that run inside the sandbox: the weather of what is asked of them, and its record.

The program `aegis-mcp-tap` (sandbox/mcp_tap.py) stands before such a server and keeps one connection to a name that
the gateway answers itself. After an HTTP upgrade the two speak frames: a line of JSON and, when it says `size`, so
many bytes.

    {"call": N, "size": S}    + the client's request, as it was written; a batch is one request
    {"call": N, "size": S, "whole": false}    one that is too long: it was passed on unread
    {"result": N, "size": S}  + what the server answered; with `whole` as above
    {"cancel": N}             the client has given the request up
    {"ended": CODE}           the server has ended

The gateway's frames are {"call": N, "do": WHAT}. Of a request: `pass` it on (with `size`: this one instead), or
`skip`: pass it on and tell nothing more of it. For the client: `same` (the server's answer as it is), `give` (with
`size`: this one) or `drop` (nothing). `wait`: it is decided later. `close`: the server is to die.

Each request becomes an exchange of kind `mcp-stdio`; interceptors take it for a POST to NAME.mcp-stdio.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aegis.gateway import heads, jsonrpc
from aegis.gateway.base import Framing, ReadBody, Request, ResponsePlan
from aegis.gateway.deliver import Whole, deliver, refusal
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.names import Host
from aegis.gateway.reader import Head
from aegis.gateway.recorder import ExchangeRecorder
from aegis.gateway.streams import READ_BYTES, Peekable

if TYPE_CHECKING:
    from aegis.gateway.session import Session

_log = logging.getLogger(__name__)

HOST = Host("mcp-tap.internal")
PORT = 80
SUFFIX = ".mcp-stdio"
"""Behind a server's name in `match` and in the trace."""

MAX_REQUEST_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_HELD_BYTES = 8 * 1024 * 1024
"""Of one connection's calls in progress, and so many calls; what is more passes unasked."""
MAX_CALLS = 64
MAX_TAPS = 32
"""Connections of one trial at once."""
_STEPS = 50

_PROTOCOL = b"mcp-tap/1"
_MAX_HEAD_BYTES = 1024
_NAME = re.compile(r"/([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)")
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + _PROTOCOL + b"\r\n\r\n"


def is_reserved(host: Host, port: int) -> bool:
    return host == HOST and port == PORT


def server_of(head: Head, place: tuple[Host, int] | None) -> str | None:
    """The name of the server when the request, on a connection to `place` or to a proxy, asks for this protocol. Every
    other request to the reserved name is what it would be without all this: one to a host that nobody allowed."""
    if head.method != "GET" or heads.first(head.headers, b"upgrade") != _PROTOCOL:
        return None
    try:
        target = heads.parse_target(head.method, head.target)
    except Failure:
        return None
    if target.authority is not None:
        place = target.authority[0], target.authority[1] or PORT
    if place is None or not is_reserved(*place) or target.scheme not in (None, "http"):
        return None
    match = _NAME.fullmatch(target.path)
    return None if match is None else match.group(1)


async def serve(session: Session, stream: Peekable, number: int, server: str) -> None:
    """Until the program goes. Raises `OSError`."""
    if session.taps >= MAX_TAPS:
        await deliver(refusal(503), stream.write, close=True, http_version="1.1")
        return
    session.taps += 1
    try:
        await _Tap(session, stream, number, server).run()
    finally:
        session.taps -= 1


@dataclass(eq=False)
class _Call:
    """One request of the client."""

    number: int
    line: bytes
    recorder: ExchangeRecorder
    request: Request
    message: Any
    held_bytes: int
    answers: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    """Of the server; None for one that passes unread."""
    last_answer: bytes | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A fault may forward it more than once, also at the same time: one after the other."""
    awaiting: bool = False
    """Whether the server owes an answer."""
    replied: bool = False
    """Whether what was told last has been decided."""
    unread: bool = False
    why: str = "cancelled: the connection was ended with the trial"
    """The exchange's error when its task is cancelled."""
    task: asyncio.Task[None] | None = None


class _Tap:
    """One connection: one server, its calls in progress."""

    def __init__(self, session: Session, stream: Peekable, number: int, server: str) -> None:
        self._session = session
        self._stream = stream
        self._number = number
        self._host = server + SUFFIX
        self._calls: dict[int, _Call] = {}
        self._held_bytes = 0
        self._buffer = bytearray()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        try:
            await self._stream.write(_SWITCHED)
            while (frame := await self._frame()) is not None:
                await self._take(*frame)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            # Not our program, or not its whole frames.
            await self._stream.abort()
        except asyncio.CancelledError:
            await self._end_calls(list(self._calls.values()))
            raise
        finally:
            await self._end_calls(list(self._calls.values()), "client-gone: it went without an answer")

    # -- frames ----------------------------------------------------------------------------------------------------

    async def _frame(self) -> tuple[dict[str, Any], bytes] | None:
        """None at the end. Raises `ValueError` for what is no frame."""
        while (end := self._buffer.find(b"\n", 0, _MAX_HEAD_BYTES)) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ValueError("a frame's head is too long")
            if not await self._read():
                return None
        head = json.loads(self._buffer[:end])
        if not isinstance(head, dict):
            raise ValueError("a frame's head is no object")
        size = 0 if head.get("whole") is False else int(head.get("size", 0))
        if not 0 <= size <= MAX_ANSWER_BYTES:
            raise ValueError("a frame is too long")
        del self._buffer[: end + 1]
        while len(self._buffer) < size:
            if not await self._read():
                return None
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return head, body

    async def _read(self) -> bool:
        data = await self._stream.read(READ_BYTES)
        self._buffer += data
        return bool(data)

    async def _reply(self, call: _Call, do: str, body: bytes | None = None) -> None:
        """Raises `OSError` when the program is gone."""
        call.replied = True
        await self._write(call.number, do, body)

    async def _write(self, number: int, do: str, body: bytes | None = None) -> None:
        head: dict[str, Any] = {"call": number, "do": do}
        if body is not None:
            head["size"] = len(body)
        data = json.dumps(head).encode() + b"\n" + (body or b"")
        async with self._writing:
            try:
                async with asyncio.timeout(self._session.bounds.write_timeout_s):
                    await self._stream.write(data)
            except TimeoutError:
                await self._stream.abort()
                raise OSError("the program does not read") from None

    async def _take(self, head: dict[str, Any], body: bytes) -> None:
        if "call" in head:
            await self._asked(int(head["call"]), body, None if head.get("whole", True) else int(head["size"]))
        elif "ended" in head:
            waiting = [call for call in self._calls.values() if call.awaiting]
            await self._end_calls(waiting, f"upstream-closed: the server ended with {int(head['ended'])}")
        elif "cancel" in head:
            if (call := self._calls.get(int(head["cancel"]))) is not None:
                await self._end_calls([call], "client-gone: it cancelled the request")
        elif (call := self._calls.get(int(head["result"]))) is not None:
            await self._answered(call, body, None if head.get("whole", True) else int(head["size"]))
        else:
            # Of a call that is over: nobody may wait for what becomes of it.
            await self._write(int(head["result"]), "same")

    # -- calls -----------------------------------------------------------------------------------------------------

    async def _asked(self, number: int, line: bytes, unread_bytes: int | None) -> None:
        if number in self._calls:
            raise ValueError("a call's number is used twice")
        room = len(self._calls) < MAX_CALLS and self._held_bytes + len(line) <= MAX_HELD_BYTES
        if unread_bytes is None and (not room or len(line) > MAX_REQUEST_BYTES):
            unread_bytes = len(line)
            await self._write(number, "skip")
            line = b""
        recorder = self._session.begin("mcp-stdio", self._number)
        if recorder is None:
            if unread_bytes is None:
                await self._write(number, "skip")
            return
        if unread_bytes is not None:
            recorder.scheme, recorder.host, recorder.method, recorder.target = (
                "stdio",
                self._host,
                "POST",
                "/",
            )
            recorder.request.count_unread(max(0, unread_bytes))
            await recorder.finish()
            return
        call = self._calls[number] = self._call(number, line, recorder)
        self._held_bytes += call.held_bytes
        call.task = asyncio.ensure_future(self._carry(call))
        await self._first_reply(call)

    def _call(self, number: int, line: bytes, recorder: ExchangeRecorder) -> _Call:
        message = jsonrpc.parsed(line)
        request = Request(
            method="POST",
            scheme="stdio",
            host=self._host,
            port=0,
            target=jsonrpc.path(message),
            headers=jsonrpc.headers(message),
            body=ReadBody(line),
            layer="mcp",
        )
        recorder.scheme, recorder.host, recorder.method = request.scheme, request.host, request.method
        recorder.target, recorder.headers = request.target, request.headers
        recorder.request.write(line)
        return _Call(number, line, recorder, request, message, len(line))

    async def _answered(self, call: _Call, line: bytes, unread_bytes: int | None) -> None:
        if not call.awaiting:
            raise ValueError("an answer that nobody waits for")
        call.awaiting = False
        if unread_bytes is None and self._held_bytes + len(line) > MAX_HELD_BYTES:
            unread_bytes = len(line)
            await self._write(call.number, "same")
        if unread_bytes is not None:
            call.recorder.status = 200
            call.recorder.response.count_unread(max(0, unread_bytes))
            call.answers.put_nowait(None)
            return
        call.held_bytes += len(line)
        self._held_bytes += len(line)
        call.replied = False
        call.answers.put_nowait(line)
        await self._first_reply(call)

    async def _first_reply(self, call: _Call) -> None:
        """What nobody delays is decided within a few steps of the loop, however busy this host is: what comes behind it
        waits for that, and so stays behind it. What takes longer is overtaken."""
        for _ in range(_STEPS):
            if call.replied:
                return
            await asyncio.sleep(0)
        await self._write(call.number, "wait")

    async def _carry(self, call: _Call) -> None:
        """A call from its request to its answer. Raises nothing but cancellation."""
        error: str | None = None
        try:
            error = await self._intercepted(call)
        except OSError:
            error = "client-gone: it went without an answer"
        except asyncio.CancelledError:
            error = call.why
            raise
        except Exception as broken:
            error = f"internal: {type(broken).__name__}"
            _log.exception("exchange %d", call.recorder.number)
            with contextlib.suppress(OSError):
                await self._reply(call, "skip" if call.last_answer is None else "same")
        finally:
            call.recorder.hit(call.request.notes)
            try:
                await call.recorder.finish(error)
            finally:
                self._calls.pop(call.number, None)
                self._held_bytes -= call.held_bytes

    async def _intercepted(self, call: _Call) -> str | None:
        """The exchange's error."""
        try:
            plan = await self._session.interceptor.intercept(
                call.request, lambda request: self._forward(call, request)
            )
            try:
                body = b"".join([piece async for piece in plan.body])
            finally:
                await plan.release()
        except (Failure, Cut) as failure:
            if call.unread:
                return None
            await self._reply(call, "close")
            return failure.error if isinstance(failure, Cut) else str(failure)
        if call.unread:
            return None
        line = call.last_answer if body == call.last_answer else jsonrpc.line(plan, body, call.message)
        call.recorder.status, call.recorder.response_headers = 200, plan.headers
        call.recorder.first_byte()
        if line is None:
            await self._reply(call, "drop")
            return None
        call.recorder.response_piece(line)
        await self._reply(call, *(("same",) if line == call.last_answer else ("give", line)))
        return None

    async def _forward(self, call: _Call, request: Request) -> ResponsePlan:
        """Fulfils `Forward`: the program passes the request to the server. Raises `Failure` for an answer that is too
        long to be looked at: the client has it then."""
        sent = b""
        while piece := await request.body.read():
            sent += piece
        async with call.turn:
            call.awaiting = True
            await self._reply(call, "pass", None if sent == call.line else sent)
            line = await call.answers.get()
        if line is None:
            call.unread = True
            raise Failure("unread", "the answer was too long to be looked at", status=None)
        call.last_answer = line
        headers = ((b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(line)))
        return ResponsePlan(200, "OK", headers, Framing.LENGTH, Whole(line))

    async def _end_calls(self, calls: list[_Call], why: str | None = None) -> None:
        tasks = {call.task for call in calls if call.task is not None}
        for call in calls:
            call.why = why or call.why
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
