"""Answers from what an earlier run has recorded; what was not recorded is refused, never fetched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from aegis.gateway import codings, heads
from aegis.gateway.base import Forward, Framing, Interceptor, RawHeaders, Request, RequestBody, ResponsePlan
from aegis.gateway.config import MIB
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.incoming import choose_framing
from aegis.gateway.secrets import Vault
from aegis.trace import Body, Exchange

_COMPARED_BYTES = 8 * MIB
_BOUNDARY = re.compile(rb'boundary="?([^";,\s]+)')

Key = tuple[str, str, int, str, str]


@dataclass(frozen=True, slots=True)
class Recording:
    """What one trial has recorded."""

    exchanges: tuple[Exchange, ...]
    blob: Callable[[str], bytes]
    """Digest → bytes. May raise what it likes: the exchange is refused then."""

    @classmethod
    def empty(cls) -> Recording:
        return cls((), lambda digest: b"")


def canonical_body(data: bytes, content_type: str | None) -> str:
    """A digest that is equal for bodies that say the same: JSON with its keys in any order, forms whatever their
    random boundary."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            data = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            pass
    elif kind.startswith("multipart/") and (match := _BOUNDARY.search((content_type or "").encode())):
        data = data.replace(match.group(1), b"boundary")
    return hashlib.sha256(data).hexdigest()


def request_key(method: str, host: str, port: int, path: str, data: bytes, content_type: str | None) -> Key:
    return method, host, port, path, canonical_body(data, content_type)


class Replayer(Interceptor):
    """An interceptor that never forwards. The n-th request of a kind gets the n-th recorded answer of that kind;
    kinds are told apart by method, host, port, path with query, and body."""

    def __init__(self, recording: Recording, vault: Vault) -> None:
        self._recording = recording
        self._vault = vault
        self._answers: dict[Key, list[Exchange]] = {}
        for exchange in sorted(recording.exchanges, key=lambda item: item.id, reverse=True):
            # What a fault has answered in upstream's place, it answers again.
            faulty = exchange.faults and not exchange.upstream and not exchange.replayed
            if exchange.kind == "http" and exchange.method and not faulty:
                self._answers.setdefault(self._recorded_key(exchange), []).append(exchange)

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        """Raises `Failure` for what was not recorded, or not whole."""
        if request.layer == "mcp":
            # Who answers is inside the sandbox, and is there in a replay too.
            return await forward(request)
        request = request.original or request
        data = await _read(request.body)
        decoded = codings.decode(data, request.header("content-encoding"), _COMPARED_BYTES)
        key = request_key(
            request.method,
            request.host,
            request.port,
            self._vault.redact_text(request.target),
            self._vault.redact(data if decoded is None else decoded),
            request.header("content-type"),
        )
        answers = self._answers.get(key)
        if not answers:
            what = "was recorded fewer times" if answers is not None else "was not recorded"
            text = f"{request.method} {request.host}{request.target} {what}"
            raise Failure("not-recorded", text, status=502)
        return self._plan(answers.pop(), request.method)

    def _recorded_key(self, exchange: Exchange) -> Key:
        headers = {name.lower(): value for name, value in reversed(exchange.request_headers)}
        # A run that records whole bodies keeps more than is compared.
        data = (self._content(exchange.request_body) or b"")[:_COMPARED_BYTES]
        return request_key(
            exchange.method, exchange.host, exchange.port, exchange.path, data, headers.get("content-type")
        )

    def _plan(self, exchange: Exchange, method: str) -> ResponsePlan:
        if exchange.status is None:
            raise Failure("replayed-failure", exchange.error or "it was never answered", status=None)
        headers: RawHeaders = tuple(
            (name.encode("latin-1"), self._vault.unredact(value.encode("latin-1")))
            for name, value in exchange.response_headers
        )
        data = self._content(exchange.response_body)
        if data is None or (exchange.response_body is not None and exchange.response_body.truncated):
            raise Failure("not-recorded", "the recorded response is not whole", status=502)
        framing = choose_framing(method, exchange.status, headers)
        if framing is not Framing.NONE:
            # Codings were removed when it was recorded, and lengths with them.
            headers = heads.without(headers, b"content-encoding", b"content-length", b"transfer-encoding")
            data = self._vault.unredact(data)
            sizes = [size for _, size in exchange.chunks]
            pieces = _split(data, sizes) if sum(sizes) == len(data) else [data]
            framing = Framing.CHUNKED if len(pieces) > 1 else Framing.LENGTH
            if framing is Framing.LENGTH:
                headers = (*headers, (b"Content-Length", str(len(data)).encode()))
        else:
            pieces = []
        body = _replayed(pieces, exchange.error)
        return ResponsePlan(exchange.status, exchange.reason, headers, framing, body, replayed=True)

    def _content(self, body: Body | None) -> bytes | None:
        """The recorded bytes; None when the blob is gone."""
        if body is None:
            return b""
        if body.blob is None:
            return (body.text or "").encode()
        try:
            return self._recording.blob(body.blob)
        except Exception:
            return None


async def _read(body: RequestBody) -> bytes:
    kept = bytearray()
    while piece := await body.read():
        kept += piece[: max(0, _COMPARED_BYTES - len(kept))]
    return bytes(kept)


def _split(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return pieces


async def _replayed(pieces: Iterable[bytes], error: str | None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if error is not None:
        raise Cut(f"replayed-failure: {error}")
