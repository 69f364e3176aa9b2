"""Transform `shard-turns`: the request piece by piece."""

from __future__ import annotations

import random
from typing import ClassVar

from aegis.stress import protect, turncount
from aegis.stress.base import NotApplicableError, RejectedError, Transform
from aegis.stress.strangers import names
from aegis.stress.words import stem, stems
from aegis.suite.kinds import Key, ListOf, Text
from aegis.suite.model import Case, Turn

MOST = 6
LEAST_SHARE = 1 / 3
"""Of the words that say what the input is about, so many must stand in the shards."""


class ShardTurns(Transform):
    """Gives the request piecemeal over 2 to 6 turns, as people do who think while they type: "I need a refund",
    "it's order 1042", "the one that arrived broken". The agent has to put the pieces together, ask for what is missing
    instead of guessing it, and not act on a part of the request.

    You mark the shards: `shards: [text, …]`, which together say what `input` says. The first turns are answered, and
    the answer to the last one is what the case's expectations look at. Each further turn adds `turn_time` (default
    `10s`) to the trial's timeout, unless `--timeout` sets it.

    The oracle stays valid because the shards together say what the input says: by your word, and by a check. Each id,
    number, quote, address, name and piece of code of the input must stand in a shard, none may stand in a shard that
    is not in the input, and a third of the words that say what the input is about must be there; else the variant is
    rejected. Limits of a `budget` and upper counts of a `request` are treated as by `deep-conversation`.
    """

    name: ClassVar[str] = "shard-turns"
    keys: ClassVar[tuple[Key, ...]] = (
        Key(
            "shards",
            ListOf(Text("a message", any_character=True), "a list of 2 to 6 messages", min_items=2),
            "What the user says, turn by turn, in place of the input",
        ),
        *turncount.KEYS,
    )

    @classmethod
    def problem(cls, params: object) -> str | None:
        shards = params.get("shards", []) if isinstance(params, dict) else []
        return (
            f"shards: expected a list of 2 to 6 messages, got {len(shards)}" if len(shards) > MOST else None
        )

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        shards: list[str] | None = self.params.get("shards")
        if shards is None:
            raise NotApplicableError(
                "no shards are marked (stress: [{transform: shard-turns, shards: [text, …]}])"
            )
        if len(case.turns) != 1 or case.turns[0].simulate is not None:
            raise NotApplicableError("the case is a conversation already: only a single input can be sharded")
        (turn,) = case.turns
        _check(turn.user, shards)
        last = turn.model_copy(update={"user": shards[-1]})
        turns = (*(Turn(user=text) for text in shards[:-1]), last)
        return turncount.with_turns(case, turns, self.params), f"the request in {len(shards)} turns"


def _check(text: str, shards: list[str]) -> None:
    """Raises `RejectedError` when the shards together cannot say what the text says."""
    together = "\n".join(shards)
    if missing := [*dict.fromkeys(_not_in(text, together))]:
        raise RejectedError(f"no shard has {', '.join(missing)}, which the input has: put it into one")
    if foreign := [*dict.fromkeys(_not_in(together, text))]:
        raise RejectedError(
            f"the shards have {', '.join(foreign)}, which the input does not have: take it out"
        )
    about, said = stems(_free(text)), stems(together)
    if len(about & said) < LEAST_SHARE * len(about):
        raise RejectedError(
            f"the shards have {len(about & said)} of the {len(about)} words that say what the input is about: "
            "stay closer to it"
        )


def _not_in(text: str, other: str) -> list[str]:
    """Protected tokens and names of a text that the other one does not have."""
    found = [token for token in protect.tokens(text) if not protect.places(token, other)]
    known = stems(other)
    return found + sorted(name for name in _inner_names(_free(text)) if stem(name) not in known)


def _free(text: str) -> str:
    return " ".join(piece.text for piece in protect.pieces(text) if not piece.protected)


def _inner_names(text: str) -> set[str]:
    """Capitalised words that do not begin a sentence, so that they are names."""
    found = set()
    for sentence in text.replace("\n", ". ").replace("?", ".").replace("!", ".").split(". "):
        found |= names(sentence.strip().partition(" ")[2])
    return found


transform = ShardTurns
