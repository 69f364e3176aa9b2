"""What verbose services put around the data: audit trails, metadata, rendered descriptions, debug lines. All of it is
about the keeping of a record and none about what it says: no amounts, no states, no people.

Pure: what varies comes from the random numbers that are given."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

_ACTIONS = (
    "record.indexed",
    "record.synced",
    "record.exported",
    "record.validated",
    "cache.refreshed",
    "cache.warmed",
    "snapshot.taken",
    "replica.confirmed",
    "schema.migrated",
    "search.rebuilt",
    "webhook.enqueued",
    "checksum.verified",
)
_SERVICES = (
    "indexer",
    "sync-worker",
    "export-job",
    "cache-warmer",
    "replicator",
    "schema-runner",
    "search-builder",
)
_REGIONS = ("eu-west-1", "eu-central-1", "us-east-2", "ap-south-1")
_SENTENCES = (
    "The attributes in this panel are listed in the order in which the schema defines them.",
    "Columns can be pinned, hidden or moved, and the layout is kept for each workspace.",
    "Hover over a label to see the technical name of the attribute and its data type.",
    "This view is assembled from several tables and may be wider than the screen.",
    "Attributes without a label belong to integrations and are shown for completeness.",
    "Long values are wrapped at the edge of the column and can be unfolded.",
    "The layout of this section follows the template that was chosen for the workspace.",
    "Keyboard users reach the next attribute with the tab key.",
    "Exports contain the same attributes in the same order as this view.",
    "Sections that hold no attributes are folded by default.",
    "Labels are translated, technical names never are.",
    "The preview is rendered on the server and cached together with its template.",
)
_LEVELS = ("DEBUG", "TRACE", "INFO")
_SOURCES = ("store.read", "http.client", "cache.lookup", "serializer", "acl.filter", "pool", "planner")
_LINE = (
    "{at} {level} {source} shard={shard} keys={keys} cache={cache} bytes={size} took_ms={took} trace={trace}"
)


class Filler:
    """Members for objects, and lines for texts, one after the other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def member(self, known: set[str], scale: int) -> tuple[str, Any]:
        """The next member with a name that is not known yet, which it is then: of some hundred bytes, or `scale` times
        as many."""
        number = 1
        while True:
            for kind, make in _KINDS.items():
                name = kind if number == 1 else f"{kind}_{number}"
                if plain(name) not in known:
                    known.add(plain(name))
                    return name, make(self, scale)
            number += 1

    def metadata(self, scale: int) -> dict[str, Any]:
        rng = self._rng
        return {
            "schema_version": f"{rng.randint(2, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
            "source": rng.choice(_SERVICES),
            "region": rng.choice(_REGIONS),
            "partition": rng.randint(0, 255),
            "request_id": self._trace(32),
            "checksum": f"sha256:{self._trace(64)}",
            "internal": True,
        }

    def audit_trail(self, scale: int) -> list[Any]:
        return [self._event() for _ in range(6 * scale)]

    def custom_attributes(self, scale: int) -> list[Any]:
        return [self._attribute() for _ in range(8 * scale)]

    def sync_state(self, scale: int) -> list[Any]:
        return [self._replica() for _ in range(4 * scale)]

    def _event(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "at": self._moment(),
            "actor": f"service:{rng.choice(_SERVICES)}",
            "action": rng.choice(_ACTIONS),
            "request_id": self._trace(16),
            "took_ms": rng.randint(1, 900),
        }

    def html(self, scale: int) -> str:
        rng = self._rng
        said = [rng.choice(_SENTENCES) for _ in range(4 * scale)]
        inner = "".join(f'<p class="rt-p" data-block="{self._trace(8)}">{sentence}</p>' for sentence in said)
        return f'<div class="rich-text" data-template="t-{rng.randint(10, 99)}">{inner}</div>'

    def _attribute(self) -> dict[str, Any]:
        return {
            "key": f"cf_{self._rng.randint(1000, 9999)}",
            "type": self._rng.choice(("text", "flag", "reference", "enum")),
            "label": None,
            "value": None,
            "position": self._rng.randint(1, 90),
        }

    def rendering(self, scale: int) -> dict[str, Any]:
        columns = [
            {
                "slot": f"c{place}",
                "width_px": self._rng.randint(60, 400),
                "sortable": self._rng.random() < 0.5,
            }
            for place in range(6 * scale)
        ]
        return {"template": f"t-{self._rng.randint(10, 99)}", "columns": columns, "etag": self._trace(20)}

    def _replica(self) -> dict[str, Any]:
        return {
            "replica": f"{self._rng.choice(_REGIONS)}-{self._rng.randint(1, 9)}",
            "lag_ms": self._rng.randint(0, 400),
            "position": self._trace(12),
            "checked_at": self._moment(),
        }

    def line(self) -> str:
        """One of a debug log."""
        rng = self._rng
        return _LINE.format(
            at=self._moment(),
            level=rng.choice(_LEVELS),
            source=rng.choice(_SOURCES),
            shard=rng.randint(0, 63),
            keys=rng.randint(1, 9),
            cache=rng.choice(("hit", "miss", "bypass")),
            size=rng.randint(100, 9000),
            took=rng.randint(1, 90),
            trace=self._trace(16),
        )

    def _moment(self) -> str:
        rng = self._rng
        return (
            f"2026-{rng.randint(1, 9):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:"
            f"{rng.randint(0, 59):02}.{rng.randint(0, 999):03}Z"
        )

    def _trace(self, length: int) -> str:
        return f"{self._rng.getrandbits(4 * length):0{length}x}"


_KINDS: dict[str, Callable[[Filler, int], Any]] = {
    "metadata": Filler.metadata,
    "audit_trail": Filler.audit_trail,
    "description_html": Filler.html,
    "custom_attributes": Filler.custom_attributes,
    "rendering": Filler.rendering,
    "sync_state": Filler.sync_state,
}


def plain(name: str) -> str:
    """The name as two spellings of it have it in common."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
