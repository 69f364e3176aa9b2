"""The self-check of added text: it shares no entity with the case."""

from __future__ import annotations

from collections.abc import Iterable

from aegis.stress import protect
from aegis.stress.base import RejectedError
from aegis.stress.words import COMMON, expected, said, stem, stems, words
from aegis.suite.model import Case

_SHOWN = 5


class Entities:
    """What a text must not hold to be about something else than a case: the ids, numbers, quotes and addresses in it,
    its names, and every word that its expectations look for."""

    def __init__(self, case: Case) -> None:
        spoken, wanted = said(case), expected(case)
        self._tokens = {token.casefold() for text in (*spoken, *wanted) for token in protect.tokens(text)}
        self._words = {stem(name) for text in spoken for name in names(text)}
        self._words |= {word for text in wanted for word in stems(text)}

    def shared_by(self, text: str) -> list[str]:
        """The entities of the case that stand in the text, in lower case."""
        plain = text.casefold()
        found = {token for token in self._tokens if protect.places(token, plain)}
        # Each word once: a long text has few.
        seen = set(words(" ".join(set(plain.split()))))
        found |= {word for word in seen - COMMON if stem(word) in self._words}
        return sorted(found)

    def check(self, texts: Iterable[str], fix: str) -> None:
        """Raises `RejectedError` when one of the texts shares an entity with the case."""
        if shared := self.shared_by("\n".join(texts)):
            shown = ", ".join(shared[:_SHOWN])
            raise RejectedError(f"the added text shares {shown} with the case: {fix}")


def names(text: str) -> set[str]:
    """Words with a capital letter that are no common ones: also the first of a sentence, which may be a name."""
    return {word for word in words(text) if word[0].isupper() and word.casefold() not in COMMON}
