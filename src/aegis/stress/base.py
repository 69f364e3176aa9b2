"""The contract of a stress transform: a case in, a harder case out, for which the same expectations are right.

A transform is one class in one file, registered by name (`registry.py`). It is pure: the same case, level and
parameters give the same variant, on every machine. What it varies comes from the `random.Random` that it is given,
which is seeded by a hash of case, transform and level.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aegis.suite.kinds import Key, Section
from aegis.suite.model import Case
from aegis.suite.problems import Problems


class NotApplicableError(Exception):
    """The transform has nothing to work on in this case. The text says what is missing, and what the author could add:
    `no shards are marked (stress: [{transform: shard-turns, shards: […]}])`."""


class RejectedError(Exception):
    """The transform's self-check found that the variant would break the case's expectations: it is not run, and the
    rejection is shown with this text."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A case under harder conditions."""

    name: str
    """`TRANSFORM.LEVEL`, or `TRANSFORM` where there is one level: usable as a file name."""
    case: Case
    """The changed case. Id, tags and what is expected stay, further expectations may be added, and limits be raised;
    only a transform that says so, and why, expects something else."""
    change: str
    """What was done, in words, for people: `42 turns of other talk before the request (9,120 tokens)`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A variant that is not run, and why."""

    case: str
    variant: str
    reason: str
    rejected: bool
    """True: the self-check refused it. False: the transform does not apply to the case."""


class Transform:
    """One transform. Subclasses set the class variables and override `make`.

    The docstring of a subclass is its documentation (docs/stress.md): the first paragraph says what it does and which
    real condition it reproduces; a paragraph that begins with `The oracle stays valid because` says why the case's
    expectations are still right.
    """

    name: ClassVar[str]
    levels: ClassVar[tuple[str, ...]] = ("",)
    """From mild to hard: `("1", "5")`, `("8k", "32k")`. One that has no levels has `""` alone."""
    usual: ClassVar[tuple[str, ...]] = ("",)
    """The levels that run when none are named."""
    keys: ClassVar[tuple[Key, ...]] = ()
    """Its parameters, as suite keys."""

    own_oracle: ClassVar[bool] = False
    """Whether its variants expect something else than the case: their pass rate is then no better or worse than the
    case's, but another thing."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """`params` holds every parameter that has a default or was given."""
        self.params = params

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

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        """The changed case and what was done, in words. Raises `NotApplicableError` or `RejectedError`."""
        raise NotImplementedError

    def variant(self, case: Case, level: str) -> Variant:
        """`make`, with the name and the random numbers of this case and level."""
        changed, words = self.make(case, level, rng_of(case.id, self.name, level))
        return Variant(variant_name(self.name, level), changed, words)


def variant_name(transform: str, level: str) -> str:
    return f"{transform}.{level}" if level else transform


def rng_of(case: str, transform: str, level: str) -> random.Random:
    """Random numbers that only these three decide."""
    text = json.dumps([case, transform, level], separators=(",", ":"))
    return random.Random(
        int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    )
