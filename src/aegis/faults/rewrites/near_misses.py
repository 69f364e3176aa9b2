"""Records beside the right one that are easily taken for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from aegis.faults import mcp
from aegis.faults.answers import json_answer
from aegis.faults.base import Hit, Seen
from aegis.faults.rewrites import records, results
from aegis.faults.rewrites.base import ToolRewrite
from aegis.faults.rewrites.grow import belongs_to_named, mix
from aegis.faults.rewrites.making import Maker
from aegis.faults.rewrites.records import Record, scalar
from aegis.faults.rewrites.results import Edit
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Integer, Key, ListOf, Text

_NO_TARGET = "no list in the response has a record that the case names, or none to which others may be added"
_MAX_MADE = 10_000


class NearMisses(ToolRewrite):
    """Puts near misses beside each record of a list that the case names: the same but for its key, which is one digit
    off, its other ids and one more value. With several members as `key`, each near miss differs in one of them: the
    same number in another account.

    A list that was asked for with a limit gets none, nor one that was asked for by the target's id. A near miss can be
    looked up as well: where upstream knows nothing of its id (404), it is answered.
    """

    name = "rewrite/near-misses"
    keys = (
        *ToolRewrite.keys,
        Key("count", Integer(1, 100), "Near misses for each record", default=3),
        Key(
            "key",
            ListOf(Text("a member"), "a list of members"),
            "Members that together tell a record from others",
        ),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._key: tuple[str, ...] = tuple(params.get("key", ()))
        self._made: dict[tuple[str, int, str], Record] = {}

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if plan.status == 404 and not plan.replayed and (made := self._looked_up(seen)) is not None:
            await plan.release()
            return json_answer(200, made)
        call = mcp.call_of(seen)
        edit = Edit(partial(self._add, seen), nothing=_NO_TARGET)
        room = None if call is None else self.tools.room(seen, call.name)
        return await results.change_results(plan, seen, edit, partial(self.pass_on, hit), room)

    def _looked_up(self, seen: Seen) -> Record | None:
        if mcp.call_of(seen) is not None:
            return None
        last = seen.path.rstrip("/").rpartition("/")[2].casefold()
        return self._made.get((seen.request.host, seen.request.port, last))

    def _add(self, seen: Seen, value: Any, room: Room) -> bool:
        listing = records.list_of(value)
        asked = records.asked(seen)
        if listing is None or asked.bounded or not room.items:
            return False
        targets = records.targets(listing, self.named) or self._targets_by_key(listing)
        if not targets or belongs_to_named(value, listing, asked, self.named):
            return False
        kept = asked.kept(listing)
        if kept is None or (kept & set(self._key)):
            return False
        # What is found best stays first: that is what a search promises.
        first = listing[:1] if asked.searches else []
        rest = listing[len(first) :]
        rng = self._rng(targets)
        maker = Maker(listing, rng, named=self.named, kept={*kept, *self._key})
        made = [
            near
            for target, fields in targets
            for near in self._near(maker, target, tuple(name for name in fields if name not in kept))
        ]
        # One that has a named id after all, by a value that was moved or kept, would be what the case is about.
        # Of a key of several members, all but one are kept on purpose.
        misleading = self.named - records.shared(listing)
        made = [near for near in made if set(records.key_fields(near, misleading)) <= set(self._key)]
        if not made:
            return False
        mix(rest, made, rng)
        listing[:] = first + rest
        self._remember(seen, made)
        return True

    def _targets_by_key(self, listing: list[Record]) -> list[tuple[Record, tuple[str, ...]]]:
        """With a key of several members the id alone may stand in more than one record."""
        if len(self._key) < 2:
            return []
        return [(record, self._key) for record in listing if records.key_fields(record, self.named)]

    def _near(self, maker: Maker, target: Record, fields: tuple[str, ...]) -> list[Record]:
        if not self._key:
            return [maker.near_miss(target, fields) for _ in range(self.params["count"])] if fields else []
        own = [name for name in self._key if name in target]
        return (
            [maker.near_miss(target, (own[number % len(own)],)) for number in range(self.params["count"])]
            if own
            else []
        )

    def _rng(self, targets: list[tuple[Record, tuple[str, ...]]]) -> random.Random:
        """The same for the same records, in whatever list they stand."""
        return random.Random(
            self.draw(" ".join(str(record[name]) for record, names in targets for name in names))
        )

    def _remember(self, seen: Seen, made: list[Record]) -> None:
        for record in made:
            for name in records.own_keys(made) | set(records.own_keys([record])):
                if (text := scalar(record.get(name))) is not None and len(self._made) < _MAX_MADE:
                    self._made[seen.request.host, seen.request.port, text] = record


rewrite = NearMisses
