"""Reading what people really write: slips of the hand, text that came as HTML, in the wrong encoding, or with
characters in it that nobody sees. A language model reads through all that; so do these rules."""

from __future__ import annotations

import html
import re
import unicodedata

_TAG = re.compile(r"</?[a-z][^<>]*>", re.I)
_SPACES = re.compile(r"[^\S\n]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[a-zA-Z]")
_WORD = re.compile(r"[^\W\d_]{5,}")
# The words by which `understand` tells what is wanted.
_KNOWN = (
    *("refund", "refunded", "money", "reimburse", "return", "order", "orders", "newest", "latest", "recent"),
    *(
        "which",
        "status",
        "where",
        "track",
        "arrive",
        "arrived",
        "about",
        "number",
        "first",
        "second",
        "third",
    ),
    *(
        "fourth",
        "fifth",
        "three",
        "thanks",
        "thank",
        "hello",
        "morning",
        "evening",
        "dollars",
        "exception",
        "anyway",
    ),
)
_BY_ENDS: dict[tuple[str, str], list[str]] = {}
for _word in _KNOWN:
    _BY_ENDS.setdefault((_word[0], _word[-1]), []).append(_word)


def plain(text: str) -> str:
    """The message as somebody would read it aloud."""
    text = _decoded(text)
    if _TAG.search(text):
        text = html.unescape(_TAG.sub(" ", text))
    text = unicodedata.normalize("NFKC", _COLOUR.sub("", text))
    text = "".join(character for character in text if character in "\n\t" or _is_read(character))
    return _WORD.sub(lambda match: _meant(match.group()), _SPACES.sub(" ", text))


def _decoded(text: str) -> str:
    """UTF-8 that somebody took for Windows-1252."""
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text


def _is_read(character: str) -> bool:
    """No control or format character, no pictogram and nothing that belongs to one."""
    return unicodedata.category(character) not in ("Cc", "Cf", "So", "Sk") and character != "\ufe0f"


def _meant(word: str) -> str:
    """The known word of which this is a slip: a letter doubled, left out, hit besides, or two of them swapped. First
    and last letters are seldom wrong."""
    small = word.lower()
    if small in _KNOWN:
        return word
    alike = _BY_ENDS.get((small[0], small[-1]), [])
    return next((known for known in alike if _is_slip(small, known)), word)


def _is_slip(written: str, meant: str) -> bool:
    if abs(len(written) - len(meant)) > 1:
        return False
    if len(written) == len(meant):
        differs = [place for place, pair in enumerate(zip(written, meant, strict=True)) if pair[0] != pair[1]]
        return len(differs) == 2 and differs[1] == differs[0] + 1 and sorted(written) == sorted(meant)
    longer, shorter = (written, meant) if len(written) > len(meant) else (meant, written)
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
