"""Connections to a fixed host and port: what they speak is found out from who speaks first and what is said."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aegis.gateway.base import Notes, Shut
from aegis.gateway.clienthello import (
    ACCESS_DENIED,
    HANDSHAKE_FAILURE,
    MAX_HELLO_BYTES,
    Hello,
    parse_hello,
    sniff,
)
from aegis.gateway.dial import endpoint
from aegis.gateway.failures import Failure, denied, injected, shut_failure
from aegis.gateway.http import HttpConnection, Place
from aegis.gateway.names import Host, parse_host
from aegis.gateway.policy import DEFAULT_PORTS, Admission
from aegis.gateway.recorder import ExchangeRecorder
from aegis.gateway.streams import Peekable
from aegis.gateway.tls import TLSStream
from aegis.gateway.tunnel import Check, Counted, Relay

if TYPE_CHECKING:
    from aegis.gateway.session import Session


@dataclass(frozen=True, slots=True)
class _Upstream:
    stream: Peekable
    address: str


class Arrival:
    """One connection: a granted CONNECT, or one that the client dialled itself. `tls` says that the stream is the
    inside of a TLS connection."""

    def __init__(
        self,
        session: Session,
        number: int,
        host: Host,
        port: int,
        admission: Admission,
        *,
        tls: bool = False,
    ) -> None:
        self._session = session
        self._number = number
        self._host = host
        self._port = port
        self._admission = admission
        self._tls = tls

    async def never_came_about(self, stream: Peekable, shut: Shut) -> None:
        """Reset it at once: of a connection that the client's kernel had opened before anybody was asked."""
        await stream.abort()
        await self._failed(shut_failure(shut, proxied=False), "tcp", shut.notes)

    async def serve(self, stream: Peekable) -> None:
        """To its end. Raises `OSError` when the client breaks it off."""
        upstream: _Upstream | None = None
        try:
            if self._may_wait(stream) and not await self._client_speaks(stream):
                upstream = await self._dial()
                if await self._server_speaks(stream, upstream):
                    await self._carry(stream, "tcp", upstream)
                    return
            kind = await self._sniff(stream)
            if kind == "other":
                await self._carry(stream, "tcp", upstream)
                return
        except Failure as failure:
            await self._failed(failure, "tcp")
            return
        if upstream is not None:
            await upstream.stream.abort()
        if kind == "tls":
            await self._serve_tls(stream)
        elif kind == "http":
            place = Place(self._host, self._port, self._tls)
            await HttpConnection(self._session, stream, self._number, place).run()

    def _may_wait(self, stream: Peekable) -> bool:
        """Whether the server may be the one to speak first: not on the web's own ports."""
        return self._admission.by_port and self._port not in DEFAULT_PORTS and not stream.peeked

    async def _client_speaks(self, stream: Peekable) -> bool:
        try:
            async with asyncio.timeout(self._session.bounds.first_bytes_s):
                await stream.more()
        except TimeoutError:
            return False
        return True

    async def _server_speaks(self, stream: Peekable, upstream: _Upstream) -> bool:
        """Wait for whoever speaks first."""
        client = asyncio.ensure_future(stream.more())
        server = asyncio.ensure_future(upstream.stream.more())
        try:
            await asyncio.wait(
                {client, server},
                timeout=self._session.bounds.idle_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (client, server):
                task.cancel()
            await asyncio.gather(client, server, return_exceptions=True)
        return bool(upstream.stream.peeked) or upstream.stream.ended

    async def _sniff(self, stream: Peekable) -> Literal["tls", "http", "other", "nothing"]:
        bounds = self._session.bounds
        while True:
            kind = sniff(stream.peeked)
            if kind == "tls" and self._tls:
                return "other"
            if kind != "more":
                return kind
            limit = bounds.head_timeout_s if stream.peeked else bounds.idle_timeout_s
            try:
                async with asyncio.timeout(limit):
                    more = await stream.more()
            except TimeoutError:
                more = False
            if not more:
                return "other" if stream.peeked else "nothing"

    async def _dial(self) -> _Upstream:
        if self._session.replaying:
            raise Failure("not-recorded", "only HTTP can be replayed", status=None)
        dialled = await self._session.dialer.connect(
            endpoint(self._admission, tls=self._tls), self._session.policy
        )
        return _Upstream(Peekable(dialled.stream), dialled.address)

    async def _carry(
        self, stream: Peekable, kind: Literal["tcp", "tls-passthrough"], upstream: _Upstream | None
    ) -> None:
        """Join client and upstream. Raises `Failure` as long as nothing was recorded."""
        if not self._admission.by_port and kind == "tcp":
            raise denied(
                f"neither HTTP nor TLS: to allow other protocols, allow {self._host.in_url}:{self._port} by its port"
            )
        upstream = upstream or await self._dial()
        recorder = self._session.begin(kind, self._number)
        if recorder is None:
            await upstream.stream.abort()
            return
        self._describe(recorder)
        recorder.upstream = upstream.address
        bounds = self._session.bounds
        notes = Notes()
        # Counted where it reaches the client: an interceptor may keep it back.
        counted = Counted(stream, recorder.count_response)
        client = self._session.interceptor.tunnel(self._host.name, self._port, counted, notes)
        relay = Relay(
            client,
            upstream.stream,
            outgoing=self._guard(recorder),
            incoming=lambda data: data,
            idle_s=bounds.tunnel_idle_timeout_s,
            write_s=bounds.write_timeout_s,
        )
        error: str | None = None
        try:
            await relay.run()
        except Failure as failure:
            error = str(failure)
            self._session.note(recorder, failure)
        except asyncio.CancelledError:
            error = "cancelled: the connection was ended with the trial"
            raise
        finally:
            recorder.hit(notes)
            await recorder.finish(error)

    def _guard(self, recorder: ExchangeRecorder) -> Check:
        """Placeholders do not leave through a tunnel that can be read either."""
        watcher = self._session.vault.watcher()

        def check(data: bytes) -> bytes:
            recorder.count_request(data)
            if found := watcher.found(data):
                raise self._session.vault.refusal(found, "a TCP stream", self._host.name)
            return data

        return check

    async def _failed(self, failure: Failure, kind: str, notes: Notes | None = None) -> None:
        recorder = self._session.begin(kind, self._number)
        if recorder is not None:
            self._describe(recorder)
            if notes is not None:
                recorder.hit(notes)
            self._session.note(recorder, failure)
            await recorder.finish(str(failure))

    def _describe(self, recorder: ExchangeRecorder) -> None:
        recorder.scheme = "tls" if self._tls or recorder.kind == "tls-passthrough" else "tcp"
        recorder.host, recorder.port = self._host.name, self._port
        recorder.routed = self._admission.route is not None

    async def _serve_tls(self, stream: Peekable) -> None:
        try:
            hello = await self._hello(stream)
            self._check_name(hello)
            passthrough = self._admission.passthrough
            shut = self._session.interceptor.handshaking(self._host.name, self._port, opened=not passthrough)
            if shut is not None and not shut.needs_certificate:
                await self._break_off(stream, shut)
                return
            if passthrough:
                await self._carry(stream, "tls-passthrough", None)
                return
        except Failure as failure:
            await self._failed(failure, "http")
            with contextlib.suppress(OSError):
                await stream.write(ACCESS_DENIED)
            return
        opened = await self._open(stream, shut)
        if opened is not None:
            inside = Arrival(self._session, self._number, self._host, self._port, self._admission, tls=True)
            try:
                await inside.serve(Peekable(opened))
            finally:
                with contextlib.suppress(OSError):
                    await opened.close()

    async def _break_off(self, stream: Peekable, shut: Shut) -> None:
        """As a server does that wants nothing of what the client offers, or that falls over."""
        if shut.tls == "reset":
            await stream.abort()
        else:
            with contextlib.suppress(OSError):
                await stream.write(HANDSHAKE_FAILURE)
        kind = "tls-passthrough" if self._admission.passthrough else "http"
        await self._failed(shut_failure(shut, proxied=False), kind, shut.notes)

    async def _open(self, stream: Peekable, shut: Shut | None) -> TLSStream | None:
        """The inside of the client's TLS; None when it did not accept our certificate (recorded). With `shut` that is
        one which it should not accept (recorded if it does, too)."""
        bend = "" if shut is None else shut.tls
        session = self._session
        context = session.authority.context(self._host, bend, session.shown_s)
        try:
            async with asyncio.timeout(self._session.bounds.head_timeout_s):
                opened = await TLSStream.accept(stream, context)
            if shut is not None:
                text = f"the client accepts a certificate that it should not: {shut.tls}"
                await self._failed(injected(text), "http", shut.notes)
            return opened
        except TimeoutError:
            reason = "never finished"
        except ssl.SSLError as error:
            reason = (error.reason or "failed").lower().replace("_", " ")
        except OSError:
            reason = "broken off by the client"
        if shut is not None:
            await self._failed(shut_failure(shut, proxied=False), "http", shut.notes)
            return None
        text = f"{reason}; a client that pins certificates needs `tls: passthrough` for {self._host.name}"
        await self._failed(Failure("tls-handshake", text, status=None), "http")
        return None

    async def _hello(self, stream: Peekable) -> Hello:
        try:
            async with asyncio.timeout(self._session.bounds.head_timeout_s):
                while (hello := parse_hello(stream.peeked)) is None:
                    if len(stream.peeked) > 2 * MAX_HELLO_BYTES or not await stream.more():
                        raise ValueError("it never ended")
                return hello
        except (ValueError, TimeoutError) as error:
            raise Failure("tls-handshake", f"no proper ClientHello: {error}", status=None) from error

    def _check_name(self, hello: Hello) -> None:
        """What TLS says must be what was dialled: else an allowed name would open the way to another host behind
        the same address. No name at all says nothing against it."""
        if hello.server_name is None:
            return
        try:
            named = parse_host(hello.server_name)
        except ValueError as error:
            raise denied(f"TLS names an impossible host: {error}") from error
        if named != self._host:
            raise denied(f"TLS names {named.name}, the connection is to {self._host.name}:{self._port}")
