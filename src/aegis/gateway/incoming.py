"""What upstream answers, on its way in: values become placeholders again."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aegis.gateway import codings, heads
from aegis.gateway.base import Framing, RawHeaders, ResponsePlan, is_ready
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.matching import StreamReplacer
from aegis.gateway.secrets import Vault


def choose_framing(method: str, status: int, headers: RawHeaders) -> Framing:
    """How a response's body ends, by RFC 9112, section 6.3."""
    if method == "HEAD" or status in (204, 304):
        return Framing.NONE
    if heads.first(headers, b"transfer-encoding") is not None:
        return Framing.CHUNKED
    if heads.first(headers, b"content-length") is not None:
        return Framing.LENGTH
    return Framing.CLOSE


def hide_values(plan: ResponsePlan, vault: Vault, *, declared: bool) -> ResponsePlan:
    """The plan without any secret's value. A coded body is decoded, for nothing can be found inside it otherwise;
    `declared` says that the host may know a value: a coding that can't be undone is then refused with `Failure`."""
    if not vault:
        return plan
    *hidden, (_, reason) = vault.without_values(
        (*plan.headers, (b"", plan.reason.encode("latin-1", "replace")))
    )
    plan.headers, plan.reason = tuple(hidden), reason.decode("latin-1")
    if plan.framing is Framing.NONE:
        return plan
    coding = codings.coding_of(heads.text(plan.headers, b"content-encoding"))
    if coding is None:
        if declared:
            raise Failure("upstream-coding", "the response's content coding cannot be searched for secrets")
        return plan
    if coding != "identity":
        plan.headers = heads.without(plan.headers, b"content-encoding", b"content-length")
        plan.body = _decoded(plan.body, coding)
        if plan.framing is Framing.LENGTH:
            plan.framing = Framing.CHUNKED
    plan.body = _WithoutValues(plan.body, vault.echo_filter())
    original = plan.trailers
    plan.trailers = lambda: vault.without_values(original())
    return plan


async def _decoded(body: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    decoder = codings.Decoder(coding)
    async for piece in body:
        try:
            for out in decoder.feed(piece):
                yield out
        except ValueError as error:
            raise Cut(f"upstream-coding: {error}") from error


class _WithoutValues:
    """A body whose secrets' values are replaced. When it breaks off, what was held back is dropped: it is no whole
    value, but it may be most of one."""

    def __init__(self, body: AsyncIterator[bytes], replacer: StreamReplacer) -> None:
        self._body = body
        self._replacer = replacer
        self._ended = False

    @property
    def ready(self) -> bool:
        return is_ready(self._body)

    def __aiter__(self) -> _WithoutValues:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                self._ended = True
                out = self._replacer.flush()
            else:
                out = self._replacer.feed(piece)
            if out:
                return out
        raise StopAsyncIteration
