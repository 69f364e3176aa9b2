"""The weather of one trial: rules and their state between the agent and the outside world."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from typing import Literal

from aegis.faults import registry
from aegis.faults.base import Fault, Hit, Moment, Seen, Stage, TrialKey
from aegis.faults.plan import match as matching
from aegis.faults.plan import when
from aegis.gateway import codings
from aegis.gateway.base import (
    ByteStream,
    Forward,
    Interceptor,
    Notes,
    ReadBody,
    Request,
    RequestBody,
    ResponsePlan,
    Shut,
)
from aegis.gateway.failures import Cut, Failure
from aegis.suite.model import FaultRule
from aegis.trace.faults import FaultReport

MAX_BODY_BYTES = 1024 * 1024
"""Of a request, to be looked at by rules that ask for its content."""
MAX_WITHHELD_BYTES = 64 * 1024
MAX_PLACES = 4096
MAX_HITS = 1000
"""Told of one rule by their numbers."""
_ORDER: tuple[Stage, ...] = ("time", "body", "answer", "rewrite")


@dataclass(slots=True)
class _Active:
    """One rule in one trial."""

    rule: FaultRule
    fault: Fault
    test: matching.Matcher
    ends: matching.Matcher | None
    permanent: bool
    on_requests: bool
    matched: int = 0
    hits: list[int] = field(default_factory=list)
    """Numbers of the matches that it hit."""
    displaced: int = 0
    ended: bool = False
    routes: dict[str, int] = field(default_factory=dict)

    @property
    def fired(self) -> int:
        return len(self.hits)

    def hit_last(self) -> None:
        """The match that was counted last is a hit."""
        self.hits.append(self.matched)

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
            hits=tuple(self.hits[:MAX_HITS]),
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
        self._active = [_activate(rule, key, placeholders or {}, now) for rule in rules]
        self._requests = [item for item in self._active if item.on_requests]
        self._watchers = [item for item in self._requests if type(item.fault).watches is not Fault.watches]
        self._places: dict[matching.RequestPlace, tuple[_Active, ...]] = {}
        self._connects = [item for item in self._active if item.fault.stage == "connect"]
        self._tunnels = [
            item
            for item in self._active
            if "tcp" in item.fault.layers
            and item.fault.stage != "connect"
            and not matching.is_of_requests(item.rule.match)
        ]
        self._ending_rules = [item for item in self._active if item.ends is not None]
        self._looks_inside = any(
            matching.needs_body(item.rule.match) or item.fault.needs_body for item in self._requests
        ) or any(
            item.rule.until_match is not None and matching.needs_body(item.rule.until_match)
            for item in self._ending_rules
        )

    def use_clock(self, now: Callable[[], float]) -> None:
        """The trial's clock, in seconds since the agent's start."""
        self._now = now
        for item in self._active:
            item.fault.now = now

    def shift_date(self, ahead_s: float) -> None:
        """The machine's clock is this far ahead of the host's: dates that faults tell are as much later."""
        for item in self._active:
            item.fault.date_s = lambda: time.time() + ahead_s

    def start(self) -> None:
        """The agent begins. What passed before met no fault."""
        self._started = True

    @property
    def shuts(self) -> tuple[Literal["lookup", "opening"], ...]:
        """What may fail before there is a connection. A client sees that only if no proxy is between."""
        moments = {item.fault.moment for item in self._connects}
        return tuple(moment for moment in ("lookup", "opening") if moment in moments)

    def reports(self) -> tuple[FaultReport, ...]:
        return tuple(item.report() for item in self._active if item.fault.stage != "rewrite")

    # -- connections -----------------------------------------------------------------------------------------------

    def resolving(self, host: str) -> Shut | None:
        return self._shut(("lookup",), host, None, host)

    def connecting(self, host: str, port: int, *, proxied: bool) -> Shut | None:
        moments: tuple[Moment, ...] = ("opening",)
        if proxied and not is_address(host):
            moments = ("lookup", "opening")
        return self._shut(moments, host, port, f"{host}:{port}")

    def handshaking(self, host: str, port: int, *, opened: bool) -> Shut | None:
        return self._shut(("handshake",), host, port, f"{host}:{port}", certificate=opened)

    def _shut(
        self,
        moments: tuple[Moment, ...],
        host: str,
        port: int | None,
        route: str,
        *,
        certificate: bool = True,
    ) -> Shut | None:
        """The first failure of these moments. A lookup (`port` None) is of a name and of no port, whichever a rule
        names. Without a `certificate` of ours nothing can be wrong with it."""
        if not self._started:
            return None
        found: Shut | None = None
        for item in self._connects:
            if item.fault.moment not in moments:
                continue
            hit = self._hit_place(item, host, port, route)
            shut = None if hit is None else item.fault.shut(hit)
            if shut is None or (shut.needs_certificate and not certificate):
                continue
            if found is not None:
                item.displaced += 1
                continue
            found = shut
            item.hit_last()
            found.notes.faults.append(item.rule.id)
        return found

    def tunnel(self, host: str, port: int, client: ByteStream, notes: Notes) -> ByteStream:
        for item, hit in self._take_tunnel(host, port, notes):
            client = item.fault.tunnel(hit, client)
        return client

    def decide_tunnel(self, host: str, port: int) -> tuple[str, ...]:
        """The rules that hit a connection which is carried unread, as `tunnel` decides it."""
        return tuple(item.rule.id for item, _ in self._take_tunnel(host, port, Notes()))

    def _take_tunnel(self, host: str, port: int, notes: Notes) -> list[tuple[_Active, Hit]]:
        taken: list[tuple[_Active, Hit]] = []
        for item in self._tunnels if self._started else ():
            hit = self._hit_place(item, host, port, f"{host}:{port}", notes)
            if hit is not None:
                item.hit_last()
                notes.faults.append(item.rule.id)
                taken.append((item, hit))
        return taken

    def _hit_place(
        self, item: _Active, host: str, port: int | None, route: str, notes: Notes | None = None
    ) -> Hit | None:
        match = item.rule.match
        covered = (
            matching.covers_host(match, host) if port is None else matching.covers_place(match, host, port)
        )
        if not covered:
            return None
        at_s = self._now()
        nth = item.next_match(route)
        picked = item.picks(self._key, route, nth, at_s)
        return self._hit(item, route, nth, at_s, notes or Notes()) if picked else None

    def _hit(self, item: _Active, route: str, nth: int, at_s: float, notes: Notes) -> Hit:
        number = item.matched

        def spare() -> None:
            item.hits.remove(number)
            (notes.rewrites if item.fault.stage == "rewrite" else notes.faults).remove(item.rule.id)

        return Hit(item.rule.id, route, item.matched, nth, at_s, self._key, item.permanent, spare)

    # -- exchanges -------------------------------------------------------------------------------------------------

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        if not self._started or not (self._requests or self._ending_rules):
            return await forward(request)
        seen = Seen(request, None, None, self._now())
        if self._looks_inside:
            seen = await _look_inside(seen)
        return await self._through(self._take(seen), seen, forward)(seen.request)

    async def decide(self, seen: Seen, forward: Forward) -> tuple[str, ...]:
        """The rules that hit a request, as `intercept` decides it, in the order in which they take it. It takes no
        time, and nobody gets the answer; `forward` gives what upstream answers, to be bent or learned from."""
        quick = [pair for pair in self._take(seen) if pair[0].fault.group != "time"]
        with contextlib.suppress(Failure, Cut):
            plan = await self._through(quick, seen, forward)(seen.request)
            async for _ in plan.body:
                pass
        return tuple(seen.request.notes.faults)

    def _through(self, taken: Sequence[tuple[_Active, Hit]], seen: Seen, forward: Forward) -> Forward:
        """Upstream behind the faults that have taken the exchange."""
        call = forward
        for item, hit in reversed(taken):
            if item.fault.stage == "rewrite":
                call = _applying(item.fault, hit, seen, call)
        call = self._learning(seen, call)
        for item, hit in reversed(taken):
            if item.fault.stage == "answer":
                call = _answering(item.fault, hit, seen, call)
        for item, hit in reversed(taken):
            if item.fault.stage in ("time", "body"):
                call = _applying(item.fault, hit, seen, call)
        return call

    def _learning(self, seen: Seen, forward: Forward) -> Forward:
        """Forward, and let learn from the answer who wants to. Next to upstream: what another fault answers instead is
        nothing to learn from."""
        call = self._ending(seen, forward)
        for item in self._watchers:
            if item.fault.watches(seen):
                call = _observing(item.fault, seen, call)
        return call

    def _take(self, seen: Seen) -> list[tuple[_Active, Hit]]:
        """Which rules hit this exchange, those that act next to the client first."""
        request = seen.request
        route = f"{request.method} {request.host}{seen.path}"
        taken: dict[str, tuple[_Active, Hit]] = {}
        for item in self._covering(seen):
            if request.layer == "mcp" and "mcp" not in item.fault.layers:
                continue
            if not item.test.decides(seen) or item.fault.leaves_out(seen):
                continue
            nth = item.next_match(route)
            if not item.fault.takes(seen, item.picks(self._key, route, nth, seen.at_s)):
                continue
            # Any number of faults may take time; what is answered, and how it is bent, is one fault's business.
            slot = item.rule.id if item.fault.stage in ("time", "rewrite") else item.fault.stage
            if slot in taken:
                item.displaced += 1
                continue
            taken[slot] = item, self._hit(item, route, nth, seen.at_s, request.notes)
        for item, _ in taken.values():
            item.hit_last()
            told = request.notes.rewrites if item.fault.stage == "rewrite" else request.notes.faults
            told.append(item.rule.id)
        return sorted(taken.values(), key=lambda pair: _ORDER.index(pair[0].fault.stage))

    def _covering(self, seen: Seen) -> tuple[_Active, ...]:
        """The rules that can be about a request to this place, in their order: remembered, for agents talk to few."""
        place = matching.place_of(seen)
        found = self._places.get(place)
        if found is None:
            found = tuple(item for item in self._requests if item.test.covers(place))
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            self._places[place] = found
        return found

    def _ending(self, seen: Seen, forward: Forward) -> Forward:
        """Forward, and look whether the answer is what a rule's `until` waits for."""
        ending = [item for item in self._ending_rules if not item.ended and item.ends and item.ends(seen)]
        if not ending:
            return forward

        async def call(request: Request) -> ResponsePlan:
            plan = await forward(request)
            if 200 <= plan.status < 300:
                for item in ending:
                    item.ended = True
            return plan

        return call


def is_address(host: str) -> bool:
    """Whether it needs no lookup."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _activate(
    rule: FaultRule, key: TrialKey, placeholders: Mapping[str, str], now: Callable[[], float]
) -> _Active:
    kind = registry.get(rule.inject)
    fault = kind(kind.read(rule.params))
    fault.now = now
    fault.draw = partial(key.draw, rule.id)
    fault.covers_host = partial(matching.covers_host, rule.match)
    return _Active(
        rule=rule,
        fault=fault,
        test=matching.compile_match(rule.match, placeholders),
        ends=None if rule.until_match is None else matching.compile_match(rule.until_match, placeholders),
        permanent=when.is_permanent(rule) and fault.recurs,
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
        asked: list[_Kept] = []

        async def once(request: Request) -> ResponsePlan:
            asked.append(kept := _Kept())
            return kept.reading(await inner(request))

        try:
            plan = await fault.apply(hit, replace(seen, request=request), once)
        except (Failure, Cut):
            request.notes.withheld = asked[-1].content() if asked else await _withheld(request, inner)
            raise
        except asyncio.CancelledError:
            # The client has not waited for an answer that upstream has given.
            request.notes.withheld = asked[-1].content() if asked else None
            raise
        if not asked:
            request.notes.withheld = await _withheld(request, inner)
        return plan

    return call


class _Kept:
    """What was read of a response by a fault that then gives nothing of it to the client."""

    def __init__(self) -> None:
        self._plan: ResponsePlan | None = None
        self._kept = bytearray()

    def reading(self, plan: ResponsePlan) -> ResponsePlan:
        self._plan = plan
        plan.body = self._pieces(plan.body)
        return plan

    async def _pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in body:
            self._kept += piece[: MAX_WITHHELD_BYTES - len(self._kept)]
            yield piece

    def content(self) -> bytes | None:
        """Its content codings removed; None when upstream has not answered with success."""
        if self._plan is None or not 200 <= self._plan.status < 300:
            return None
        return _decoded(self._plan, bytes(self._kept))


async def _withheld(request: Request, inner: Forward) -> bytes | None:
    """The body of what upstream answers with success; None when it doesn't."""
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
    return _decoded(plan, bytes(kept))


def _decoded(plan: ResponsePlan, kept: bytes) -> bytes | None:
    coding = next((value for name, value in plan.headers if name.lower() == b"content-encoding"), b"")
    return codings.decode(kept, coding.decode("latin-1") or None, MAX_WITHHELD_BYTES)


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
    loaded = replace(request, body=ReadBody(raw, rest, length=request.body.length))
    if rest is not None:
        return replace(seen, request=loaded)
    body = codings.decode(raw, request.header("content-encoding"), MAX_BODY_BYTES)
    try:
        parsed = None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    return Seen(loaded, body, parsed, seen.at_s)
