"""Transform `distractors`: records that are easily taken for the right one."""

from __future__ import annotations

import random
import re
from typing import ClassVar

from aegis.stress import toolkeys
from aegis.stress.base import NotApplicableError, RejectedError, Transform
from aegis.suite.kinds import Key, ListOf, Text
from aegis.suite.model import Case, FaultRule

_COUNTS = {"3": 3, "12": 12}


class Distractors(Transform):
    """Puts 3 or 12 near misses beside the record that the case is about, as there are in every real list: the same
    customer's other order with a number one digit off, the same article once more, the same number in another account.

    The gateway does it, in the lists that HTTP hosts answer to GET and that MCP tools return which read; never in the
    answer to a question for one object, in a list that was asked for with a limit or by the target's id. A near miss is
    the target in all but its key (one digit or letter off, and no other record's), its other ids and one more value.
    Members that were filtered by stay, so that it is an answer to the same question. The first result of a search stays
    first. Whoever looks a near miss up gets it, where the host knows nothing of its id.

    The target is the record that the user names by its id, or `targets`. Its key are the members in which that id
    stands, or those that `key` names; with several (`key: [account, number]`) each near miss differs in one of them.

    The oracle stays valid because the target is there as it was, and no near miss has its key: whoever reads the key
    finds one record. A case whose user names no id is not made harder but unclear, so it gets no variant; one that may
    ask about the whole list (`how many`, `latest`) is rejected, unless `targets` says what it is about.
    """

    name: ClassVar[str] = "distractors"
    levels: ClassVar[tuple[str, ...]] = ("3", "12")
    usual: ClassVar[tuple[str, ...]] = ("3",)
    keys: ClassVar[tuple[Key, ...]] = (
        toolkeys.TARGETS,
        Key(
            "key",
            ListOf(
                Text("the name of a member", re.compile(r"[^\s.\[\]]{1,100}")),
                "a list of members such as [account, number]",
                min_items=1,
                unique=True,
            ),
            "Members that together tell a record from all others; by default those that hold the id",
        ),
        *toolkeys.PLACE_KEYS,
        toolkeys.require_fired(False),
    )

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        named = tuple(self.params.get("targets") or toolkeys.ids_of(case))
        if not named:
            raise NotApplicableError(
                "its user names no record by an id: a near miss would make it unclear which one is meant "
                "(stress: [{transform: distractors, targets: ['1042']}] says which)"
            )
        if "targets" not in self.params and (many := toolkeys.about_many(case)) is not None:
            raise RejectedError(
                f"{many!r} may ask about a whole list, whose answer further records would change: say which records "
                "it is about (targets: ['1042'])"
            )
        params = {"named": list(named), "count": _COUNTS[level], "writes": self.params["writes"]}
        if "key" in self.params:
            params["key"] = self.params["key"]
        rule = FaultRule(
            id=self.name,
            inject="rewrite/near-misses",
            match=toolkeys.place(self.params),
            require_fired=self.params["require_fired"],
            params=params,
        )
        return toolkeys.added(case, rule), f"{level} near misses beside {', '.join(named)} in lists"


transform = Distractors
