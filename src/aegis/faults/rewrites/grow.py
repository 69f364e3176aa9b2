"""A result that is much longer and says the same."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from aegis.faults import mcp
from aegis.faults.base import Hit, Seen
from aegis.faults.rewrites import documents, records, results
from aegis.faults.rewrites.base import ToolRewrite
from aegis.faults.rewrites.filler import Filler, plain
from aegis.faults.rewrites.making import Maker
from aegis.faults.rewrites.records import Record
from aegis.faults.rewrites.results import Edit
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Flag, Integer, Key, ListOf, Text
from aegis.trace.tokens import estimate

_ROWS_SHARE = 0.6
"""Of what is added, at most, by further records."""
_MAX_ROWS = 3000
_SAMPLE = 16
_MAX_PLACES = 12
"""Objects that get members."""
_MEMBERS = 6
"""So many does each get, about."""
_MEMBER_TOKENS = 250
"""Of a member at scale 1, about."""
LONG_ENOUGH = "the result is long enough already"
NO_ROOM = "there is no room for more in the result, or the tool's output schema allows none"


class Grow(ToolRewrite):
    """Grows results to about `tokens` tokens: members around those that objects have, records around those of a list.
    What was there keeps its names, values and order.

    Records are added only to a list with a record that the case names (`named`), which they are never like in its key,
    and only when they would be an answer to the same request as well; so to none that was asked for with a limit, a
    search or a filter which the records do not show.
    """

    name = "rewrite/grow"
    keys = (
        *ToolRewrite.keys,
        Key("tokens", Integer(100, 1_000_000), "How long results become", required=True),
        Key("rows", Flag(), "Whether records are added to lists", default=True),
        Key(
            "said", ListOf(Text("a word"), "a list of words"), "Words that no added record holds", default=[]
        ),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._said = frozenset(word.casefold() for word in params["said"])

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        call = mcp.call_of(seen)
        edit = Edit(
            partial(self._grow, seen), partial(self._grow_text, seen), nothing=f"{LONG_ENOUGH}, or {NO_ROOM}"
        )
        room = None if call is None else self.tools.room(seen, call.name)
        return await results.change_results(plan, seen, edit, partial(self.pass_on, hit), room)

    def _rng(self, seen: Seen) -> random.Random:
        """The same for the same question: a listing that is asked for again has the same records."""
        call = mcp.call_of(seen)
        asked = (
            seen.request.target if call is None else f"{call.name} {sorted(map(str, call.arguments.items()))}"
        )
        return random.Random(self.draw(f"{seen.request.host} {asked}"))

    def _grow(self, seen: Seen, value: Any, room: Room) -> bool:
        rng = self._rng(seen)
        before = copy.deepcopy(value)
        missing = self.params["tokens"] - estimate(documents.write_text(value))
        if missing <= 0:
            return False
        grown = missing
        if self.params["rows"] and room.items:
            missing -= self._add_rows(seen, value, rng, int(missing * _ROWS_SHARE))
        if room.members:
            missing -= add_members(value, rng, missing)
        if missing == grown:
            return False
        if not holds(value, before):
            # Never seen; but a variant with another target would blame the agent.
            self.tell("left as it was: the grown result did not hold what it was made of")
            _restore(value, before)
            return False
        return True

    def _add_rows(self, seen: Seen, value: Any, rng: random.Random, most: int) -> int:
        """Their tokens."""
        items = rows_fit(seen, value, self.named)
        if items is None:
            return 0
        listing, kept = items
        maker = Maker(listing, rng, named=self.named, kept=kept, said=self._said)
        made = [maker.sibling() for _ in range(_SAMPLE)]
        size = estimate(documents.write_text(made))
        # By what a few take: the gateway serves other trials meanwhile.
        number = min(_MAX_ROWS, most * _SAMPLE // max(1, size))
        made = made[:number] + [maker.sibling() for _ in range(number - _SAMPLE)]
        size = estimate(documents.write_text(made))
        mix(listing, made, rng)
        return size

    def _grow_text(self, seen: Seen, text: str) -> str | None:
        missing = self.params["tokens"] - estimate(text)
        if missing <= 0:
            return None
        filler = Filler(self._rng(seen))
        lines = ["", ""]
        while missing > 0:
            lines.append(filler.line())
            missing -= estimate(lines[-1]) + 1
        return text + "\n".join(lines)


def rows_fit(seen: Seen, value: Any, named: frozenset[str]) -> tuple[list[Record], frozenset[str]] | None:
    """The listing to which records can be added that answer the same request, and the members that they must share;
    None when there is none, or nobody could tell."""
    listing = records.list_of(value)
    asked = records.asked(seen)
    if listing is None or asked.bounded or asked.searches:
        return None
    if not records.targets(listing, named) or belongs_to_named(value, listing, asked, named):
        return None
    kept = asked.kept(listing)
    return None if kept is None else (listing, kept)


def belongs_to_named(value: Any, listing: list[Record], asked: records.Asked, named: frozenset[str]) -> bool:
    """Whether the listing is a part of what the case names (the lines of an order), or was asked for by its id."""
    return (
        records.holds_named(value, named, besides=listing)
        or any(text in named for text in asked.filters)
        or any(text in named for text in asked.path)
    )


def mix(listing: list[Record], made: list[Record], rng: random.Random) -> None:
    """Put records between those of a list, which keep their order."""
    slots = sorted(rng.randint(0, len(listing)) for _ in made)
    mixed: list[Record] = []
    waiting = list(zip(slots, made, strict=True))[::-1]
    for place in range(len(listing) + 1):
        while waiting and waiting[-1][0] == place:
            mixed.append(waiting.pop()[1])
        mixed += listing[place : place + 1]
    listing[:] = mixed


def add_members(value: Any, rng: random.Random, most: int) -> int:
    """Add members to objects until they have about `most` tokens, which is returned."""
    places = _places(value)
    if not places or most <= 0:
        return 0
    filler = Filler(rng)
    known = [{plain(name) for name in place} for place in places]
    added: list[list[tuple[str, Any]]] = [[] for _ in places]
    scale = most // (len(places) * _MEMBERS * _MEMBER_TOKENS)
    size, number = 0, 0
    while size < most:
        place = number % len(places)
        member = filler.member(known[place], max(1, min(scale, (most - size) // (2 * _MEMBER_TOKENS))))
        added[place].append(member)
        size += estimate(documents.write_text(dict([member])))
        number += 1
    for record, members in zip(places, added, strict=True):
        _interleave(record, members, rng)
    return size


def _places(value: Any) -> list[Record]:
    """Objects that can have more members: the root and the records of its listing, some of these when they are many."""
    listing = records.list_of(value) or []
    if len(listing) > _MAX_PLACES:
        step = len(listing) // _MAX_PLACES
        listing = listing[::step][:_MAX_PLACES]
    return [*([value] if isinstance(value, dict) else []), *listing]


def _interleave(place: Record, members: list[tuple[str, Any]], rng: random.Random) -> None:
    mixed = list(place.items())
    slots = sorted((rng.randint(0, len(mixed)) for _ in members), reverse=True)
    for slot, member in zip(slots, reversed(members), strict=True):
        mixed.insert(slot, member)
    place.clear()
    place.update(mixed)


def _restore(value: Any, before: Any) -> None:
    value.clear()
    (value.update if isinstance(value, dict) else value.extend)(before)


def holds(grown: Any, before: Any) -> bool:
    """Whether a value is still all there in another one: taking members and elements away gives it back."""
    if isinstance(before, dict):
        if not isinstance(grown, dict):
            return False
        same = [name for name in grown if name in before] == list(before)
        return same and all(holds(grown[name], item) for name, item in before.items())
    if isinstance(before, list):
        if not isinstance(grown, list):
            return False
        left = iter(grown)
        return all(any(holds(item, wanted) for item in left) for wanted in before)
    return type(grown) is type(before) and bool(grown == before)


rewrite = Grow
