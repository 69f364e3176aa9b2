"""From an admitted name to a connection: resolve here, check every address, dial exactly what was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from aegis.errors import UsageError
from aegis.gateway.addresses import why_not_public
from aegis.gateway.base import ByteStream
from aegis.gateway.config import Bounds
from aegis.gateway.failures import Failure, denied
from aegis.gateway.names import Host, IPAddress, address, plain
from aegis.gateway.policy import Admission, Policy
from aegis.gateway.sockets import SocketStream
from aegis.gateway.tls import TLSUpstream

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a name, as text. Raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection goes. Equal endpoints may share a kept-alive connection."""

    host: Host
    port: int
    tls_name: str | None
    """Name that the upstream's certificate must be for; None without TLS."""
    routed: bool


class Wire(ByteStream, Protocol):
    """A connection to an upstream."""

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has arrived that was not read."""

    @property
    def ragged(self) -> bool:
        """Whether it ended without the peer's having said so inside TLS."""

    def drop(self) -> None:
        """Close at once; what was not sent yet is lost."""


@dataclass(slots=True)
class Dialled:
    stream: Wire
    address: str
    """As it goes into the trace: `127.0.0.1:9001`, `[::1]:9001`."""


def endpoint(admission: Admission, *, tls: bool) -> Endpoint:
    """`tls` says whether the client speaks TLS (as far as the gateway opens it)."""
    route = admission.route
    if route is None:
        return Endpoint(admission.host, admission.port, admission.host.name if tls else None, False)
    if route.scheme == "same":
        return Endpoint(route.host, route.port, admission.host.name if tls else None, True)
    return Endpoint(route.host, route.port, route.host.name if route.scheme == "https" else None, True)


class Dialer:
    """Makes the connections of one run. Raises `UsageError` when `ca_bundle` is no PEM text."""

    def __init__(
        self, bounds: Bounds, *, ca_bundle: str | None = None, resolve: Resolve | None = None
    ) -> None:
        self._bounds = bounds
        self._ca_bundle = ca_bundle
        self._context: ssl.SSLContext | None = None
        # getaddrinfo can hang; its threads are our own so that it takes nobody else's.
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="resolve")
        self._resolve = resolve or self._getaddrinfo
        if ca_bundle is not None:
            self._tls_context()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect(self, to: Endpoint, policy: Policy) -> Dialled:
        """`policy` says which addresses may be private. Raises `Failure`: `denied`, `upstream-dns`,
        `upstream-refused`, `upstream-timeout`, `upstream-tls`, `upstream-unreachable`."""
        addresses = await self._addresses(to, policy)
        failure: Failure | None = None
        for ip in addresses[:4]:
            try:
                return await self._dial(ip, to)
            except Failure as error:
                failure = failure or error
        raise failure or Failure("upstream-dns", f"{to.host.name} has no address")

    async def _addresses(self, to: Endpoint, policy: Policy) -> list[IPAddress]:
        if to.host.is_address:
            found = [address(to.host)]
        else:
            found = await self._look_up(to)
        if not to.routed:
            for ip in found:
                what = why_not_public(ip)
                if what and not policy.names_address(ip, to.port):
                    subject = to.host.name if to.host.is_address else f"{to.host.name} resolves to {ip},"
                    raise denied(f"{subject} {'is ' if to.host.is_address else ''}{what}")
        return found

    async def _look_up(self, to: Endpoint) -> list[IPAddress]:
        try:
            async with asyncio.timeout(self._bounds.connect_timeout_s):
                texts = await self._resolve(to.host.name, to.port)
        except TimeoutError:
            raise Failure("upstream-dns", f"{to.host.name} was not resolved in time", status=504) from None
        except OSError as error:
            raise Failure("upstream-dns", f"{to.host.name}: {error.strerror or error}") from error
        return [plain(ipaddress.ip_address(text)) for text in dict.fromkeys(texts)]

    async def _getaddrinfo(self, name: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        )
        return [str(item[4][0]).partition("%")[0] for item in found]

    async def _dial(self, ip: IPAddress, to: Endpoint) -> Dialled:
        where = f"[{ip}]:{to.port}" if ip.version == 6 else f"{ip}:{to.port}"
        try:
            async with asyncio.timeout(self._bounds.connect_timeout_s):
                return Dialled(await self._connected(ip, to), where)
        except TimeoutError:
            raise Failure("upstream-timeout", f"{where} did not answer in time", status=504) from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
            raise Failure("upstream-tls", f"{where} as {to.tls_name}: {reason}") from error
        except ConnectionRefusedError as error:
            raise Failure("upstream-refused", f"{where} refused the connection") from error
        except OSError as error:
            raise Failure("upstream-unreachable", f"{where}: {error.strerror or error}") from error

    async def _connected(self, ip: IPAddress, to: Endpoint) -> Wire:
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(SocketStream, str(ip), to.port)
        if to.tls_name is None:
            return stream
        try:
            return await TLSUpstream.connect(stream, self._tls_context(), to.tls_name)
        except BaseException:
            stream.drop()
            raise

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            # A connection that was cut must not read as one that was ended.
            context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
            if self._ca_bundle is not None:
                try:
                    context.load_verify_locations(cadata=self._ca_bundle)
                except (ssl.SSLError, ValueError) as error:
                    raise UsageError(
                        f"the additional certificate authorities cannot be read: {error}",
                        fix="give a file with certificates in PEM form",
                    ) from error
            self._context = context
        return self._context
