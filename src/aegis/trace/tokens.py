"""How many tokens a text has, before any model has seen it.

What a provider reports is the truth wherever there is a report. `estimate` serves the time before: it has no
vocabulary, but knows where tokenizers of the byte-pair kind cut a text, and how many tokens a piece of each kind and
length has on average. `exact` counts with the vocabulary of OpenAI's models, where the extra `aegis-evals[tokens]` is
installed.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

MAX_CHARS = 128 * 1024
"""Of a longer text so many characters are looked at, in `WINDOWS` stretches."""
WINDOWS = 32


class Cost(NamedTuple):
    """Tokens of a piece: `base`, and `slope` for each character after `free` of them."""

    base: float
    free: int = 1
    slope: float = 0.0


COSTS = {
    "Arabic": Cost(0.956, 2, 0.366),
    "Cyrillic": Cost(1.014, 2, 0.228),
    "Greek": Cost(0.995, 2, 0.389),
    "Han": Cost(1.191, 1, 0.73),
    "Hangul": Cost(1.284, 2, 0.908),
    "Hebrew": Cost(1.282, 2, 0.433),
    "Indic": Cost(1.199, 1, 0.389),
    "Thai": Cost(1.506, 1, 0.392),
    "accented bare": Cost(1.95, 4, 0.277),
    "accented joined": Cost(2.234, 8, 0.518),
    "accented spaced": Cost(1.17, 4, 0.289),
    "capitals bare": Cost(0.805, 1, 0.305),
    "capitals joined": Cost(1.657, 4, 0.191),
    "capitals spaced": Cost(0.936, 1, 0.166),
    "digits": Cost(0.995, 1, 0.002),
    "emoji": Cost(1.921),
    "foreign capitals bare": Cost(0.64, 1, 0.368),
    "foreign capitals joined": Cost(1.169, 1, 0.3),
    "foreign capitals spaced": Cost(0.567, 1, 0.37),
    "foreign word bare": Cost(1.006, 3, 0.223),
    "foreign word joined": Cost(1.084, 4, 0.334),
    "foreign word spaced": Cost(1.009, 4, 0.138),
    "joiner": Cost(0.993),
    "kana": Cost(1.026, 2, 0.562),
    "other": Cost(0.999, 1, 0.985),
    "punctuation": Cost(1.002, 1, 0.061),
    "space": Cost(0.975, 8, 0.057),
    "symbol": Cost(1.276),
    "typography": Cost(0.997),
    "wide punctuation": Cost(0.992),
    "word bare": Cost(1.056, 1, 0.038),
    "word joined": Cost(1.13, 1, 0.107),
    "word spaced": Cost(1.025, 6, 0.035),
}
"""Kind of piece → its tokens in `o200k_base`, as `python benchmarks/token_estimate.py --calibrate` measures them."""

ACCENTED_SHARE = 12
"""In a text of another language than English one Latin word in so many, at least, has a letter beyond ASCII."""

_LATIN = r"a-zA-Z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff"
_MARKS = r"\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0e4e"
_EAST = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"

_PIECE = re.compile(
    rf"""
    # A word, cut before a capital, with one character before it that is no letter, digit or end of line.
    (?:[^\w\r\n]|_)?(?:[A-Z]?[a-z]++|[A-Z]+(?![a-z])|[A-Z]+)(?![^\W\d_a-zA-Z])(?:'(?:s|t|re|ve|m|ll|d)\b)?
    | (?:[^\w\r\n]|_)?[{_LATIN}]+
    | \d{{1,3}}
    | \ ?[!-/:-@\[-`{{-~]+[\r\n]*
    | (?:[^\w\r\n]|_)?(?:[\u3040-\u30ff]+|[\u3400-\u9fff\uf900-\ufaff]+)
    # A word in any other script, with the vowel signs and accents that belong to it.
    | (?:[^\w\r\n]|_)?(?:[^\W\d_{_LATIN}{_EAST}]|[{_MARKS}])+
    | \ ?[^\w\s]
    | \s*[\r\n]+ | \s+(?=\ \S) | \s+ | .
    """,
    re.X | re.S,
)
"""No token reaches over the end of a piece: so do the tokenizers of the large models cut, but for details."""

_SCRIPTS = {
    0x0000: "other",
    0x0370: "Greek",
    0x0400: "Cyrillic",
    0x0530: "other",
    0x0590: "Hebrew",
    0x0600: "Arabic",
    0x0700: "other",
    0x0900: "Indic",
    0x0E00: "Thai",
    0x0E80: "other",
    0x3040: "kana",
    0x3100: "other",
    0x3400: "Han",
    0xA000: "other",
    0xAC00: "Hangul",
    0xD7B0: "other",
    0xF900: "Han",
    0xFB00: "other",
}
"""First code point → script, up to the next entry."""
_STARTS = list(_SCRIPTS)

_ENCODINGS = (
    ("gpt-oss", "o200k_harmony"),
    (r"(?:gpt|chatgpt)-(?:4o|4\.1|4\.5|5)|(?:o1|o3|o4-mini)(?:-|$)", "o200k_base"),
    (r"gpt-4|gpt-3\.?5-turbo|text-embedding-3-|text-embedding-ada-002", "cl100k_base"),
)
"""Beginning of a model's name → its vocabulary (https://github.com/openai/tiktoken, model.py of 0.14.0, 2026-11-23)."""


def estimate(text: str) -> int:
    """About as many tokens as a model's tokenizer would count: for English, code, JSON, logs and other scripts within
    15 % of `o200k_base`, taken over many texts (docs/benchmarks.md). 0 for an empty text only. It takes at most some
    tenths of a second, however long the text is."""
    if len(text) <= MAX_CHARS:
        return round(_cost(pieces_of(text)))
    pieces: Counter[str] = Counter()
    size, step = MAX_CHARS // WINDOWS, len(text) / WINDOWS
    for number in range(WINDOWS):
        start = int(number * step)
        pieces.update(_PIECE.findall(text[start : start + size]))
    return round(_cost(pieces) * len(text) / MAX_CHARS)


def exact(text: str, model: str) -> int | None:
    """Tokens of the text by itself as this model counts them; None when its vocabulary is not published or the extra
    `aegis-evals[tokens]` is not installed. What chat formats add around a message is not in it."""
    encoding, count = encoding_of(model), counter()
    if encoding is None or count is None:
        return None
    # Bytes that are no text reach a model as replacement characters.
    return count([text.encode("utf-8", "replace").decode()], encoding)[0]


def encoding_of(model: str) -> str | None:
    """Name of the vocabulary of a model, also where it is named as companies' gateways do (`openai/gpt-5-mini`)."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    return next((encoding for beginning, encoding in _ENCODINGS if re.match(beginning, name)), None)


@lru_cache(maxsize=1)
def counter() -> Callable[[list[str], str], list[int]] | None:
    """The exact counter: texts and the name of a vocabulary to numbers. None without the extra."""
    try:
        found: Callable[[list[str], str], list[int]] = importlib.import_module("toktok").batch_count
    except ImportError:
        return None
    return found


def pieces_of(text: str) -> Counter[str]:
    """The pieces that tokens lie within, and how often each is there. Joined they are the text."""
    return Counter(_PIECE.findall(text))


def kind_of(piece: str) -> tuple[str, int]:
    """What a piece is, as `COSTS` names it, and its length without the character that joins it to the one before."""
    first = piece[0]
    if first.isdecimal():
        return "digits", len(piece)
    if piece.isspace():
        return "space", len(piece)
    joined = len(piece) > 1 and not first.isalnum()
    body = piece[1:] if joined else piece
    if body[0].isalpha():
        if _is_latin(body[0]):
            return f"{_shape(body)} {'bare' if not joined else 'spaced' if first == ' ' else 'joined'}", len(
                body
            )
        return _script(body[0]), len(body)
    if piece.isascii():
        return "punctuation", len(piece.strip(" \r\n"))
    return _symbol(body[0]), 1


def _shape(word: str) -> str:
    if not word.isascii():
        return "accented"
    return "capitals" if len(word) > 1 and word.isupper() else "word"


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter <= "\u1eff"


def _script(letter: str) -> str:
    return _SCRIPTS[_STARTS[bisect_right(_STARTS, ord(letter)) - 1]]


def _symbol(char: str) -> str:
    code = ord(char)
    if code >= 0x1F000:
        return "emoji"
    if code in (0x200D, 0xFE0F):
        return "joiner"
    if 0x3000 <= code < 0x3040 or 0xFF00 <= code < 0xFFF0:
        return "wide punctuation"
    return "typography" if code < 0x0100 or 0x2010 <= code < 0x2040 else "symbol"


def _cost(pieces: Counter[str]) -> float:
    total, latin, foreign, accented = 0.0, 0, 0.0, 0
    for piece, number in pieces.items():
        kind, length = kind_of(piece)
        cost = _tokens(kind, length) * number
        if kind.startswith(("word", "capitals")):
            latin += number
            foreign += _tokens(f"foreign {kind}", length) * number - cost
        elif kind.startswith("accented"):
            accented += number
        total += cost
    if accented:
        total += foreign * min(1.0, ACCENTED_SHARE * accented / (latin + accented))
    return total


@lru_cache(maxsize=4096)
def _tokens(kind: str, length: int) -> float:
    base, free, slope = COSTS[kind]
    return base + slope * max(0, length - free)
