"""Something broke on the server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.carry import CARRIED_OUT, carry_out
from aegis.faults.providers import Reply
from aegis.faults.providers.base import At
from aegis.faults.providers.stripe import Stripe
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Flag, Integer, Key

_REMEMBERED = 1000
_Kept = tuple[str, str | None, str]


@dataclass(frozen=True, slots=True)
class _Stored:
    """The first answer to a request with an Idempotency-Key."""

    reply: Reply
    request: str
    """Its method, target and body, hashed; "" when the body is not known."""
    route: str


class ServerError(Fault):
    """Answers 500 in the provider's form, as an API does when its own code fails.

    Official model clients try again (2 times, about 0.5 s and 1 s apart); `requests` and `httpx` don't by themselves.
    Whether the request was carried out is not known to the client: with `carried_out: true` it was, so that a client
    that simply sends it again does it twice.

    `idempotent: true` keeps the answer by the request's `Idempotency-Key`, as Stripe does (and as is the default in
    Stripe's form): every later POST with the same key gets the same 500 again, marked `Idempotent-Replayed: true`,
    whether the rule picks it or not. Only a new key is a new attempt; the same key with another body gets a 400.
    """

    name = "server-error"
    group = "status"
    stage = "answer"
    needs_body = True
    keys = (
        providers.KEY,
        Key("status", Integer(500, 599), "Status of the answer; the provider's by default"),
        CARRIED_OUT,
        Key(
            "idempotent",
            Flag(),
            "Whether the same Idempotency-Key gets the same answer again; as the provider does by default",
        ),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._stored: dict[_Kept, _Stored] = {}
        self._again = 0

    def wants(self, seen: Seen) -> bool:
        if not self._stored:
            return False
        key = self._key(seen)
        return key is not None and key in self._stored

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        at = At(seen, hit)
        status: int | None = self.params.get("status")
        key = self._key(seen)
        if key is not None and (stored := self._stored.get(key)) is not None:
            self._again += 1
            return self._repeated(at, stored, key[2]).plan(seen.request.method)
        reply = providers.find(self.params["provider"], seen).server_error(at)
        if status is not None:
            reply = Reply(status, reply.value, reply.headers, reply.indent, reply.content_type)
        if key is not None and len(self._stored) < _REMEMBERED:
            self._stored[key] = _Stored(reply, _fingerprint(seen), hit.route)
        if self.params["carried_out"]:
            await carry_out(seen.request, forward)
        return reply.plan(seen.request.method)

    def notes(self) -> tuple[str, ...]:
        if not self._again:
            return ()
        times = "once" if self._again == 1 else f"{self._again} times"
        return (f"the stored answer was given again {times}: the same Idempotency-Key",)

    def _key(self, seen: Seen) -> _Kept | None:
        """What the answer is stored by; None when it isn't."""
        given = self.params.get("idempotent")
        if given is None:
            given = isinstance(providers.find(self.params["provider"], seen), Stripe)
        value = seen.request.header("idempotency-key")
        if not given or not value or seen.request.method != "POST":
            return None
        return seen.request.host, seen.credential, value

    @staticmethod
    def _repeated(at: At, stored: _Stored, key: str) -> Reply:
        mine = _fingerprint(at.seen)
        if mine and stored.request and mine != stored.request:
            return Stripe().key_reused(at, key)
        first = dict(stored.reply.headers).get("Request-Id")
        original = (("Original-Request", first),) if first else ()
        return stored.reply.with_headers(*original, ("Idempotent-Replayed", "true"))


def _fingerprint(seen: Seen) -> str:
    if seen.body is None:
        return ""
    head = f"{seen.request.method} {seen.request.target}\n".encode("utf-8", "replace")
    return hashlib.sha256(head + seen.body).hexdigest()


fault = ServerError
