"""What the guest sends, on its way out: scanned for placeholders, copied to the trace."""

from __future__ import annotations

from collections import deque

from aegis.gateway.base import RequestBody
from aegis.gateway.failures import Failure
from aegis.gateway.recorder import Tape
from aegis.gateway.secrets import Vault

PREFETCH_BYTES = 64 * 1024


class OutgoingBody:
    """Fulfils `RequestBody` around the client's body.

    No byte of a placeholder leaves: what may yet become one is held back, and a whole one raises `Failure`. Of a
    longer body, what stood before it may have left by then; the upstream connection is given up, so the upstream has
    an unfinished request.
    """

    def __init__(self, inner: RequestBody, vault: Vault, tape: Tape, host: str) -> None:
        self._inner = inner
        self._vault = vault
        self._matcher = vault.guard()
        self._tape = tape
        self._host = host
        self._ready: deque[bytes] = deque()
        self._ended = inner.length == 0
        self.length = inner.length
        self.refused: Failure | None = None
        """Why it was stopped: then this, not what followed from it, is the exchange's error."""

    @property
    def complete(self) -> bool:
        """Whether the client has sent all of it."""
        return self._ended

    async def prefetch(self) -> None:
        """Read a short body whole, so that it is refused before anything has left."""
        if self.length is not None and self.length <= PREFETCH_BYTES:
            while not self._ended:
                await self._advance()

    async def read(self) -> bytes:
        while not self._ready and not self._ended:
            await self._advance()
        return self._ready.popleft() if self._ready else b""

    async def _advance(self) -> None:
        piece = await self._inner.read()
        if piece:
            self._tape.write(piece)
            safe, found = self._matcher.feed(piece)
            if found is not None:
                self._ended = True
                self._ready.clear()
                self.refused = self._vault.refusal(found, "the body", self._host)
                raise self.refused
        else:
            self._ended = True
            safe = self._matcher.flush()
        if safe:
            self._ready.append(safe)
