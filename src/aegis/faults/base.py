"""The contract of a fault.

A fault is one class in one file, registered by name (`registry.py`). An instance serves one rule in one trial and may
keep state in itself. It acts where the gateway asks it: on a request and its response (`apply`), on a connection that
is about to come about (`shut`), or on the bytes of one that is carried unread (`tunnel`).

Nothing here is left to chance: whatever a fault varies comes from `Hit.draw`, which depends on the trial, the rule,
the route and the number of the match, and on nothing else.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from aegis.gateway.base import ByteStream, Forward, Request, ResponsePlan, Shut
from aegis.suite.kinds import Key, Section
from aegis.suite.problems import Problems

Group = Literal["time", "connection", "partial", "status", "auth", "semantic"]
GROUPS: tuple[Group, ...] = ("time", "connection", "partial", "status", "auth", "semantic")

Stage = Literal["connect", "time", "body", "answer", "rewrite"]
"""Where a fault acts, from the client inwards. `connect`: the connection does not come about. `time`: it comes later.
`body`: what upstream answered is bent. `answer`: something else is answered. Of `body` and of `answer` one fault at
most takes an exchange; of `time` any number do. `rewrite`: next to upstream, no fault but a harder world
(`aegis.faults.rewrites`); any number of them."""

Moment = Literal["lookup", "opening", "handshake"]
"""When a fault of stage `connect` strikes: when a name is looked up, when a connection is opened, or when its TLS
begins."""

Layer = Literal["http", "tcp", "mcp"]
"""What a fault can act on: HTTP exchanges; connections that are carried unread; tool calls of an MCP server, over HTTP
or over a program's standard input and output."""


@dataclass(frozen=True, slots=True)
class TrialKey:
    """What makes one trial's weather its own, and the same in every run."""

    suite: str
    case: str
    variant: str
    number: int

    def draw(self, *what: str | int) -> float:
        """A number in [0, 1) that only the trial and `what` decide: the first 53 bits of a SHA-256."""
        text = json.dumps([self.suite, self.case, self.variant, self.number, *what], separators=(",", ":"))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return float((int.from_bytes(digest[:7], "big") >> 3) / (1 << 53))


def _ignore() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Hit:
    """One exchange or connection that a rule hits."""

    rule: str
    """Id of the rule."""
    route: str
    """`GET crm.example/orders/1042`, or `crm.example:5432` for a connection."""
    number: int
    """Of the rule's match, from 1."""
    nth: int
    """Of the rule's match on this route, from 1."""
    at_s: float
    """Seconds since the agent's start."""
    key: TrialKey
    permanent: bool = False
    """Whether nothing in the rule lets it ever end."""
    spare: Callable[[], None] = field(default=_ignore, compare=False, repr=False)
    """To be called, once, by a fault that found nothing to bend after all: the hit does not count as one then."""

    def draw(self, purpose: str = "") -> float:
        """A number in [0, 1), the same in every run; another one for another `purpose`."""
        return self.key.draw(self.rule, self.route, self.nth, purpose)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as faults look at it."""

    request: Request
    body: bytes | None
    """All of it, content coding removed; None when no rule of the trial looks at bodies, or it is too long."""
    json: Any
    """The body parsed; None when it is not JSON."""
    at_s: float
    """Seconds since the agent's start."""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.target.partition("?")[0]

    @property
    def credential(self) -> str | None:
        """The value of its first credential header, as the guest sent it: a placeholder, or a token that the agent
        was given on the way."""
        for name in ("authorization", "x-api-key", "x-goog-api-key", "api-key"):
            if (value := self.request.header(name)) is not None:
                return value
        return None


class Fault:
    """One fault in one trial. Subclasses set the class variables and override what they act on.

    The docstring of a subclass is its documentation (docs/faults.md): the first paragraph says what it does and which
    real failure it reproduces, the next ones what clients see.
    """

    name: ClassVar[str]
    group: ClassVar[Group]
    stage: ClassVar[Stage]
    moment: ClassVar[Moment] = "opening"
    """Of stage `connect`."""
    layers: ClassVar[frozenset[Layer]] = frozenset({"http"})
    keys: ClassVar[tuple[Key, ...]] = ()
    """Its parameters, as suite keys: kinds with bounds, a text for people, the default as the file would write it."""
    recurs: bool = True
    """Whether trying again meets it again for as long as its rule picks it; if not, it is never permanent."""
    needs_body: ClassVar[bool] = False
    """Whether it looks at the request's body (`Seen.body`, `Seen.json`)."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """`params` holds every parameter that has a default or was given: durations in seconds, sizes in bytes."""
        self.params = params
        self.now: Callable[[], float] = lambda: 0.0
        """Seconds since the agent's start; set before the trial begins."""
        self.date_s: Callable[[], float] = time.time
        """What the machine's clock shows, as seconds since 1970: dates that the agent is told are counted from it."""
        self.draw: Callable[[str], float] = TrialKey("", "", "", 0).draw
        """A number in [0, 1) for a purpose, which the trial and the rule decide; set before the trial begins."""
        self.covers_host: Callable[[str], bool] = lambda host: True
        """Whether the rule is about this host; set before the trial begins."""

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as `__init__` takes them, from how a file writes them. Raises `ValueError` with the first
        thing that is wrong."""
        problems = Problems(written, lambda path: ("", 1))
        defaults = {key.name: key.default for key in cls.keys if key.default is not None}
        read: dict[str, Any] = Section(cls.keys).read({**defaults, **written}, (), problems)
        found = problems.found[0].message if problems.found else cls.problem(read)
        if found is not None:
            raise ValueError(found)
        return read

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        """What is wrong with parameters that are each right by themselves."""
        return None

    def wants(self, seen: Seen) -> bool:
        """Whether it takes this matching exchange although its rule does not pick it: a limit that is still in
        force, a token that is still expired. Asked for every match, in the order of arrival."""
        return False

    def admits(self, seen: Seen) -> bool:
        """Whether it can act on this exchange, which its rule picks: else it is no hit."""
        return True

    def takes(self, seen: Seen, picked: bool) -> bool:
        """Whether it takes this matching exchange, which its rule picks or not. Asked once for every match, in the
        order of arrival: a fault that keeps count does it here, and one that does not overrides `wants` or `admits`."""
        return (picked or self.wants(seen)) and self.admits(seen)

    def leaves_out(self, seen: Seen) -> bool:
        """Whether this exchange is no match of its rule although it looks like one: the refresh of the token that
        expires."""
        return False

    def watches(self, seen: Seen) -> bool:
        """Whether it wants to see this exchange, matching or not, by `observe`: the refresh of a token."""
        return False

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        """Pass on an exchange that it watches, and learn from it."""
        return await forward(seen.request)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        """Act on an exchange. `forward(seen.request)` gives what the agent would have got without this fault. Raises
        `Failure` (`gateway.failures.injected`) or `Cut` to end the connection."""
        return await forward(seen.request)

    def shut(self, hit: Hit) -> Shut | None:
        """For stage `connect`: how the connection fails."""
        return None

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        """For layer `tcp`: the client's side of a connection that is carried unread, to be written to by the other
        side."""
        return client

    def notes(self) -> tuple[str, ...]:
        """Plain words for the report on what happened besides hits: early retries, a refresh that never came."""
        return ()
