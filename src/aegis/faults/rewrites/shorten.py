"""Listings in pages, where upstream gives all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote

from aegis.faults import mcp, pages
from aegis.faults.base import Hit, Seen
from aegis.faults.rewrites import documents, results
from aegis.faults.rewrites.base import ToolRewrite
from aegis.faults.rewrites.bodies import with_body
from aegis.faults.rewrites.results import Edit
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Forward, Request, ResponsePlan
from aegis.suite.kinds import Integer, Key

_MAX_TOKENS = 100_000
_CURSORS = (
    "cursor", "page_token", "pageToken", "next_cursor", "nextCursor", "next_token", "nextToken", "continuation_token",
    "continuationToken", "starting_after", "after", "start_cursor", "marker",
)  # fmt: skip
_OFFSETS = ("offset", "skip", "start_index", "startIndex", "start")
NO_LISTING = "the response holds no list that is longer than the limit, or one that has pages of its own"
NO_PARAMETER = "the tool has no parameter by which a second page could be asked for"


@dataclass(frozen=True, slots=True)
class _WayOn:
    """How the next page is asked for."""

    link: str
    """For members that hold a URL."""
    token: str | int
    """For members that hold a cursor, or an offset."""
    name: str
    """The member that is added for it where there is none."""
    words: str
    """For a text that stands beside a list."""


@dataclass(slots=True)
class _Cut:
    """One page of a listing."""

    items: int
    start: int
    way_on: Any
    """Start of the next page → `_WayOn`."""
    own_pages: bool = False
    bare: list[_WayOn | None] = field(default_factory=list)
    """Of each bare list that was cut: a list has no place for the way on."""
    total: int = 0

    def value(self, value: Any, room: Room) -> bool:
        listing = pages.items_of(value)
        if listing is None or self.own_pages or any(parent[name] for parent, name, _ in pages.ways_on(value)):
            return False
        if not self.start and len(listing) <= self.items:
            return False
        if isinstance(value, dict) and not room.members and not list(pages.ways_on(value)):
            return False
        end = self.start + self.items
        self.total = len(listing)
        more = self.way_on(end) if len(listing) > end else None
        listing[:] = listing[self.start : end]
        if isinstance(value, dict):
            _mark(value, listing, more, self.way_on(end).name)
        else:
            self.bare.append(more)
        return True

    def note(self, told: dict[str, Any]) -> None:
        """Beside a bare list that a tool returned."""
        for more in self.bare[:1]:
            if more is not None and isinstance(told.get("content"), list):
                shown = f"items {self.start + 1} to {self.start + self.items} of {self.total}"
                told["content"].append({"type": "text", "text": f"[truncated: {shown}; {more.words}]"})


class Shorten(ToolRewrite):
    """Cuts listings to `items` items, says so, and gives the others on further pages.

    Over HTTP the way on is a URL with a cursor, in the members that the listing has for that (`next`, `next_cursor`,
    `has_more`), else in `truncated`, `has_more` and `next`; of a bare list in the header Link (RFC 8288). An MCP tool's
    listing is cut only when the tool has a parameter such as `cursor` or `offset` to ask for more with.
    """

    name = "rewrite/shorten"
    keys = (*ToolRewrite.keys, Key("items", Integer(1, 10_000), "Items on a page", required=True))

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._starts: dict[tuple[str, int, str, str], int] = {}
        """Where the page begins that a token stands for: by host, port, path or tool, and token."""

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        call = mcp.call_of(seen)
        if call is not None:
            return await self._call(hit, seen, call, forward)
        target, start = self._asked(seen)
        request = seen.request if target == seen.request.target else replace(seen.request, target=target)
        plan = await forward(request)
        way_on = partial(self._link, seen, target)
        own = pages.without_next_link(plan.headers) != plan.headers
        cut = _Cut(self.params["items"], start, way_on, own_pages=own)
        edit = Edit(cut.value, nothing=NO_LISTING)
        plan = await results.change_results(plan, seen, edit, partial(self.pass_on, hit))
        for more in cut.bare:
            if more is not None:
                plan.headers = (*plan.headers, (b"Link", f'<{more.link}>; rel="next"'.encode()))
        return plan

    def _asked(self, seen: Seen) -> tuple[str, int]:
        """The target without a token of ours, and where the page begins."""
        path, mark, query = seen.request.target.partition("?")
        parts = query.split("&") if mark else []
        for part in parts:
            for _, value in parse_qsl(part):
                start = self._starts.get((seen.request.host, seen.request.port, path, value))
                if start is not None:
                    left = "&".join(other for other in parts if other != part)
                    return f"{path}?{left}" if left else path, start
        return seen.request.target, 0

    def _link(self, seen: Seen, target: str, start: int) -> _WayOn:
        request = seen.request
        token = self._token(request, seen.path, start)
        usual = {"http": 80, "https": 443}.get(request.scheme)
        port = "" if request.port == usual else f":{request.port}"
        mark = "&" if "?" in target else "?"
        link = f"{request.scheme}://{request.host}{port}{target}{mark}cursor={quote(token)}"
        return _WayOn(link, token, "next", "")

    def _token(self, request: Request, place: str, start: int) -> str:
        token = pages.made_token(self.draw(f"{request.host} {place} {start}"))
        if len(self._starts) < _MAX_TOKENS:
            self._starts[request.host, request.port, place, token] = start
        return token

    # -- tools -----------------------------------------------------------------------------------------------------

    async def _call(self, hit: Hit, seen: Seen, call: mcp.ToolCall, forward: Forward) -> ResponsePlan:
        parameters = self.tools.parameters(seen, call.name)
        cursor = next((name for name in _CURSORS if _takes(parameters.get(name), "string")), None)
        offset = next((name for name in _OFFSETS if _takes(parameters.get(name), "integer")), None)
        name = cursor or offset
        if name is None:
            self.pass_on(hit, NO_PARAMETER)
            return await forward(seen.request)
        given = call.arguments.get(name)
        if cursor is None:
            # Upstream begins there itself.
            at = given if isinstance(given, int) else 0
            way_on = partial(self._offset, name, at)
            return await self._cut_call(
                hit, seen, call, seen.request, _Cut(self.params["items"], 0, way_on), forward
            )
        start = self._starts.get((seen.request.host, seen.request.port, call.name, str(given)))
        request = seen.request if start is None else _without(seen, name)
        cut = _Cut(self.params["items"], start or 0, partial(self._cursor, seen, call.name, name))
        return await self._cut_call(hit, seen, call, request, cut, forward)

    async def _cut_call(
        self, hit: Hit, seen: Seen, call: mcp.ToolCall, request: Request, cut: _Cut, forward: Forward
    ) -> ResponsePlan:
        plan = await forward(request)
        edit = Edit(cut.value, after=cut.note, nothing=NO_LISTING)
        room = self.tools.room(seen, call.name)
        return await results.change_results(plan, seen, edit, partial(self.pass_on, hit), room)

    def _cursor(self, seen: Seen, tool: str, name: str, start: int) -> _WayOn:
        token = self._token(seen.request, tool, start)
        return _WayOn(token, token, "next_cursor", f'call again with {name}="{token}" for more')

    def _offset(self, name: str, at: int, start: int) -> _WayOn:
        begin = at + start
        return _WayOn(str(begin), begin, "next_offset", f"call again with {name}={begin} for more")


def _takes(schema: Any, kind: str) -> bool:
    """Whether a parameter takes a value of this type."""
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type")
    options = [schema, *(item for word in ("anyOf", "oneOf") for item in schema.get(word) or ())]
    return kind in (kinds if isinstance(kinds, list) else [kinds]) or any(
        isinstance(option, dict) and option.get("type") == kind for option in options
    )


def _without(seen: Seen, name: str) -> Request:
    """The call without this argument."""
    message = documents.parse(seen.body or b"")
    del message["params"]["arguments"][name]
    return with_body(seen.request, documents.write(message))


def _mark(value: dict[str, Any], listing: list[Any], more: _WayOn | None, name: str) -> None:
    """Say whether there is more, where the result has a place for that, else in members that are added."""
    marked = False
    for parent, member, flag in list(pages.ways_on(value)):
        if flag:
            parent[member] = more is not None
        elif more is not None:
            parent[member] = more.token if _holds_token(member) else more.link
            marked = True
        else:
            marked = True
    if not marked:
        holder = _holder(value, listing)
        holder["truncated"] = more is not None
        if not any(flag for _, _, flag in pages.ways_on(value)):
            holder["has_more"] = more is not None
        holder[name] = None if more is None else (more.link if name == "next" else more.token)


def _holds_token(member: str) -> bool:
    return any(word in member.lower() for word in ("token", "cursor", "marker", "offset"))


def _holder(value: dict[str, Any], listing: list[Any], depth: int = 6) -> dict[str, Any]:
    """The mapping that holds the listing."""
    return _found(value, listing, depth) or value


def _found(value: dict[str, Any], listing: list[Any], depth: int) -> dict[str, Any] | None:
    if any(item is listing for item in value.values()):
        return value
    below = [item for item in value.values() if isinstance(item, dict)] if depth else []
    return next((found for item in below if (found := _found(item, listing, depth - 1)) is not None), None)


rewrite = Shorten
