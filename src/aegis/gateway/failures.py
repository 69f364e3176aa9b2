"""What goes wrong on the path, as the trace names it. These never leave the room: `Session.handle` turns them into an
answer to the client and into `Exchange.error`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis.gateway.base import Shut


class Failure(Exception):
    """One exchange or connection that cannot go on.

    `kind` is the word before the colon in `Exchange.error` (docs/gateway.md lists them). `status` is what the client
    is answered as long as nothing of a response has been sent; None closes the connection without a word.
    """

    def __init__(self, kind: str, detail: str, *, status: int | None = 502) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.status = status


class Cut(Exception):
    """A response that ends where its framing does not. Raised by a body to end the client's connection at this byte,
    with a reset when `reset` is true and with a plain close otherwise; `ragged`: inside TLS without close_notify, which
    is all that shows a client that a body framed by the connection's end is not whole."""

    def __init__(self, error: str, *, reset: bool = False, ragged: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.reset = reset
        self.ragged = ragged


def malformed(detail: str) -> Failure:
    return Failure("malformed-request", detail, status=400)


def denied(detail: str) -> Failure:
    return Failure("denied", detail, status=403)


def injected(detail: str, *, status: int | None = None) -> Failure:
    """A fault's doing: never the infrastructure's."""
    return Failure("injected", detail, status=status)


def shut_failure(shut: Shut, *, proxied: bool) -> Failure:
    """A connection that a fault keeps from coming about; `proxied`: its client is told by the proxy's status."""
    texts = {
        "refused": "the connection is refused",
        "unresolved": f"the name does not resolve: {shut.dns}",
        "tls": f"the TLS handshake fails: {shut.tls}",
    }
    return injected(texts[shut.how], status=502 if proxied else None)
