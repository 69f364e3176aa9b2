"""HTTP with the guest: one connection's requests, one after another, each decided, answered and recorded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.gateway import heads, tap
from aegis.gateway.base import ByteStream, Framing, Notes, Request, ResponsePlan
from aegis.gateway.deadlines import Alarm, Deadlines, Guard
from aegis.gateway.deliver import deliver, refusal
from aegis.gateway.failures import Cut, Failure, denied, malformed, shut_failure
from aegis.gateway.forward import Forwarder, Released, protected
from aegis.gateway.names import Host
from aegis.gateway.outgoing import OutgoingBody
from aegis.gateway.policy import Admission
from aegis.gateway.reader import ClientBody, Head, RequestReader
from aegis.gateway.recorder import ExchangeRecorder
from aegis.gateway.streams import Peekable
from aegis.gateway.tunnel import Relay

if TYPE_CHECKING:
    from aegis.gateway.session import Session

_log = logging.getLogger(__name__)

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_WATCH_AFTER_S = 0.25
_LINGER_BYTES = 1024 * 1024
_LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """What the client is connected to: a host it named by CONNECT or dialled."""

    host: Host
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT that was granted: the connection is a tunnel from here on."""

    stream: Peekable
    host: Host
    port: int
    admission: Admission


class HttpConnection:
    """Serves requests to a fixed `place`, or to wherever each says when `place` is None (a proxy's client)."""

    def __init__(self, session: Session, stream: ByteStream, number: int, place: Place | None) -> None:
        self._session = session
        self._stream = stream
        self._number = number
        self._place = place
        self._deadlines = session.deadlines
        self._reader = RequestReader(stream, session.bounds, session.deadlines)
        self._sent = False
        self._served = False
        """Whether a request has been answered on this connection."""

    async def run(self) -> Connect | None:
        """Until the connection ends. The granted CONNECT, when there was one. Raises `OSError`."""
        while True:
            try:
                got = await self._reader.next()
            except Failure as failure:
                await self._not_a_request(failure)
                return None
            if got is None:
                return None
            head, body = got
            if head.method == "CONNECT" and self._place is None:
                return await self._connect(head)
            if body.complete and (server := tap.server_of(head, self._dialled)) is not None:
                stream = Peekable(self._stream, self._reader.rest())
                await tap.serve(self._session, stream, self._number, server)
                return None
            if not await self._one(head, body):
                return None

    @property
    def _dialled(self) -> tuple[Host, int] | None:
        return None if self._place is None or self._place.tls else (self._place.host, self._place.port)

    async def _not_a_request(self, failure: Failure) -> None:
        recorder = self._begin(None)
        if recorder is not None:
            recorder.status = failure.status
            if self._place is not None:
                self._locate(recorder, self._place)
            await recorder.finish(str(failure))
        if failure.status is not None:
            with contextlib.suppress(OSError):
                await deliver(refusal(failure.status), self._write, close=True, http_version="1.1")
        await self._linger(None)

    def _begin(self, head: Head | None) -> ExchangeRecorder | None:
        recorder = self._session.begin("http", self._number)
        if recorder is not None and head is not None:
            recorder.method = head.method
            recorder.target = head.target
            recorder.headers = head.headers
        return recorder

    async def _connect(self, head: Head) -> Connect | None:
        place: Place | None = None
        notes = Notes()
        try:
            target = heads.parse_target("CONNECT", head.target)
            assert target.authority is not None
            place = Place(target.authority[0], target.authority[1] or 443, True)
            admission = self._session.admit(place.host, place.port)
            self._come_about(place, notes)
        except Failure as failure:
            recorder = self._begin(head)
            if recorder is not None:
                recorder.hit(notes)
                if place is not None:
                    self._locate(recorder, place)
                self._session.note(recorder, failure)
                recorder.status = failure.status
                await recorder.finish(str(failure))
            await deliver(refusal(failure.status or 403), self._write, close=True, http_version="1.1")
            return None
        await self._write(ESTABLISHED)
        return Connect(Peekable(self._stream, self._reader.rest()), place.host, place.port, admission)

    async def _one(self, head: Head, body: ClientBody) -> bool:
        """One exchange; whether the connection can carry another."""
        recorder = self._begin(head)
        if recorder is None:
            await deliver(refusal(503), self._write, close=True, http_version="1.1")
            return False
        self._sent = False
        notes = Notes()
        error: str | None = None
        try:
            return await self._exchange(recorder, head, body, notes)
        except Failure as failure:
            error = str(failure)
            self._session.note(recorder, failure)
            return await self._refuse(recorder, failure, head, body)
        except Cut as cut:
            error = cut.error
            await self._break_off(cut)
            return False
        except OSError as gone:
            error = f"client-gone: {type(gone).__name__}"
            return False
        except asyncio.CancelledError:
            error = "cancelled: the connection was ended with the trial"
            raise
        except Exception as broken:
            error = f"internal: {type(broken).__name__}"
            _log.exception("exchange %d", recorder.number)
            return False
        finally:
            self._served = True
            recorder.hit(notes)
            await recorder.finish(error)

    async def _break_off(self, cut: Cut) -> None:
        if cut.reset:
            await self._stream.abort()
        elif cut.ragged and isinstance(self._stream, Peekable):
            await self._stream.end_ragged()
        else:
            await self._stream.close()

    async def _refuse(
        self, recorder: ExchangeRecorder, failure: Failure, head: Head, body: ClientBody
    ) -> bool:
        if self._sent or failure.status is None:
            await self._stream.close()
            return False
        text = "Request blocked by egress policy" if failure.kind == "secret-refused" else None
        plan = refusal(failure.status, head_request=head.method == "HEAD", text=text)
        keep = plan.keep_alive and head.keep_alive and body.complete
        recorder.status, recorder.reason = plan.status, plan.reason
        recorder.response_headers = plan.headers
        with contextlib.suppress(OSError, Failure):
            await self._deliver(recorder, plan, head, close=not keep)
            if not keep:
                await self._linger(body)
            return keep
        return False

    def _locate(self, recorder: ExchangeRecorder, place: Place) -> None:
        recorder.scheme = "https" if place.tls else "http"
        recorder.host = place.host.name
        recorder.port = place.port

    def _where(self, head: Head) -> tuple[Place, str]:
        """The host that this request is for, and its path. Raises `Failure`."""
        target = heads.parse_target(head.method, head.target)
        named = heads.host_header(head.headers, head.http_version)
        place = self._place
        if place is None:
            if target.authority is None:
                raise malformed("a request for the proxy itself")
            tls = target.scheme in ("https", "wss")
            place = Place(target.authority[0], target.authority[1] or (443 if tls else 80), tls)
        elif target.authority is not None:
            port = target.authority[1] or place.port
            if (target.authority[0], port) != (place.host, place.port):
                raise malformed("the URL is for another host than the connection")
        if named is not None and (named[0] != place.host or named[1] not in (None, place.port)):
            said = f"{named[0].name}:{named[1]}" if named[1] else named[0].name
            if target.authority is not None:
                raise malformed(f"the Host header says {said}, the URL {place.host.name}")
            raise denied(f"the Host header says {said}, the connection is to {place.host.name}:{place.port}")
        return place, target.path

    async def _exchange(self, recorder: ExchangeRecorder, head: Head, body: ClientBody, notes: Notes) -> bool:
        session = self._session
        place, path = self._where(head)
        self._locate(recorder, place)
        recorder.target = path
        admission = session.admit(place.host, place.port)
        recorder.routed = admission.route is not None
        if self._place is None:
            self._come_about(place, notes)
        safe = protected(admission, tls=place.tls)
        released = session.vault.release(path, head.headers, place.host, place.port, protected=safe)
        outgoing = OutgoingBody(body, session.vault, recorder.request, place.host.name)
        await outgoing.prefetch()
        watch = _Watch(self._reader, outgoing, self._deadlines)
        request = Request(
            method=head.method,
            scheme=recorder.scheme,
            host=place.host.name,
            port=place.port,
            target=path,
            headers=head.headers,
            body=outgoing,
            http_version=head.http_version,
            reused=self._served,
            notes=notes,
            end_with_client=watch.start,
        )
        forwarder = Forwarder(session, admission, tls=place.tls, released=Released(request, *released))
        try:
            with watch.scope:
                # A client that said this is its last request may close its own side and go on reading.
                if head.keep_alive:
                    watch.start()
                try:
                    plan = await session.interceptor.intercept(request, forwarder)
                    if forwarder.connection is None:
                        return await self._respond(recorder, plan, head, outgoing, body)
                finally:
                    await watch.stop()
        except TimeoutError:
            if not watch.gone:
                raise
            text = "the client left before the response was complete"
            raise Failure("client-gone", text, status=None) from None
        return await self._switch(recorder, plan, head, forwarder)

    def _come_about(self, place: Place, notes: Notes) -> None:
        """For a client of the proxy. Raises `Failure` as a proxy that cannot reach the host answers."""
        shut = self._session.interceptor.connecting(place.host.name, place.port, proxied=True)
        if shut is not None:
            notes.faults += shut.notes.faults
            raise shut_failure(shut, proxied=True)

    async def _respond(
        self,
        recorder: ExchangeRecorder,
        plan: ResponsePlan,
        head: Head,
        outgoing: OutgoingBody,
        body: ClientBody,
    ) -> bool:
        recorder.status, recorder.reason = plan.status, plan.reason
        recorder.response_headers = plan.headers
        recorder.upstream, recorder.replayed = plan.upstream, plan.replayed
        if head.http_version == "1.0" and plan.framing is Framing.CHUNKED:
            plan.framing = Framing.CLOSE
        close = not (head.keep_alive and plan.keep_alive and outgoing.complete)
        close = close or plan.framing is Framing.CLOSE
        try:
            await self._deliver(recorder, plan, head, close=close)
        except Cut:
            if outgoing.refused is not None:
                raise outgoing.refused from None
            raise
        finally:
            await plan.release()
        if close:
            await self._linger(body)
        return not close

    async def _deliver(
        self, recorder: ExchangeRecorder, plan: ResponsePlan, head: Head, *, close: bool
    ) -> None:
        async def write(data: bytes) -> None:
            await self._write(data)
            recorder.first_byte()

        await deliver(
            plan, write, close=close, http_version=head.http_version, record=recorder.response_piece
        )

    async def _switch(
        self, recorder: ExchangeRecorder, plan: ResponsePlan, head: Head, forwarder: Forwarder
    ) -> bool:
        """After a 101: carry what comes, with values replaced; frames keep their lengths."""
        assert forwarder.connection is not None
        recorder.kind = "websocket"
        recorder.status, recorder.reason = plan.status, plan.reason
        recorder.response_headers, recorder.upstream = plan.headers, plan.upstream
        await self._deliver(recorder, plan, head, close=False)
        upstream, first = forwarder.connection.as_stream()
        bounds = self._session.bounds
        echo = self._session.vault.prompt_echo_filter()
        relay = Relay(
            plan.tunnel(Peekable(self._stream, self._reader.rest())),
            Peekable(upstream, first),
            outgoing=recorder.count_request,
            incoming=lambda data: echo.feed(recorder.count_response(data)),
            last_words=echo.flush,
            idle_s=bounds.tunnel_idle_timeout_s,
            write_s=bounds.write_timeout_s,
        )
        await relay.run()
        return False

    async def _write(self, data: bytes) -> None:
        self._sent = True
        try:
            with self._deadlines.within(self._session.bounds.write_timeout_s):
                await self._stream.write(data)
        except TimeoutError:
            raise Failure("client-stalled", "the client does not read the response", status=None) from None

    async def _linger(self, body: ClientBody | None) -> None:
        """Take what the client is still sending for a moment: closing at once would reset the connection and could
        take the answer with it."""
        with contextlib.suppress(OSError, Failure, TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._stream.write_eof()
                taken = 0
                while taken < _LINGER_BYTES:
                    if body is not None and body.complete:
                        return
                    data = await (self._reader.take() if body is None else body.read())
                    if not data:
                        return
                    taken += len(data)


class _Watch:
    """Looks out for the client's end of the connection while a response is awaited, and ends what is inside `scope`
    then: an upstream isn't kept busy for nobody."""

    def __init__(self, reader: RequestReader, outgoing: OutgoingBody, deadlines: Deadlines) -> None:
        self._reader = reader
        self._outgoing = outgoing
        self._deadlines = deadlines
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None
        self.scope = Guard(deadlines)
        self.gone = False

    def start(self) -> None:
        """May be called again."""
        if self._alarm is None:
            self._look_later()

    def _look_later(self) -> None:
        # Most exchanges are over before anybody needs to look.
        self._alarm = self._deadlines.alarm(_WATCH_AFTER_S, self._begin)

    async def stop(self) -> None:
        if self._alarm is not None:
            self._deadlines.remove(self._alarm)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _begin(self) -> None:
        if self._outgoing.complete:
            self._task = asyncio.ensure_future(self._look())
        else:
            self._look_later()

    async def _look(self) -> None:
        with contextlib.suppress(OSError):
            await self._reader.until_gone()
        self.gone = True
        self.scope.expire()
