"""One e-mail as a mailbox stored it, read as the hostile bytes that it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from email.utils import getaddresses
from html import unescape
from typing import Any, cast

MAX_PARTS = 500
MAX_HEADERS = 2000
"""Of all parts of a message together."""
MAX_HEADER_CHARS = 16 * 1024
"""What is longer is cut: reading addresses out of a header takes time that grows with its square."""
MAX_TEXT_BYTES = 8 * 1024 * 1024
_ENVELOPE = re.compile(rb"(return-path|delivered-to):[ \t]*([^\r\n]*)\r?\n", re.I)


@dataclass(frozen=True, slots=True)
class Mail:
    file: str
    """Its name in the mailbox: `000001.eml`."""
    senders: tuple[str, ...] = ()
    """From the envelope and `From`: addresses, and as written with their names."""
    recipients: tuple[str, ...] = ()
    """From the envelope, `To` and `Cc`."""
    subject: str = ""
    body: str = ""
    """The plain text, else the text of the HTML."""
    attachments: tuple[str, ...] = ()
    """Their file names."""
    broken: str | None = None
    """Why the message can't be read beyond its envelope."""


class _TooComplexError(Exception):
    """More headers or parts than are looked at."""


class _Policy(EmailPolicy):
    """Headers are cut and counted, parts are counted: what a message costs does not depend on who wrote it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(message_factory=cast("Any", self._part), **options)
        # EmailPolicy allows no other attributes to be set.
        object.__setattr__(self, "counted", {"headers": 0, "parts": 0})

    def _part(self, policy: EmailPolicy) -> EmailMessage:
        self._count("parts", MAX_PARTS)
        return EmailMessage(policy)

    def _count(self, what: str, most: int) -> None:
        counted: dict[str, int] = self.counted  # type: ignore[attr-defined]
        counted[what] += 1
        if counted[what] > most:
            raise _TooComplexError(f"it has more than {most} {what}")

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        self._count("headers", MAX_HEADERS)
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARS]


def read(file: str, data: bytes) -> Mail:
    """Whatever the bytes are: nothing is raised."""
    senders, recipients, rest = _envelope(data)
    try:
        message = cast("EmailMessage", BytesParser(policy=_Policy()).parsebytes(data[rest:]))
        senders += _addresses(message, "from")
        recipients += _addresses(message, "to", "cc")
        return Mail(
            file,
            tuple(dict.fromkeys(senders)),
            tuple(dict.fromkeys(recipients)),
            _header(message, "subject"),
            _body(message),
            tuple(_attachments(message)),
        )
    except _TooComplexError as error:
        broken = str(error)
    except RecursionError:
        broken = "its parts are nested too deeply"
    except Exception as error:  # the standard library's parser fails in many ways on bytes made for that
        broken = f"it cannot be read ({type(error).__name__})"
    return Mail(file, tuple(senders), tuple(recipients), broken=broken)


def _envelope(data: bytes) -> tuple[list[str], list[str], int]:
    """Sender, recipients, and where the message itself begins."""
    senders: list[str] = []
    recipients: list[str] = []
    at = 0
    while len(recipients) < MAX_HEADERS and (line := _ENVELOPE.match(data, at)):
        address = line[2][:MAX_HEADER_CHARS].decode("utf-8", "replace").strip().strip("<>")
        (senders if line[1].lower() == b"return-path" else recipients).append(address)
        at = line.end()
    return [sender for sender in senders if sender], recipients, at


def _header(message: EmailMessage, name: str) -> str:
    """Decoded; as it was sent where it can't be."""
    try:
        return " ".join(str(message.get(name, "")).split())
    except Exception:
        return " ".join(" ".join(value for key, value in message.raw_items() if key.lower() == name).split())


def _addresses(message: EmailMessage, *names: str) -> list[str]:
    found: list[str] = []
    for name in names:
        try:
            values = [str(value) for value in message.get_all(name, ())]
        except Exception:
            values = [str(value) for key, value in message.raw_items() if key.lower() == name]
        for shown, address in getaddresses(values[:MAX_HEADERS]):
            found += [address] if address else []
            found += [f"{shown} <{address}>"] if shown else []
    return found


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if not isinstance(part, EmailMessage):
        return ""
    text = _text(part)
    return text_of_html(text) if part.get_content_type() == "text/html" else text


def _text(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    data = payload[:MAX_TEXT_BYTES] if isinstance(payload, bytes) else b""
    try:
        text = data.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, UnicodeError, ValueError):  # no such character set, or no text's
        text = data.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _attachments(message: EmailMessage) -> list[str]:
    names = [part.get_filename() for part in message.walk() if part is not message or part.is_attachment()]
    return [name for name in names if name]


def text_of_html(markup: str) -> str:
    """The text between the tags, without that of scripts and styles. In one pass, whatever the markup is."""
    pieces: list[str] = []
    lower, at = markup.lower(), 0
    while (start := markup.find("<", at)) >= 0:
        pieces.append(markup[at:start])
        name = re.match(r"/?[a-z0-9]*", lower[start + 1 : start + 20])
        tag = "" if name is None else name[0]
        comment = lower.startswith("<!--", start)
        end = lower.find("-->" if comment else ">", start)
        if end >= 0 and tag in ("script", "style"):
            end = lower.find(f"</{tag}", end)
            end = lower.find(">", end) if end >= 0 else -1
        if end < 0:
            at = len(markup)
            break
        pieces.append("\n" if tag.strip("/") in _BREAKS else "")
        at = end + (3 if comment else 1)
    pieces.append(markup[at:])
    return unescape("".join(pieces))


_BREAKS = frozenset(
    ("p", "br", "div", "li", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr")
)
