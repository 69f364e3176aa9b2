"""Transform `truncated-tools`: listings in pages."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from aegis.stress import toolkeys
from aegis.stress.base import RejectedError, Transform
from aegis.suite.kinds import Key
from aegis.suite.model import Case, Expectation, FaultRule

_CALLS = ("steps", "tool_calls", "model_calls")


class TruncatedTools(Transform):
    """Cuts the lists that tools return to 10 or 3 items and says so, with a second page to be fetched, as services do
    as soon as there is real data in them.

    The gateway does it, for JSON that HTTP hosts answer to GET and for results of MCP tools that read. Over HTTP the
    way on is a URL with a cursor: in the members that the listing has for it (`next`, `next_cursor`, `has_more`), else
    in `truncated`, `has_more` and `next`, which are added; of a bare list in the header `Link` (RFC 8288). Whoever asks
    for it gets the next items, to the last page. Totals stay what they were. A list of an MCP tool is cut only when the
    tool has a parameter to ask for more with (`cursor`, `page_token`, `offset`, …), which the note names. Listings with
    pages of their own are left alone.

    The oracle stays valid because nothing is lost: every item is on one of the pages, in its order, and each page says
    whether there is more. What counts calls is no longer right, so a case is rejected that has a `budget` of steps or
    calls, `tool_calls: exact`, or an upper count of a `request` that reading a second page may match.
    """

    name: ClassVar[str] = "truncated-tools"
    levels: ClassVar[tuple[str, ...]] = ("10", "3")
    usual: ClassVar[tuple[str, ...]] = ("3",)
    keys: ClassVar[tuple[Key, ...]] = (*toolkeys.PLACE_KEYS, toolkeys.require_fired(False))

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        for key, limit in toolkeys.budgets(case, *_CALLS):
            raise RejectedError(
                f"budget: {key} {limit} counts calls, and a second page takes one more: take it out, or put it in a "
                "case of its own with stress: none"
            )
        for entry in toolkeys.expectations(case):
            if (why := _counts(entry)) is not None:
                raise RejectedError(f"{why}, and a second page takes one more call")
        rule = FaultRule(
            id=self.name,
            inject="rewrite/shorten",
            match=toolkeys.place(self.params),
            require_fired=self.params["require_fired"],
            params={"items": int(level), "writes": self.params["writes"]},
        )
        return toolkeys.added(case, rule), f"lists cut to pages of {level} items"


def _counts(entry: Expectation) -> str | None:
    """Why one more reading call may be one too many."""
    config = entry.config
    if not isinstance(config, Mapping):
        return None
    if entry.scorer == "tool_calls" and config.get("exact"):
        return "tool_calls: exact names every call"
    if entry.scorer == "request" and _is_bounded(config.get("count")) and _may_read(config):
        return "a request with an upper count may be one that reads"
    return None


def _is_bounded(count: Any) -> bool:
    """Whether it has an upper bound above 0: what must never be asked for is no list that is read."""
    most = count.get("max") if isinstance(count, Mapping) else count
    return isinstance(most, int) and most > 0


def _may_read(pattern: Mapping[str, Any]) -> bool:
    methods = pattern.get("method", "GET")
    return any(
        str(method).upper() == "GET" for method in ([methods] if isinstance(methods, str) else methods)
    )


transform = TruncatedTools
