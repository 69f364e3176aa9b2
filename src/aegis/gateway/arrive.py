"""A new connection's first steps, by how it arrived."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aegis.gateway import tap
from aegis.gateway.base import ByteStream, Origin
from aegis.gateway.clienthello import ACCESS_DENIED, sniff
from aegis.gateway.deliver import deliver, refusal
from aegis.gateway.failures import Failure, denied
from aegis.gateway.http import HttpConnection, Place
from aegis.gateway.names import parse_host
from aegis.gateway.streams import Peekable
from aegis.gateway.tcp import Arrival

if TYPE_CHECKING:
    from aegis.gateway.session import Session

_SNIFF_S = 1.0


async def serve(session: Session, stream: ByteStream, origin: Origin, number: int) -> None:
    """Raises `OSError` when the client breaks it off."""
    if origin.kind == "direct":
        await _direct(session, Peekable(stream), origin, number)
        return
    connect = await HttpConnection(session, stream, number, None).run()
    if connect is not None:
        arrival = Arrival(session, number, connect.host, connect.port, connect.admission)
        await arrival.serve(connect.stream)


async def _direct(session: Session, stream: Peekable, origin: Origin, number: int) -> None:
    try:
        host = parse_host(origin.name or origin.address or "")
        if tap.is_reserved(host, origin.port):
            await HttpConnection(session, stream, number, Place(host, origin.port, False)).run()
            return
        admission = session.admit(host, origin.port)
    except ValueError as error:
        await _refuse(session, stream, origin, number, denied(str(error)))
    except Failure as failure:
        await _refuse(session, stream, origin, number, failure)
    else:
        arrival = Arrival(session, number, host, origin.port, admission)
        shut = None
        if not origin.let_in:
            shut = session.interceptor.connecting(host.name, origin.port, proxied=False)
        if shut is None:
            await arrival.serve(stream)
        else:
            await arrival.never_came_about(stream, shut)


async def _refuse(session: Session, stream: Peekable, origin: Origin, number: int, failure: Failure) -> None:
    recorder = session.begin("denied", number)
    if recorder is not None:
        recorder.scheme = "tcp"
        recorder.host = origin.name or origin.address or ""
        recorder.port = origin.port
        session.note(recorder, failure)
        await recorder.finish(str(failure))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_SNIFF_S):
            await _tell(stream)


async def _tell(stream: Peekable) -> None:
    """Say no in the client's own language, once it has shown which."""
    while (kind := sniff(stream.peeked)) == "more" and await stream.more():
        pass
    if kind == "tls":
        await stream.write(ACCESS_DENIED)
    elif kind == "http":
        head_request = stream.peeked.startswith(b"HEAD ")
        plan = refusal(403, head_request=head_request)
        await deliver(plan, stream.write, close=True, http_version="1.1")
        # The rest of the request is read first: closing over it would reset the connection, and the answer with it.
        await stream.write_eof()
        while await stream.read(65536):
            pass
