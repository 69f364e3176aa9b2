"""One comment on a pull request, written once and kept up to date: found again by a hidden line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from aegis.ci.service import ServiceError

MARKER = re.compile(r"<!--[^\r\n]*-->")
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    body: str
    mine: bool
    """Whether it was written by whoever the token belongs to. Somebody else's may hold our marker: anyone can write
    one, and could then change what it says."""


class Place(Protocol):
    """The comments of one pull request. Every method raises `ServiceError`."""

    def comments(self) -> Iterator[Comment]:
        """The oldest first."""
        ...

    def create(self, body: str) -> str:
        """Returns the new comment's address."""
        ...

    def update(self, id: int, body: str) -> str:
        """Replace a comment's text. Returns its address."""
        ...

    def pause(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Posted:
    created: bool
    """Whether it is a new one; False: there was one."""
    url: str


class NoPlaceError(Exception):
    """There is no pull request to write to, or nobody may write to it; nothing is wrong. The text says which."""


def marker_of(body: str) -> str | None:
    """The hidden line that a comment's text begins with; None when there is none."""
    first = body.partition("\n")[0].strip()
    return first if MARKER.fullmatch(first) else None


def post(place: Place, body: str) -> Posted:
    """Make the text the one comment with its marker. Raises `ServiceError`, and `ValueError` without a marker.

    A POST whose answer was lost may have been done, so before it is repeated the comments are looked at again.
    """
    marker = marker_of(body)
    if marker is None:
        raise ValueError("the text has no marker in its first line")
    for attempt in range(_ROUNDS):
        found = _find(place, marker)
        if found is not None:
            return Posted(created=False, url=place.update(found, body))
        try:
            return Posted(created=True, url=place.create(body))
        except ServiceError as error:
            passing = error.status is None or error.status >= 500
            if not passing or attempt == _ROUNDS - 1:
                raise
        place.pause(float(2**attempt))
    raise AssertionError("unreachable")


def _find(place: Place, marker: str) -> int | None:
    try:
        mine = (comment for comment in place.comments() if comment.mine)
        return next((comment.id for comment in mine if marker_of(comment.body) == marker), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServiceError(f"the service did not answer with comments ({type(error).__name__})") from None
