"""The weather of one trial: rules and their state between the agent and the outside world."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aegis.faults import registry
from aegis.faults.base import Fault, Hit, Seen, Stage, TrialKey
from aegis.faults.plan import match as matching
from aegis.faults.plan import when
from aegis.gateway import codings
from aegis.gateway.base import (
    ByteStream,
    Forward,
    Interceptor,
    Notes,
    Request,
    RequestBody,
    ResponsePlan,
    Shut,
)
from aegis.suite.model import FaultRule
from aegis.trace.faults import FaultReport

MAX_BODY_BYTES = 1024 * 1024
"""Of a request, to be looked at by rules that ask for its content."""
MAX_WITHHELD_BYTES = 64 * 1024
_ORDER: tuple[Stage, ...] = ("time", "body", "answer")


@dataclass(slots=True)
class _Active:
    """One rule in one trial."""

    rule: FaultRule
    fault: Fault
    test: matching.Test
    ends: matching.Test | None
    permanent: bool
    on_requests: bool
    matched: int = 0
    fired: int = 0
    displaced: int = 0
    ended: bool = False
    routes: dict[str, int] = field(default_factory=dict)

    def next_match(self, route: str) -> int:
        """Count a match; its number on this route."""
        self.matched += 1
        nth = self.routes[route] = self.routes.get(route, 0) + 1
        return nth

    def picks(self, key: TrialKey, route: str, nth: int, at_s: float) -> bool:
        return not self.ended and when.hits(
            self.rule, key, route=route, number=self.matched, nth=nth, at_s=at_s, fired=self.fired
        )

    def report(self) -> FaultReport:
        return FaultReport(
            id=self.rule.id,
            kind=self.rule.inject,
            where=matching.describe(self.rule.match),
            matched=self.matched,
            fired=self.fired,
            displaced=self.displaced,
            permanent=self.permanent,
            require_fired=self.rule.require_fired,
            notes=self.fault.notes(),
            params=dict(self.fault.params),
        )


class Weather(Interceptor):
    """An `Interceptor` that applies the rules of one trial, from `start` on.

    Decisions are made when a request arrives, in the order of arrival. `placeholders` are the agent's secrets as it
    sends them; `now` is the trial's clock in seconds.
    """

    def __init__(
        self,
        rules: Sequence[FaultRule],
        key: TrialKey,
        *,
        placeholders: Mapping[str, str] | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._key = key
        self._now = now
        self._started = False
        self._active = [_activate(rule, placeholders or {}, now) for rule in rules]
        self._requests = [item for item in self._active if item.on_requests]
        self._connects = [item for item in self._active if item.fault.stage == "connect"]
        self._tunnels = [
            item
            for item in self._active
            if "tcp" in item.fault.layers
            and item.fault.stage != "connect"
            and not matching.is_of_requests(item.rule.match)
        ]
        self._looks_inside = any(
            matching.needs_body(item.rule.match)
            or item.fault.needs_body
            or (item.rule.until_match is not None and matching.needs_body(item.rule.until_match))
            for item in self._requests
        )

    def use_clock(self, now: Callable[[], float]) -> None:
        """The trial's clock, in seconds since the agent's start."""
        self._now = now
        for item in self._active:
            item.fault.now = now

    def start(self) -> None:
        """The agent begins. What passed before met no fault."""
        self._started = True

    @property
    def shuts(self) -> bool:
        """Whether connections themselves may fail: a client is then better off without a proxy between."""
        return bool(self._connects)

    def reports(self) -> tuple[FaultReport, ...]:
        return tuple(item.report() for item in self._active)

    # -- connections -----------------------------------------------------------------------------------------------

    def connecting(self, host: str, port: int) -> Shut | None:
        if not self._started:
            return None
        route, found = f"{host}:{port}", None
        for item in self._connects:
            hit = self._hit_place(item, host, port, route)
            if hit is None:
                continue
            if found is not None:
                item.displaced += 1
            elif (found := item.fault.shut(hit)) is not None:
                item.fired += 1
                found.notes.faults.append(item.rule.id)
        return found

    def tunnel(self, host: str, port: int, client: ByteStream, notes: Notes) -> ByteStream:
        if self._started:
            for item in self._tunnels:
                hit = self._hit_place(item, host, port, f"{host}:{port}")
                if hit is not None:
                    item.fired += 1
                    notes.faults.append(item.rule.id)
                    client = item.fault.tunnel(hit, client)
        return client

    def _hit_place(self, item: _Active, host: str, port: int, route: str) -> Hit | None:
        if not matching.covers_place(item.rule.match, host, port):
            return None
        at_s = self._now()
        nth = item.next_match(route)
        return self._hit(item, route, nth, at_s) if item.picks(self._key, route, nth, at_s) else None

    def _hit(self, item: _Active, route: str, nth: int, at_s: float) -> Hit:
        return Hit(item.rule.id, route, item.matched, nth, at_s, self._key, item.permanent)

    # -- exchanges -------------------------------------------------------------------------------------------------

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        if not self._started or not self._requests:
            return await forward(request)
        seen = Seen(request, None, None, self._now())
        if self._looks_inside:
            seen = await _look_inside(seen)
        taken = self._take(seen)
        call = self._ending(seen, forward)
        for item, hit in reversed(taken):
            if item.fault.stage == "answer":
                call = _answering(item.fault, hit, seen, call)
        for item in self._requests:
            if item.fault.watches(seen):
                call = _observing(item.fault, seen, call)
        for item, hit in reversed(taken):
            if item.fault.stage != "answer":
                call = _applying(item.fault, hit, seen, call)
        return await call(seen.request)

    def _take(self, seen: Seen) -> list[tuple[_Active, Hit]]:
        """Which rules hit this exchange, those that act next to the client first."""
        request = seen.request
        route = f"{request.method} {request.host}{seen.path}"
        taken: dict[str, tuple[_Active, Hit]] = {}
        for item in self._requests:
            if not item.test(seen):
                continue
            nth = item.next_match(route)
            forced = item.fault.wants(seen)
            if not forced and not item.picks(self._key, route, nth, seen.at_s):
                continue
            # Any number of faults may take time; what is answered, and how it is bent, is one fault's business.
            slot = item.rule.id if item.fault.stage == "time" else item.fault.stage
            if slot in taken:
                item.displaced += 1
                continue
            taken[slot] = item, self._hit(item, route, nth, seen.at_s)
        for item, _ in taken.values():
            item.fired += 1
            request.notes.faults.append(item.rule.id)
        return sorted(taken.values(), key=lambda pair: _ORDER.index(pair[0].fault.stage))

    def _ending(self, seen: Seen, forward: Forward) -> Forward:
        """Forward, and look whether the answer is what a rule's `until` waits for."""
        ending = [
            item for item in self._requests if item.ends is not None and not item.ended and item.ends(seen)
        ]
        if not ending:
            return forward

        async def call(request: Request) -> ResponsePlan:
            plan = await forward(request)
            if 200 <= plan.status < 300:
                for item in ending:
                    item.ended = True
            return plan

        return call


def _activate(rule: FaultRule, placeholders: Mapping[str, str], now: Callable[[], float]) -> _Active:
    kind = registry.get(rule.inject)
    fault = kind(kind.read(rule.params))
    fault.now = now
    return _Active(
        rule=rule,
        fault=fault,
        test=matching.compile_match(rule.match, placeholders),
        ends=None if rule.until_match is None else matching.compile_match(rule.until_match, placeholders),
        permanent=when.is_permanent(rule),
        on_requests=fault.stage != "connect" and bool(fault.layers & {"http", "mcp"}),
    )


def _applying(fault: Fault, hit: Hit, seen: Seen, inner: Forward) -> Forward:
    return lambda request: fault.apply(hit, replace(seen, request=request), inner)


def _observing(fault: Fault, seen: Seen, inner: Forward) -> Forward:
    return lambda request: fault.observe(replace(seen, request=request), inner)


def _answering(fault: Fault, hit: Hit, seen: Seen, inner: Forward) -> Forward:
    """Of a fault that never ends, what it keeps from the agent is asked for and kept: `Exchange.withheld`."""
    if not hit.permanent or seen.request.method not in ("GET", "HEAD"):
        return _applying(fault, hit, seen, inner)

    async def call(request: Request) -> ResponsePlan:
        asked: list[ResponsePlan] = []

        async def once(request: Request) -> ResponsePlan:
            plan = await inner(request)
            asked.append(plan)
            return plan

        plan = await fault.apply(hit, replace(seen, request=request), once)
        if not asked:
            request.notes.withheld = await _withheld(request, inner)
        return plan

    return call


async def _withheld(request: Request, inner: Forward) -> bytes | None:
    """The body of what upstream answers with success; None when it doesn't."""
    from aegis.gateway.failures import Cut, Failure

    try:
        plan = await inner(request)
    except (Failure, Cut):
        return None
    kept = bytearray()
    try:
        if not 200 <= plan.status < 300:
            return None
        async for piece in plan.body:
            kept += piece
            if len(kept) > MAX_WITHHELD_BYTES:
                break
    except (Failure, Cut):
        return None
    finally:
        await plan.release()
    coding = next((value for name, value in plan.headers if name.lower() == b"content-encoding"), b"")
    return codings.decode(bytes(kept), coding.decode("latin-1") or None, MAX_WITHHELD_BYTES)


class _Loaded:
    """A request body that was read already, and what may follow it."""

    def __init__(self, length: int | None, read: bytes, rest: RequestBody | None) -> None:
        self.length = length
        self._read = read
        self._rest = rest

    async def read(self) -> bytes:
        if self._read:
            data, self._read = self._read, b""
            return data
        return b"" if self._rest is None else await self._rest.read()


async def _look_inside(seen: Seen) -> Seen:
    """With the request's body, when it is short enough."""
    request = seen.request
    if request.body.length == 0:
        return replace(seen, body=b"")
    kept = bytearray()
    rest: RequestBody | None = None
    while piece := await request.body.read():
        kept += piece
        if len(kept) > MAX_BODY_BYTES:
            rest = request.body
            break
    raw = bytes(kept)
    loaded = replace(request, body=_Loaded(request.body.length, raw, rest))
    if rest is not None:
        return replace(seen, request=loaded)
    body = codings.decode(raw, request.header("content-encoding"), MAX_BODY_BYTES)
    try:
        parsed = None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    return Seen(loaded, body, parsed, seen.at_s)
