"""JSON text, spoilt in the ways in which programs spoil it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Draw = Callable[[str], float]
"""A number in [0, 1) for a purpose."""

_TOKEN = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|[{}\[\]:,]', re.S
)
_NAME = re.compile(r'"[A-Za-z_][A-Za-z0-9_]*"')
_LITERALS = {"true": "True", "false": "False", "null": "None"}
_NOTICE = (
    "<br />\n<b>Warning</b>:  Undefined array key &quot;locale&quot; in <b>/var/www/html/api/index.php</b> "
    "on line <b>214</b><br />\n"
)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int


class _Document:
    """A JSON text and its tokens."""

    def __init__(self, text: str, draw: Draw) -> None:
        self.text = text
        self.tokens = [_Token(found[0], found.start(), found.end()) for found in _TOKEN.finditer(text)]
        self._draw = draw

    def pick(self, tokens: Sequence[_Token]) -> _Token | None:
        return tokens[int(self._draw("token") * len(tokens))] if tokens else None

    def names(self) -> list[_Token]:
        """Of members."""
        pairs = zip(self.tokens, self.tokens[1:], strict=False)
        return [token for token, after in pairs if after.text == ":" and token.text[0] == '"']

    def strings(self) -> list[_Token]:
        """Those that are values and not empty."""
        names = {token.start for token in self.names()}
        return [
            item for item in self.tokens if item.text[0] == '"' and item.start not in names and item.text[2:]
        ]

    def with_each(self, tokens: Sequence[_Token], change: Callable[[str], str]) -> str | None:
        """None when there are no tokens to change."""
        parts, at = [], 0
        for token in tokens:
            parts += [self.text[at : token.start], change(token.text)]
            at = token.end
        return "".join((*parts, self.text[at:])) if tokens else None


def _trailing_comma(document: _Document) -> str | None:
    pairs = list(zip(document.tokens, document.tokens[1:], strict=False))
    for before, closer in reversed(pairs):
        if closer.text in ("}", "]") and before.text not in ("{", "["):
            return f"{document.text[: before.end]},{document.text[before.end :]}"
    return None


def _unquoted_keys(document: _Document) -> str | None:
    keys = [token for token in document.names() if _NAME.fullmatch(token.text)]
    return document.with_each(keys, lambda text: text[1:-1])


def _single_quotes(document: _Document) -> str | None:
    strings = [token for token in document.tokens if token.text[0] == '"']
    return document.with_each(strings, _in_single_quotes)


def _in_single_quotes(text: str) -> str:
    inner = text[1:-1].replace("'", "\\'").replace('\\"', '"')
    return f"'{inner}'"


def _python_literals(document: _Document) -> str | None:
    literals = [token for token in document.tokens if token.text in _LITERALS]
    return document.with_each(literals, lambda text: _LITERALS[text])


def _unterminated_string(document: _Document) -> str | None:
    token = document.pick(document.strings())
    return None if token is None else document.text[: token.end - 1] + document.text[token.end :]


def _raw_newline(document: _Document) -> str | None:
    token = document.pick(document.strings())
    return None if token is None else f"{document.text[: token.end - 1]}\n{document.text[token.end - 1 :]}"


def _two_documents(document: _Document) -> str | None:
    return f"{document.text}\n{document.text}"


def _html_prefix(document: _Document) -> str | None:
    return _NOTICE + document.text


def _nan(document: _Document) -> str | None:
    numbers = [token for token in document.tokens if token.text[0] in "-0123456789"]
    token = document.pick(numbers)
    return None if token is None else f"{document.text[: token.start]}NaN{document.text[token.end :]}"


def _bom(document: _Document) -> str | None:
    return "\ufeff" + document.text


WAYS: dict[str, Callable[[_Document], str | None]] = {
    "trailing-comma": _trailing_comma,
    "unquoted-keys": _unquoted_keys,
    "single-quotes": _single_quotes,
    "python-literals": _python_literals,
    "unterminated-string": _unterminated_string,
    "raw-newline": _raw_newline,
    "two-documents": _two_documents,
    "html-prefix": _html_prefix,
    "nan": _nan,
    "bom": _bom,
}
REFUSED_BY_ALL = tuple(name for name in WAYS if name not in ("nan", "bom"))
"""What no parser of JSON takes."""


def is_json(body: bytes) -> bool:
    return _read(body) is not None


def broken(body: bytes, ways: Sequence[str], draw: Draw) -> bytes | None:
    """The JSON broken in one of these ways, which is drawn from those that can be applied; None when there is none, or
    when the body is no JSON in UTF-8."""
    text = _read(body)
    if text is None:
        return None
    document = _Document(text, draw)
    found = [spoilt for way in ways if (spoilt := WAYS[way](document)) is not None]
    return found[int(draw("way") * len(found))].encode() if found else None


def _read(body: bytes) -> str | None:
    try:
        text = body.decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text
