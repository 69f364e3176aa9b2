"""A page of a listing that lacks what it should hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aegis.faults import jsonpath, pages
from aegis.faults.base import Hit, Seen
from aegis.faults.jsonbody import change_json
from aegis.faults.paramkinds import PATH
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Flag, Key

_NO_LISTING = "the response holds no items, or no way to a next page"


class DropPage(Selective):
    """Takes a page out of a paginated listing, as happens when rows move between two requests, a cursor expires or a
    search node does not answer.

    - `empty`: the page's items are gone, the way to the next page stays. Agents that take an empty page for the end
      miss all that follows.
    - `last`: the items stay, the way to the next page is gone: `next`, `next_page_token`, `has_more` and their like
      become what they are on a last page, and a `Link` header loses its rel=next.
    - `empty-last`: both, as if there were nothing more.

    Every client takes it for a success; only totals that do not add up give it away. The items are the list at
    `items`, or else the root, a list of a usual name (`data`, `items`, `results`, …) or the only list. `empty` and
    `empty-last` act on requests for a later page only, those with a parameter such as `page`, `offset`, `cursor` or
    `page_token`, unless `first_page` is true; `last` acts on the first page too, unless it is false.
    """

    name = "drop-page"
    group = "partial"
    stage = "body"
    keys = (
        Key("page", Choice("page", ("empty", "last", "empty-last")), "What is missing", default="empty"),
        Key("items", PATH, "JSON path of the list of items; found by itself by default"),
        Key(
            "next",
            PATH,
            "JSON path of the way to the next page, which is removed; found by itself by default",
        ),
        Key("first_page", Flag(), "Whether the first page is hit as well; by default only by page: last"),
    )
    needs_body = True

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._empties = params["page"] != "last"
        self._ends = params["page"] != "empty"
        self._any_page: bool = params.get("first_page", not self._empties)
        self._items = jsonpath.parse(params["items"]) if "items" in params else None
        self._next = jsonpath.parse(params["next"]) if "next" in params else None

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if "next" in params and params["page"] == "empty":
            return "'next' goes with page: last and page: empty-last, which remove it"
        if "items" in params and params["page"] == "last":
            return "'items' goes with page: empty and page: empty-last, which empty it"
        return None

    def admits(self, seen: Seen) -> bool:
        return self._any_page or pages.is_later_page(seen)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        shortened = False
        if self._ends and 200 <= plan.status < 300:
            headers = pages.without_next_link(plan.headers)
            shortened = headers != plan.headers
            plan.headers = headers
        pass_on = (lambda why: None) if shortened else partial(self.pass_on, hit)
        return await change_json(plan, seen, self._change, pass_on, nothing=_NO_LISTING)

    def _change(self, value: Any) -> bool:
        emptied = self._empties and self._empty(value)
        ended = self._ends and self._end(value)
        return emptied or ended

    def _empty(self, value: Any) -> bool:
        if self._items is None:
            lists = [pages.items_of(value)]
        else:
            lists = [found for found in jsonpath.find(value, self._items) if isinstance(found, list)]
        found = [items for items in lists if items]
        for items in found:
            items.clear()
        return bool(found)

    def _end(self, value: Any) -> bool:
        if self._next is None:
            return pages.end_listing(value)
        return jsonpath.change(value, self._next, lambda parent, key: parent.pop(key)) > 0


fault = DropPage
