"""Credentials that expire and are replaced: who is honoured, and for how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from aegis.faults.base import Seen
from aegis.faults.providers.base import Why
from aegis.gateway.base import RawHeaders
from aegis.gateway.heads import without

CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
"""As in `Seen.credential`, whose first one counts."""

Header = tuple[bytes, bytes]

_MOST_TOKENS = 1000


def credential_header(seen: Seen) -> Header | None:
    """The header that `Seen.credential` is the value of."""
    for wanted in CREDENTIAL_HEADERS:
        for name, value in seen.request.headers:
            if name.lower() == wanted:
                return name, value
    return None


def token_of(header: Header | None) -> str | None:
    """The credential without its scheme."""
    if header is None:
        return None
    scheme, space, rest = header[1].decode("latin-1").partition(" ")
    return rest.strip() if space else scheme


def swapped(headers: RawHeaders, old: Header, new: Header | None) -> RawHeaders:
    """With another credential in the place of this one; `new` None leaves it as it is."""
    if new is None:
        return headers
    rest = without(headers, old[0].lower(), new[0].lower())
    at = next(number for number, header in enumerate(headers) if header[0].lower() == old[0].lower())
    at = min(at, len(rest))
    return (*rest[:at], new, *rest[at:])


@dataclass(slots=True)
class Grant:
    """One credential's life: it is good, it expires, another one takes its place."""

    original: Header | None
    """What the agent used before anything was issued."""
    hosts: set[str]
    """Where it was used."""
    good: set[str] = field(default_factory=set)
    """Tokens that are honoured."""
    dead: set[str] = field(default_factory=set)
    refresh_token: str | None = None
    """The only one that is accepted; None: any."""
    issued: int = 0
    refreshes: int = 0
    """Calls of the refresh endpoint since it expired."""
    expiries: int = 0
    _uses: int | None = None
    _ends_s: float | None = None

    @property
    def expired(self) -> bool:
        return not self.good

    def knows(self, token: str | None) -> bool:
        return token in self.good or token in self.dead

    def expire(self) -> None:
        self.dead |= self.good
        self.good.clear()
        self.expiries += 1
        self.refreshes = 0
        self._uses = self._ends_s = None

    def issue(self, token: str, *, uses: int | None = None, ends_s: float | None = None) -> None:
        """From here on this token is honoured, and no other one that had expired; it is good for so many uses, until
        this time."""
        self.issued += 1
        self.good.add(token)
        self.dead.discard(token)
        self._uses, self._ends_s = uses, ends_s

    def honours(self, token: str | None, now_s: float) -> bool:
        """Whether a request with this token passes: it takes one use then. The last use or the end of its time lets
        it expire."""
        if self._uses == 0 or (self._ends_s is not None and now_s >= self._ends_s):
            self.expire()
        if token is None or token not in self.good:
            return False
        if self._uses is not None:
            self._uses -= 1
        return True


class Grants:
    """All credentials that one rule has let expire, and those that were used before and are nobody's business."""

    def __init__(self) -> None:
        self.all: list[Grant] = []
        self._known: set[str | None] = set()
        self._last: dict[str, Header] = {}
        self._matches = 0
        self._last_pick = -1

    def refuses(self, seen: Seen, picked: bool, now_s: float) -> bool:
        """Whether a request is refused. A pick lets what it carries expire, unless the match before was one too: a rule
        that picks everything from a match on means one expiry."""
        self._matches += 1
        expires = picked and self._matches != self._last_pick + 1
        if picked:
            self._last_pick = self._matches
        header, host = credential_header(seen), seen.request.host
        token = token_of(header)
        if header is not None:
            self._last.pop(host, None)
            self._last[host] = header
        grant = self._of(token, host)
        if grant is None:
            if not expires:
                if len(self._known) < _MOST_TOKENS:
                    self._known.add(token)
                return False
            self._known.discard(token)
            grant = self._new(header, host)
            grant.expire()
            return True
        if grant.knows(token):
            grant.hosts.add(host)
        if expires and not grant.expired:
            grant.expire()
        return not grant.honours(token, now_s)

    def why(self, token: str | None) -> Why:
        """What is wrong with a token that is refused."""
        if token is None:
            return "missing"
        return "expired" if any(grant.knows(token) for grant in self.all) else "unknown"

    def replaced_by(self, token: str | None) -> Grant | None:
        """The grant whose issued token this is, as long as it is good."""
        for grant in self.all:
            if token and token in grant.good and token != token_of(grant.original):
                return grant
        return None

    def to_refresh(self, host: str) -> Grant:
        """An expired one, one of this host first; the last one; or a new one, for who refreshes ahead of time: then
        what was used last goes on being good."""
        order = sorted(self.all, key=lambda grant: (grant.expired, host in grant.hosts))
        if order:
            return order[-1]
        used = host if host in self._last else next(reversed(self._last), host)
        return self._new(self._last.get(used), used)

    def _new(self, header: Header | None, host: str) -> Grant:
        token = token_of(header)
        self.all.append(Grant(header, {host}, set() if token is None else {token}))
        return self.all[-1]

    def _of(self, token: str | None, host: str) -> Grant | None:
        """Whose token it is; or whose host it is, when it is nobody's."""
        if token is not None:
            for grant in self.all:
                if grant.knows(token):
                    return grant
        if token in self._known:
            return None
        return next((grant for grant in self.all if grant.expiries and host in grant.hosts), None)
