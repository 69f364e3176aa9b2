"""What comes along with a message: mark-up, other texts, unfinished sentences."""

from __future__ import annotations

import html
import json
import random
import re
from typing import Any

from aegis.stress.base import NotApplicableError
from aegis.stress.malform import Messages, by_piece
from aegis.stress.talk.lines import Talk
from aegis.stress.words import stem

LINE_TOKENS = 4000
"""Of the talk before a message in one line, estimated; and so many characters of an image as text."""

LANGUAGES = (
    ("Guten Tag zusammen, kurze Frage:", "Vielen Dank schon mal."),
    ("Bonjour à tous,", "Merci d'avance, bonne journée."),
    ("Hola, ¿qué tal?", "Muchas gracias y un saludo."),
    ("Ciao, scusate il disturbo.", "Grazie mille davvero."),
    ("Olá, tudo bem?", "Muito obrigado desde já."),
    ("Goedemiddag allemaal,", "Alvast heel erg bedankt."),
    ("Dzień dobry,", "Z góry dziękuję i pozdrawiam."),
    ("Merhaba, kolay gelsin.", "Şimdiden çok teşekkürler."),
    ("Здравствуйте!", "Заранее большое спасибо."),
    ("こんにちは、お世話になっております。", "よろしくお願いいたします。"),
    ("你好,打扰一下。", "非常感谢。"),
    ("مرحبا،", "شكرا جزيلا."),
)
"""A greeting and thanks: neither asks for anything."""

_KEYS = (
    "note",
    "mood",
    "colour",
    "remark",
    "season",
    "memo",
    "caption",
    "scent",
    "tune",
    "aside",
    "draft",
    "hue",
)
_TAG = re.compile(r"<[^>]*>")
_SPACE = re.compile(r" ")
_FREE_WORD = re.compile(r"([^\W\d_]{2,})")
_ELEMENTS = ("<b>{}</b>", "<em>{}</em>", '<span style="font-family:inherit">{}</span>', "<font>{}</font>")
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def as_html(messages: Messages, rng: random.Random) -> list[str]:
    """The message as HTML out of an editor: elements around words, hard spaces, entities, line breaks as `<br>`."""

    def change(text: str) -> str:
        parts = _FREE_WORD.split(text)
        parts[1::2] = [
            rng.choice(_ELEMENTS).format(word) if rng.random() < 0.2 else word for word in parts[1::2]
        ]
        parts[::2] = [_escaped(part, rng) for part in parts[::2]]
        return "".join(parts)

    changed = by_piece(messages, change, _read_html, _one_line)
    return [f'<div class="message"><p>{text}</p></div>' if text.strip() else text for text in changed]


def _escaped(text: str, rng: random.Random) -> str:
    text = html.escape(text, quote=False).replace("\n", "<br>\n")
    return _SPACE.sub(lambda match: "&nbsp;" if rng.random() < 0.15 else " ", text)


def _read_html(text: str) -> str:
    return _one_line(html.unescape(_TAG.sub("", text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def json_beside(messages: Messages, rng: random.Random) -> list[str]:
    """A JSON document about something else before or after one of the messages."""
    document = _document(messages, rng)
    return _beside(messages, rng, json.dumps(document, indent=2), before=rng.random() < 0.5)


def _document(messages: Messages, rng: random.Random) -> dict[str, Any]:
    lines = (text for text, _ in Talk(rng, messages.avoid).sentences())
    keys = [key for key in _KEYS if stem(key) not in messages.avoid]
    rng.shuffle(keys)
    found: dict[str, Any] = {}
    for number, key in enumerate(keys[:6]):
        text = next(lines)
        found[key] = (text, [text, None, next(lines)], {keys[-1]: text, "": True})[number % 3]
    return found


def truncated(messages: Messages, rng: random.Random) -> list[str]:
    """The end of a sentence about something else before one of the messages, and the beginning of one after it."""
    lines = (text for text, _ in Talk(rng, messages.avoid).sentences())
    tail, head = _cut(next(lines), rng)[1], _cut(next(lines), rng)[0]
    texts, index = _one_of(messages, rng)
    texts[index] = f"{tail} {texts[index]} {head}"
    return texts


def _cut(line: str, rng: random.Random) -> tuple[str, str]:
    """In the middle of a word."""
    places = [at for at in range(1, len(line)) if line[at - 1].isalpha() and line[at].isalpha()]
    at = rng.choice(places[len(places) // 4 : -len(places) // 4])
    return line[:at], line[at:]


def mixed(messages: Messages, rng: random.Random) -> list[str]:
    """A greeting and thanks in other languages around one of the messages."""
    (greeting, _), (_, thanks) = rng.sample(LANGUAGES, 2)
    texts, index = _one_of(messages, rng)
    texts[index] = f"{greeting} {texts[index]} {thanks}"
    return texts


def long_line(messages: Messages, rng: random.Random) -> list[str]:
    """Twenty thousand characters without a line break before one of the messages: talk, and an image as text."""
    story, _ = Talk(rng, messages.avoid).story(LINE_TOKENS)
    image = "".join(rng.choices(_BASE64, k=LINE_TOKENS))
    texts, index = _one_of(messages, rng)
    texts[index] = f"{story} data:image/png;base64,{image} {texts[index]}"
    return texts


def _beside(messages: Messages, rng: random.Random, document: str, *, before: bool) -> list[str]:
    texts, index = _one_of(messages, rng)
    pair = (document, texts[index]) if before else (texts[index], document)
    texts[index] = "\n\n".join(pair)
    return texts


def _one_of(messages: Messages, rng: random.Random) -> tuple[list[str], int]:
    """The texts, and the number of one of them that is not blank."""
    some = [index for index, text in enumerate(messages.texts) if text.strip()]
    if not some:
        raise NotApplicableError("none of its messages has text in it")
    return list(messages.texts), rng.choice(some)
