"""A request to its upstream and the response back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

import h11

from aegis.gateway import codings, heads
from aegis.gateway.base import Framing, RawHeaders, Request, RequestBody, ResponsePlan
from aegis.gateway.dial import endpoint
from aegis.gateway.failures import Failure
from aegis.gateway.incoming import choose_framing, hide_values
from aegis.gateway.outgoing import PREFETCH_BYTES
from aegis.gateway.policy import Admission
from aegis.gateway.upstream import UpstreamBody, UpstreamConnection

if TYPE_CHECKING:
    from aegis.gateway.session import Session

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def protected(admission: Admission, *, tls: bool) -> bool:
    """Whether a secret may travel there by an entry without a port."""
    return tls or admission.route is not None


class Forwarder:
    """Sends the requests of one client connection to where policy has admitted them; fulfils `Forward`."""

    def __init__(self, session: Session, admission: Admission, *, tls: bool) -> None:
        self._session = session
        self._admission = admission
        self._tls = tls
        self._to = endpoint(admission, tls=tls)
        self.prompt: AsyncIterator[bytes] | None = None
        """The response's body when its beginning is there already: it need not wait for a write of its own."""
        self.connection: UpstreamConnection | None = None
        """Set when upstream answered 101: the connection is the tunnel's from then on."""

    async def __call__(self, request: Request) -> ResponsePlan:
        vault = self._session.vault
        host, port = self._admission.host, self._admission.port
        safe = protected(self._admission, tls=self._tls)
        target, headers = vault.release(request.target, request.headers, host, port, protected=safe)
        headers = self._outgoing(request, headers)
        tokens = await self._session.wait_for_limit(request)
        body = None if request.body.length == 0 else request.body
        try:
            connection, event = await self._exchange(request, target, headers, body)
        finally:
            self._session.release_limit(request, tokens)
        raw = tuple(event.headers.raw_items())
        self._session.learn_limit(request.host, event.status_code, raw)
        plan = self._plan(request, connection, event, raw)
        if plan.framing is Framing.NONE:
            # There is nothing to wait for; reading the end makes the connection free at once.
            async for _ in plan.body:
                pass
        declared = vault.declared_for(host, port, protected=safe)
        prompt = plan.framing is Framing.LENGTH and connection.buffered
        try:
            plan = hide_values(plan, vault, declared=declared)
        except Failure:
            await plan.release()
            raise
        self.prompt = plan.body if prompt else None
        return plan

    def _outgoing(self, request: Request, headers: RawHeaders) -> RawHeaders:
        upgrade = heads.wants_websocket(headers)
        out = heads.without(heads.end_to_end(headers), b"expect")
        accepted = heads.first(out, b"accept-encoding")
        if accepted is not None:
            coding = b"identity" if self._session.vault else codings.acceptable(accepted)
            out = heads.replaced(out, b"accept-encoding", coding)
        if heads.first(out, b"host") is None:
            out = ((b"Host", request.host.encode()), *out)
        if request.body.length is None:
            out = (*out, (b"Transfer-Encoding", b"chunked"))
        if upgrade:
            if self._session.vault:
                # Compressed frames could not be searched for values.
                out = heads.without(out, b"sec-websocket-extensions")
            out = (*out, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
        return out

    async def _exchange(
        self, request: Request, target: str, headers: RawHeaders, body: RequestBody | None
    ) -> tuple[UpstreamConnection, h11.Response | h11.InformationalResponse]:
        # A request that changes nothing may be repeated when a kept connection turns out to be dead; nothing else
        # is ever sent twice.
        connection = self._session.pool.reuse(self._to)
        if connection is not None:
            try:
                return connection, await _converse(connection, request.method, target, headers, body)
            except Failure as failure:
                again = (
                    failure.kind in ("upstream-closed", "upstream-reset")
                    and not connection.received
                    and body is None
                    and request.method in _REPEATABLE
                )
                if not again:
                    raise
        connection = await self._session.pool.open(self._to)
        return connection, await _converse(connection, request.method, target, headers, body)

    def _plan(
        self,
        request: Request,
        connection: UpstreamConnection,
        event: h11.Response | h11.InformationalResponse,
        raw: RawHeaders,
    ) -> ResponsePlan:
        reason = event.reason.decode("latin-1")
        if event.status_code == 101:
            self.connection = connection
            return ResponsePlan(101, reason, raw, Framing.NONE, _empty(), upstream=connection.address)
        framing = choose_framing(request.method, event.status_code, raw)
        headers = heads.end_to_end(raw)
        if framing is Framing.CHUNKED:
            headers = heads.without(headers, b"content-length")
        body = UpstreamBody(
            connection, lambda whole: self._session.pool.give_back(self._to, connection, whole)
        )
        return ResponsePlan(
            event.status_code,
            reason,
            headers,
            framing,
            body,
            trailers=lambda: heads.end_to_end(body.trailers),
            release=body.release,
            upstream=connection.address,
        )


class _Empty:
    def __aiter__(self) -> _Empty:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def _empty() -> _Empty:
    return _Empty()


async def _converse(
    connection: UpstreamConnection, method: str, target: str, headers: RawHeaders, body: RequestBody | None
) -> h11.Response | h11.InformationalResponse:
    """Send the request and read the response's head. Closes the connection when it raises."""
    try:
        if body is not None and (body.length is None or body.length > PREFETCH_BYTES):
            return await _duplex(connection, connection.send(method, target, headers, body))
        try:
            await connection.send(method, target, headers, body)
        except Failure as failure:
            return await _last_words(connection, failure)
        return await connection.head()
    except BaseException:
        connection.close()
        raise


async def _duplex(
    connection: UpstreamConnection, send: Coroutine[None, None, None]
) -> h11.Response | h11.InformationalResponse:
    """Read while sending: an upstream may answer before it has read a long body. The rest of the body goes on being
    sent while the response is read, and stops with the connection."""
    sending = connection.sending = asyncio.ensure_future(send)
    answer = asyncio.ensure_future(connection.head())
    try:
        await asyncio.wait({sending, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and (error := sending.exception()) is not None:
            await _cancelled(answer)
            return await _last_words(connection, error)
        return await answer
    finally:
        await _cancelled(answer)


async def _last_words(
    connection: UpstreamConnection, error: BaseException
) -> h11.Response | h11.InformationalResponse:
    """An upstream that closes while it is written to has often said why: 413, 401."""
    if isinstance(error, Failure) and error.kind == "upstream-reset":
        with contextlib.suppress(Failure, TimeoutError):
            async with asyncio.timeout(1):
                return await connection.head()
    raise error


async def _cancelled(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
