"""A request to its upstream and the response back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.gateway import codings, heads
from aegis.gateway.base import Framing, RawHeaders, Request, RequestBody, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.gateway.dial import endpoint
from aegis.gateway.failures import Failure
from aegis.gateway.incoming import hide_values
from aegis.gateway.outgoing import PREFETCH_BYTES
from aegis.gateway.plain import ResponseHead
from aegis.gateway.policy import Admission
from aegis.gateway.upstream import UpstreamBody, UpstreamConnection

if TYPE_CHECKING:
    from aegis.gateway.session import Session

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def protected(admission: Admission, *, tls: bool) -> bool:
    """Whether a secret may travel there by an entry without a port."""
    return tls or admission.route is not None


@dataclass(frozen=True, slots=True)
class Released:
    """A request's target and headers with the values that it may carry."""

    request: Request
    target: str
    headers: RawHeaders


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request as it goes to the upstream."""

    method: str
    target: str
    headers: RawHeaders
    body: RequestBody | None

    async def by(self, connection: UpstreamConnection) -> None:
        await connection.send(self.method, self.target, self.headers, self.body)

    async def answered(self, connection: UpstreamConnection) -> ResponseHead:
        return await connection.head(self.method, self.target, self.headers)


class Forwarder:
    """Sends the requests of one client connection to where policy has admitted them; fulfils `Forward`."""

    def __init__(self, session: Session, admission: Admission, *, tls: bool, released: Released) -> None:
        self._session = session
        self._admission = admission
        self._tls = tls
        self._to = endpoint(admission, tls=tls)
        self._released = released
        self.connection: UpstreamConnection | None = None
        """Set when upstream answered 101: the connection is the tunnel's from then on."""

    async def __call__(self, request: Request) -> ResponsePlan:
        vault = self._session.vault
        host, port = self._admission.host, self._admission.port
        safe = protected(self._admission, tls=self._tls)
        if request is self._released.request:
            target, headers = self._released.target, self._released.headers
        else:
            target, headers = vault.release(request.target, request.headers, host, port, protected=safe)
        headers = self._outgoing(request, headers)
        tokens = await self._session.wait_for_limit(request)
        body = None if request.body.length == 0 else request.body
        try:
            connection, head = await self._exchange(request, target, headers, body)
        finally:
            self._session.release_limit(request, tokens)
        self._session.learn_limit(request.host, head.status, head.headers)
        plan = self._plan(connection, head)
        if plan.framing is Framing.NONE:
            # There is nothing to wait for; reading the end makes the connection free at once.
            async for _ in plan.body:
                pass
        declared = vault.declared_for(host, port, protected=safe)
        try:
            return hide_values(plan, vault, declared=declared)
        except Failure:
            await plan.release()
            raise

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
    ) -> tuple[UpstreamConnection, ResponseHead]:
        # A request that changes nothing may be repeated when a kept connection turns out to be dead; nothing else
        # is ever sent twice.
        connection = self._session.pool.reuse(self._to)
        if connection is not None:
            try:
                return connection, await _converse(connection, _Sent(request.method, target, headers, body))
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
        return connection, await _converse(connection, _Sent(request.method, target, headers, body))

    def _plan(self, connection: UpstreamConnection, head: ResponseHead) -> ResponsePlan:
        if head.status == 101:
            self.connection = connection
            return ResponsePlan(
                101,
                head.reason,
                head.headers,
                Framing.NONE,
                Whole(b""),
                release=self._give_up,
                upstream=connection.address,
            )
        headers = heads.end_to_end(head.headers)
        if head.framing is Framing.CHUNKED:
            headers = heads.without(headers, b"content-length")
        body = UpstreamBody(
            connection, lambda whole: self._session.pool.give_back(self._to, connection, whole), head.framing
        )
        return ResponsePlan(
            head.status,
            head.reason,
            headers,
            head.framing,
            body,
            trailers=lambda: heads.end_to_end(body.trailers),
            release=body.release,
            upstream=connection.address,
        )

    async def _give_up(self) -> None:
        """Of a 101 that the client does not get."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


async def _converse(connection: UpstreamConnection, sent: _Sent) -> ResponseHead:
    """Send the request and read the response's head. Closes the connection when it raises."""
    body = sent.body
    try:
        if body is not None and (body.length is None or body.length > PREFETCH_BYTES):
            return await _duplex(connection, sent)
        try:
            await sent.by(connection)
        except Failure as failure:
            return await _last_words(connection, sent, failure)
        return await sent.answered(connection)
    except BaseException:
        connection.close()
        raise


async def _duplex(connection: UpstreamConnection, sent: _Sent) -> ResponseHead:
    """Read while sending: an upstream may answer before it has read a long body. The rest of the body goes on being
    sent while the response is read, and stops with the connection."""
    sending = connection.sending = asyncio.ensure_future(sent.by(connection))
    answer = asyncio.ensure_future(sent.answered(connection))
    try:
        await asyncio.wait({sending, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and (error := sending.exception()) is not None:
            await _cancelled(answer)
            return await _last_words(connection, sent, error)
        return await answer
    finally:
        await _cancelled(answer)


async def _last_words(connection: UpstreamConnection, sent: _Sent, error: BaseException) -> ResponseHead:
    """An upstream that closes while it is written to has often said why: 413, 401."""
    if isinstance(error, Failure) and error.kind == "upstream-reset":
        with contextlib.suppress(Failure, TimeoutError):
            async with asyncio.timeout(1):
                return await sent.answered(connection)
    raise error


async def _cancelled(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
