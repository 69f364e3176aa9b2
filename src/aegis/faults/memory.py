"""The first answers of a trial, to be given again later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aegis.faults import mcp
from aegis.faults.added import Mark
from aegis.faults.base import Seen
from aegis.faults.events import is_stream
from aegis.faults.tee import tell
from aegis.gateway.base import Framing, RawHeaders, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.gateway.heads import without

MAX_BODY_BYTES = 1024 * 1024
MAX_BYTES = 16 * 1024 * 1024
MAX_ANSWERS = 1000

_Key = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    reason: str
    headers: RawHeaders
    body: bytes
    result: Any
    """What the tool returned, when it is of a tool call."""
    added: set[Mark]
    """As `ResponsePlan.added`."""


class Memory:
    """Keeps the first successful answer (status 200) to each GET request of an URL and a credential, and to each call
    of an MCP tool with the same arguments. Longer bodies than 1 MiB, and more than 16 MiB in all, are not kept."""

    def __init__(self) -> None:
        self._answers: dict[_Key, _Answer] = {}
        self._size_bytes = 0

    def watch(self, seen: Seen, plan: ResponsePlan) -> ResponsePlan:
        """The same response, kept once it has passed."""
        key, call = _key(seen), mcp.call_of(seen)
        if key is None or key in self._answers or plan.status != 200 or (call is None and is_stream(plan)):
            return plan
        reason, headers, added = plan.reason, plan.headers, plan.added

        def keep(document: bytes) -> None:
            result = None if call is None else mcp.result_in(call, document)
            if call is None or result is not None:
                self._keep(key, _Answer(reason, headers, document, result, added))

        return tell(plan, MAX_BODY_BYTES, keep)

    def _keep(self, key: _Key, answer: _Answer) -> None:
        size_bytes = self._size_bytes + len(answer.body)
        if key not in self._answers and len(self._answers) < MAX_ANSWERS and size_bytes <= MAX_BYTES:
            self._answers[key], self._size_bytes = answer, size_bytes

    def recall(self, seen: Seen) -> ResponsePlan | None:
        """The first answer to the same request, as an answer to this one."""
        key = _key(seen)
        kept = None if key is None else self._answers.get(key)
        if kept is None:
            return None
        if (call := mcp.call_of(seen)) is not None:
            plan = mcp.answer(call, kept.result)
            plan.added = kept.added
            return plan
        headers = without(kept.headers, b"content-encoding", b"content-length")
        length = (b"Content-Length", str(len(kept.body)).encode())
        return ResponsePlan(
            200, kept.reason, (*headers, length), Framing.LENGTH, Whole(kept.body), added=kept.added
        )


def can_keep(seen: Seen) -> bool:
    """Whether it is a request whose answers are kept."""
    return seen.request.method == "GET" or mcp.call_of(seen) is not None


def _key(seen: Seen) -> _Key | None:
    request = seen.request
    place: _Key = (request.host, request.port, request.target, seen.credential)
    if (call := mcp.call_of(seen)) is not None:
        return (*place, call.name, json.dumps(call.arguments, sort_keys=True))
    if request.method != "GET":
        return None
    return (*place, request.header("range"), request.header("accept"))
