"""What is decided before there is a connection: whether a name resolves, and whether a connection comes about.

For clients that use no proxy. The sandbox asks; what policy does not admit is let go on, to be refused and recorded as
any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aegis.gateway import tap
from aegis.gateway.base import Shut
from aegis.gateway.failures import Failure, shut_failure
from aegis.gateway.names import parse_host

if TYPE_CHECKING:
    from aegis.gateway.session import Session


def lookup(session: Session, name: str) -> Literal["", "nxdomain", "servfail", "timeout"]:
    """How the lookup of a name fails; "" when it doesn't."""
    try:
        host = parse_host(name)
        session.vault.refuse_host(host.name)
    except (ValueError, Failure):
        return ""
    if host.is_address or host == tap.HOST or not session.policy.admits_name(host):
        return ""
    shut = session.interceptor.resolving(host.name)
    if shut is None:
        return ""
    _record(session, shut, "dns", host.name, 0)
    return shut.dns


def opening(session: Session, name: str | None, address: str | None, port: int) -> bool:
    """Whether the connection comes about."""
    try:
        host = parse_host(name or address or "")
        if tap.is_reserved(host, port):
            return True
        session.admit(host, port)
    except (ValueError, Failure):
        return True
    shut = session.interceptor.connecting(host.name, port, proxied=False)
    if shut is None:
        return True
    _record(session, shut, "tcp", host.name, port)
    return False


def _record(session: Session, shut: Shut, scheme: str, host: str, port: int) -> None:
    recorder = session.begin("tcp", 0)
    if recorder is not None:
        recorder.scheme, recorder.host, recorder.port = scheme, host, port
        recorder.hit(shut.notes)
        recorder.finish_at_once(str(shut_failure(shut, proxied=False)))
