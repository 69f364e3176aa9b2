"""Transform `deep-conversation`: the request in the middle of a long conversation about other things."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, ClassVar

from aegis.stress import turncount
from aegis.stress.base import NotApplicableError, RejectedError, Transform
from aegis.stress.strangers import Entities
from aegis.stress.talk.lines import Sized, Talk
from aegis.stress.words import is_english, said, topics, words
from aegis.suite.kinds import BAD, Key, ListOf, Schema, Text
from aegis.suite.model import Case, Turn
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe
from aegis.trace import tokens

MESSAGE_TOKENS = 400
"""Size of one message of the levels by tokens."""

HOLD = (
    "Here is something that I will need from you later. Please don't act on it yet, only keep it in mind until "
    "I come back to it.\n\n"
)
GO_AHEAD = "Now please go ahead with what I asked you to keep in mind."
BACK = "Back to what we were at before all this. "

FIX = "write talk that has nothing to do with the case (talk: [text, …])"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few numbers."""

    numbers: tuple[float, ...]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and value in self.numbers:
            return float(value)
        shown = ", ".join(f"{number:g}" for number in self.numbers)
        problems.wrong(path, f"expected one of {shown}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"enum": list(self.numbers)}


class DeepConversation(Transform):
    """Pads the conversation with talk about other things, to a number of turns or by a number of tokens, as when one
    chat with an assistant goes on all day: what matters is far back in a long context, and the rest of it is noise.

    The levels `40`, `100` and `400` are turns of the whole conversation, each further one a short message. `8k`, `32k`
    and `128k` are tokens (estimated) of what the user says besides the case, in messages of about 400 tokens; the
    agent's answers come on top. The talk is small talk and questions of general knowledge (plants, birds, wool), a few
    turns about each subject. It needs no tool and changes nothing.

    `depth` says where the key facts stand: 1 after all of the talk, 0.5 in its middle, 0 before it. The case's own
    turns stay in their order and the last of them stays last. Of a case with several turns all but the last stand
    there (default 0.5), and the last one begins by coming back to them. A case with one turn has it at the end
    (default 1), as it was written; with 0.5 and 0 the request is told there, with the words that it is for later, and
    the last turn says to go ahead. The words of both are `hold` and `resume`. A part that a simulated user plays can
    only come after the talk: then the default is 1.

    Each further turn adds `turn_time` (default `10s`) to the trial's timeout, unless `--timeout` sets it.

    The oracle stays valid because everything that the case's user says is said, in the same order, and the last answer
    is the answer to the case's last turn. The talk holds no digit and no name, and every line that has a word in common
    with the case's messages or its expectations is left out; what was added is looked through again, and a variant that
    shares an id, number, name, quote or expected word with the case is rejected, as with a `talk` of your own. What
    depends on the number of turns is no longer right, so a case with a `budget` of time, steps, model calls, tokens or
    price is rejected, unless `budget: scale` raises the limits: by the turns, and where the history is read again with
    each call by the sum of 1 to n. Also rejected are a `request` with an upper count that calls of a model may match,
    and a case in another language, for which the talk must be given. Scorers that read the whole conversation (`judge`,
    `python`) see the talk too.
    """

    name: ClassVar[str] = "deep-conversation"
    levels: ClassVar[tuple[str, ...]] = ("40", "100", "400", "8k", "32k", "128k")
    usual: ClassVar[tuple[str, ...]] = ("40",)
    keys: ClassVar[tuple[Key, ...]] = (
        Key("depth", OneOf((0.0, 0.5, 1.0)), "Where the key facts stand: 0 (first), 0.5, 1 (last)"),
        Key(
            "talk",
            ListOf(Text("a message"), "a list of messages", min_items=1, unique=True),
            "Messages to pad with, in their order and again from the first, instead of the built-in ones",
        ),
        Key("hold", Text("text"), "What is said before a request that is told early"),
        Key("resume", Text("text"), "What is said to come back to it"),
        *turncount.KEYS,
    )

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        _applies(case, level)
        if "talk" not in self.params and not is_english(" ".join(said(case))):
            raise RejectedError(
                "the case does not seem to be in English, and the built-in talk is: give talk, hold and resume in "
                "its language (talk: [text, …])"
            )
        depth = self._depth(case)
        before, after = self._own_turns(case, depth)
        talk = self._talk(case, level, turncount.turns_of((*before, *after)), rng)
        Entities(case).check((text for text, _ in talk), FIX)
        padding = [Turn(user=text) for text, _ in talk]
        place = round(len(padding) * depth)
        turns = (*padding[:place], *before, *padding[place:], *after)
        size = sum(size for _, size in talk)
        where = {0.0: "before", 0.5: "in the middle of", 1.0: "after"}[depth]
        change = f"{len(talk)} turns of other talk ({size:,} tokens), the key facts {where} it"
        return turncount.with_turns(case, turns, self.params), change

    def _depth(self, case: Case) -> float:
        last_only = case.turns[-1].simulate is not None
        depth: float = self.params.get("depth", 1.0 if last_only or len(case.turns) == 1 else 0.5)
        if depth < 1 and last_only:
            raise NotApplicableError(
                "a simulated user has the last word, who knows nothing of the talk: use depth: 1, or end the "
                "conversation with a scripted turn"
            )
        return depth

    def _own_turns(self, case: Case, depth: float) -> tuple[list[Turn], tuple[Turn, ...]]:
        """The case's turns that are told at the depth, and those that end the conversation."""
        *first, last = case.turns
        if depth == 1:
            return [], case.turns
        if not first:
            early = Turn(user=self.params.get("hold", HOLD) + last.user)
            return [early], (last.model_copy(update={"user": self.params.get("resume", GO_AHEAD)}),)
        if _is_bare_reply(last.user):
            raise RejectedError(
                f"the last turn ({describe(last.user)}) replies to the answer right before it, which would be far "
                "back: use depth: 1"
            )
        resume = self.params.get("resume", BACK)
        return first, (last.model_copy(update={"user": _joined(resume, last.user)}),)

    def _talk(self, case: Case, level: str, own_turns: int, rng: random.Random) -> list[Sized]:
        given: list[str] | None = self.params.get("talk")
        built_in = Talk(rng, topics(case))
        if level.endswith("k"):
            source = built_in.long_messages(MESSAGE_TOKENS) if given is None else _paragraphs(given)
            return _filled(source, 1000 * int(level.removesuffix("k")))
        source = built_in.messages() if given is None else _sized(given)
        return list(islice(source, int(level) - own_turns))


def _applies(case: Case, level: str) -> None:
    turns = turncount.turns_of(case.turns)
    if not level.endswith("k") and turns + 2 > int(level):
        raise NotApplicableError(f"the case has {turns} turns already: use a higher level")


def _is_bare_reply(text: str) -> bool:
    found = [word.casefold() for word in words(text)]
    replies = {
        "yes",
        "no",
        "ok",
        "okay",
        "sure",
        "right",
        "correct",
        "exactly",
        "yep",
        "nope",
        "please",
        "do",
        "go",
    }
    return len(found) <= 3 and bool(found) and found[0] in replies


def _joined(before: str, text: str) -> str:
    return before + text if before[-1].isspace() else f"{before} {text}"


def _sized(messages: list[str]) -> Iterator[Sized]:
    """The messages over and over again."""
    return cycle([(text, tokens.estimate(text)) for text in messages])


def _paragraphs(messages: list[str]) -> Iterator[Sized]:
    """The messages, as many together as `MESSAGE_TOKENS` hold. Endless."""
    found: list[str] = []
    size = 0
    for text, more in _sized(messages):
        found.append(text)
        size += more
        if size >= MESSAGE_TOKENS:
            yield " ".join(found), size
            found, size = [], 0


def _filled(messages: Iterator[Sized], wanted: int) -> list[Sized]:
    """As many of the messages as come closest to this number of tokens; at least one."""
    found: list[Sized] = []
    size = 0
    for text, more in messages:
        if found and size + more / 2 > wanted:
            break
        found.append((text, more))
        size += more
    return found


transform = DeepConversation
