"""Paginated listings: which requests ask for a later page, and where an answer holds its items and the way on.
Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from aegis.faults.added import own_names
from aegis.faults.base import Seen
from aegis.gateway.base import RawHeaders
from aegis.trace import lenient

_PLACES = re.compile(
    r"""page | pagenumber | pageno | p | offset | skip | start | startat | startindex | cursor | after | startingafter
      | startcursor | nextcursor | pagetoken | nexttoken | nextpagetoken | next | continuation | continuationtoken
      | marker | startafter | exclusivestartkey""",
    re.X,
)
"""Parameters that say where a page begins, in lower case and without `_`, `-`, `$` and `@`."""
_NUMBERED = frozenset({"page", "pagenumber", "pageno", "p"})
_ITEMS = re.compile(
    r"""data | items | results | records | entries | values? | elements | objects | rows | list | content | hits | nodes
      | edges | tools | resources | prompts""",
    re.X,
)
_NEXT = re.compile(
    r"""next | next(url|uri|link|page|cursor|token|offset|marker) | nextpage(token|uri|url) | odata\.nextlink
      | continuationtoken | endcursor""",
    re.X,
)
_MORE = frozenset({"hasmore", "hasnext", "hasnextpage", "morerecords", "istruncated"})
_ABSENT = frozenset(
    {"nextpagetoken", "nexttoken", "odata.nextlink", "nextcursor", "continuationtoken", "nextmarker"}
)
"""Left out on a last page; others are null there."""
_LINK = re.compile(rb'<[^>]*>(?:[^,"]|"[^"]*")*')
_PARAMETER = re.compile(rb';\s*([A-Za-z*-]+)\s*=\s*("[^"]*"|[^;,\s]*)')
_MAX_DEPTH = 5
_MADE = re.compile("pg_([0-9a-f]{8})([0-9a-f]{4})")


def made_token(drawn: float) -> str:
    """A token for a page that a rewrite has made out of a longer one, which is known by its last digits."""
    number = f"{int(drawn * 16**8):08x}"
    return f"pg_{number}{_check(number)}"


def _is_made(text: str) -> bool:
    found = _MADE.fullmatch(text)
    return found is not None and found[2] == _check(found[1])


def _check(number: str) -> str:
    return f"{zlib.crc32(number.encode()) & 0xFFFF:04x}"


def is_later_page(seen: Seen) -> bool:
    """Whether the request says where its page begins, and that is not the listing's beginning. Pages that only a
    rewrite has made are none."""
    query = parse_qsl(seen.request.target.partition("?")[2], max_num_fields=None)
    body = lenient.mapping(seen.json)
    told: list[tuple[str, Any]] = [*query, *body.items()]
    for name in ("params", "variables", "arguments"):
        inner = lenient.mapping(body.get(name))
        told += [*inner.items(), *lenient.mapping(inner.get("arguments")).items()]
    return any(_leads_on(_plain(name), value) for name, value in told)


def _leads_on(name: str, value: Any) -> bool:
    if not _PLACES.fullmatch(name) or isinstance(value, dict | list | bool):
        return False
    text = "" if value is None else str(value)
    return not _is_made(text) and text not in ("", "0", "null", *(("1",) if name in _NUMBERED else ()))


def _plain(name: str) -> str:
    return re.sub(r"[_$@-]", "", name).lower()


def items_of(value: Any, depth: int = _MAX_DEPTH) -> list[Any] | None:
    """The listing's items: the root, a member of a usual name (also inside a mapping), or the only list there is. What
    a rewrite has added is none of them."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or depth == 0:
        return None
    own = {name: value[name] for name in own_names(value)}
    lists = [item for item in own.values() if isinstance(item, list)]
    for name, item in own.items():
        if isinstance(item, list) and _ITEMS.fullmatch(_plain(name)):
            return item
    if len(lists) == 1:
        return lists[0]
    below = (items_of(item, depth - 1) for item in own.values() if isinstance(item, dict))
    return next((items for items in below if items is not None), None)


def end_listing(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """Take the way to the next page out of an answer, outside its lists; whether there was one."""
    if not isinstance(value, dict) or depth == 0:
        return False
    found = False
    for name in list(value):
        plain, old = _plain(name), value[name]
        if plain in _MORE and old is True:
            value[name] = False
            found = True
        elif _NEXT.fullmatch(plain) and old not in (None, "", False):
            _remove(value, name, plain)
            found = True
        elif isinstance(old, dict):
            found |= end_listing(old, depth - 1)
    return found


def ways_on(value: Any, depth: int = _MAX_DEPTH) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Where an answer says, outside its lists, whether there is more: the mapping, the member, and whether that is a
    flag (`has_more`) and not a way on (`next`)."""
    if not isinstance(value, dict) or depth == 0:
        return
    for name, item in value.items():
        plain = _plain(name)
        if plain in _MORE and isinstance(item, bool):
            yield value, name, True
        elif _NEXT.fullmatch(plain) and not isinstance(item, dict | list):
            yield value, name, False
        else:
            yield from ways_on(item, depth - 1)


def _remove(parent: dict[str, Any], name: str, plain: str) -> None:
    if plain in _ABSENT:
        del parent[name]
    else:
        parent[name] = None


def without_next_link(headers: RawHeaders) -> RawHeaders:
    """Without what says rel=next in Link headers (RFC 8288)."""
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() == b"link":
            links = [link.strip() for link in _LINK.findall(value)]
            left = [link for link in links if not _is_next(link)]
            if len(left) < len(links):
                if left:
                    kept.append((name, b", ".join(left)))
                continue
        kept.append((name, value))
    return tuple(kept)


def _is_next(link: bytes) -> bool:
    return any(
        name.lower() == b"rel" and b"next" in value.strip(b'"').lower().split()
        for name, value in _PARAMETER.findall(link)
    )
