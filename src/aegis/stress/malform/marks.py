"""Characters between the letters that a reader does not see, or sees and reads past."""

from __future__ import annotations

import random
import re
from functools import partial

from aegis.stress.malform import Messages, by_word

ZERO_WIDTH = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad")
"""Zero width space, non-joiner, joiner, word joiner, byte order mark, soft hyphen."""

BIDI = (
    ("\u200e", ""),
    ("\u200f", ""),
    ("\u061c", ""),
    ("\u202a", "\u202c"),
    ("\u202b", "\u202c"),
    ("\u202d", "\u202c"),
    ("\u202e", "\u202c"),
    ("\u2066", "\u2069"),
    ("\u2067", "\u2069"),
    ("\u2068", "\u2069"),
)
"""What opens a direction, and what closes it."""

CONTROL = ("\x07", "\x08", "\x0b", "\x0c", "\x1a", "\x7f", "\x85", "\x1b[0m", "\x1b[31m", "\x1b[2K")
"""Bell, backspace, tabulator and feed, end of file, delete, next line, and what colours a terminal. No NUL: much
software between a keyboard and an agent ends a text there."""

EMOJI = ("🙂", "😅", "🙏", "👍🏽", "😭", "🔥", "❤️", "👩‍💻", "🇪🇺", "🤷‍♀️", "✨", "🥲", "👀", "💯", "🏳️‍🌈")

_ALL = sorted((*ZERO_WIDTH, *(mark for pair in BIDI for mark in pair if mark)))
_INVISIBLE = re.compile("|".join(map(re.escape, _ALL)))
_CONTROL = re.compile("|".join(map(re.escape, CONTROL)))
_EMOJI = re.compile(rf" ?(?:{'|'.join(map(re.escape, sorted(EMOJI, key=len, reverse=True)))})")


def zero_width(messages: Messages, rng: random.Random) -> list[str]:
    """Invisible characters inside a third of the words, as copied from a page or a chat."""

    def change(word: str) -> str:
        place = rng.randrange(1, len(word))
        return word[:place] + rng.choice(ZERO_WIDTH) + word[place:]

    return by_word(messages, change, partial(_INVISIBLE.sub, ""), 1 / 3, rng)


def bidi(messages: Messages, rng: random.Random) -> list[str]:
    """Directional marks around a fourth of the words, overrides among them, as from a text that runs right to left."""

    def change(word: str) -> str:
        opening, closing = rng.choice(BIDI)
        return opening + word + closing

    return by_word(messages, change, partial(_INVISIBLE.sub, ""), 1 / 4, rng)


def control(messages: Messages, rng: random.Random) -> list[str]:
    """Control characters after a fourth of the words, as copied from a terminal."""
    return by_word(messages, lambda word: word + rng.choice(CONTROL), partial(_CONTROL.sub, ""), 1 / 4, rng)


def emoji(messages: Messages, rng: random.Random) -> list[str]:
    """Emoji of one and of several code points after a third of the words."""
    return by_word(messages, lambda word: f"{word} {rng.choice(EMOJI)}", partial(_EMOJI.sub, ""), 1 / 3, rng)
