"""Transform `bloated-tools`: results of tools that are much longer and say the same."""

from __future__ import annotations

import random
from typing import ClassVar

from aegis.stress import toolkeys
from aegis.stress.base import Transform
from aegis.stress.words import COMMON, said, words
from aegis.suite.kinds import Choice, Key
from aegis.suite.model import Case, FaultRule

_TOKENS = {"8k": 8_000, "32k": 32_000}
_MOST_WORDS = 500


class BloatedTools(Transform):
    """Grows what tools return to about 8,000 or 32,000 tokens (estimated), as real services do that send every column,
    an audit trail and a rendered description along, and lists with everybody's records in them.

    The gateway does it: JSON that HTTP hosts answer to GET, and results of MCP tools that read, over HTTP or (with
    `aegis-mcp-tap`) over standard input and output. Objects get further members around their own (`metadata`,
    `audit_trail`, `description_html`, …), which keep names, values and order, numbers as they were written. Lists get
    further records of the same shape with other keys, between the ones they have. Plain text of an MCP tool gets lines
    of a debug log behind it. Model providers, errors, streams and what writes are left alone; `writes: true` takes the
    last back. A tool whose output schema is closed gets no members, or no records.

    `rows` says which lists get records. `named`: those with a record that the user names by its id, unless the user may
    ask about the whole list (`how many`, `latest`), it was asked for with a limit, a search, or a filter that the
    records do not show. `never`: none, all of the growth is in members.

    The oracle stays valid because nothing that a tool said is taken back: every member and every record is there as it
    was, in its order, which is checked for each result. What is added is about the keeping of records, never about
    their content; further records have keys of their own, hold no word of the user's, and come only into lists of which
    the case is about one record. A case with a `budget` of tokens that such results exceed for certain is rejected.
    """

    name: ClassVar[str] = "bloated-tools"
    levels: ClassVar[tuple[str, ...]] = ("8k", "32k")
    usual: ClassVar[tuple[str, ...]] = ("8k",)
    keys: ClassVar[tuple[Key, ...]] = (
        Key("rows", Choice("rows", ("named", "never")), "Which lists get further records", default="named"),
        toolkeys.TARGETS,
        *toolkeys.PLACE_KEYS,
        toolkeys.require_fired(False),
    )

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        tokens = _TOKENS[level]
        toolkeys.refuse_token_budget(case, tokens)
        named = tuple(self.params.get("targets") or toolkeys.ids_of(case))
        many = None if "targets" in self.params else toolkeys.about_many(case)
        rows = self.params["rows"] == "named" and bool(named) and many is None
        rule = FaultRule(
            id=self.name,
            inject="rewrite/grow",
            match=toolkeys.place(self.params),
            require_fired=self.params["require_fired"],
            params={
                "tokens": tokens,
                "rows": rows,
                "named": list(named),
                "said": _said(case),
                "writes": self.params["writes"],
            },
        )
        return toolkeys.added(
            case, rule
        ), f"results of tools grown to about {tokens:,} tokens{_rows(rows, named, many)}"


def _rows(rows: bool, named: tuple[str, ...], many: str | None) -> str:
    if rows:
        return f", with further records beside {', '.join(named)}"
    return f", without further records ({many!r} may be about a whole list)" if many and named else ""


def _said(case: Case) -> list[str]:
    """Words by which the user may mean a record: further records hold none of them."""
    found = dict.fromkeys(word.casefold() for text in said(case) for word in words(text) if len(word) > 3)
    return [word for word in found if word not in COMMON][:_MOST_WORDS]


transform = BloatedTools
