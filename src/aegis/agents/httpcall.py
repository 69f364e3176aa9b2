"""A POST to an agent that is a server. What it does wrong is the agent's failure."""

from __future__ import annotations

from collections.abc import Iterable

from aegis.agents.base import MAX_ANSWER_BYTES
from aegis.agents.record import AgentFault
from aegis.agents.tail import one_line
from aegis.sandbox import httpcall
from aegis.sandbox.base import Process
from aegis.sandbox.httpcall import BrokenOffError, Response
from aegis.suite.units import format_size

__all__ = ["BrokenOffError", "Response", "post"]


async def post(
    connection: Process, *, host: str, path: str, content_type: str, size_bytes: int, body: Iterable[bytes]
) -> Response:
    """Send a request whose body comes in pieces of `size_bytes` in all, and read its response.

    Raises `BrokenOffError`, and `AgentFault` for what is no response of HTTP/1.1 or too long."""
    try:
        return await httpcall.request(
            connection,
            "POST",
            host=host,
            path=path,
            headers=[("Content-Type", content_type), ("Accept", content_type)],
            size_bytes=size_bytes,
            body=body,
            max_body_bytes=MAX_ANSWER_BYTES,
        )
    except httpcall.NoHttpError as error:
        raise AgentFault(f"agent broke the protocol with {one_line(str(error), 300)}") from None
    except httpcall.TooLongError:
        limit = format_size(MAX_ANSWER_BYTES)
        raise AgentFault(f"agent sent a response longer than {limit}", quote_stderr=False) from None
