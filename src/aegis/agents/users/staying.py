"""Whether what a model says as a user stays within its script, before the agent sees it. No model is asked: what is
checked can be seen in the words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aegis.agents.tail import one_line
from aegis.agents.users.question import SYSTEM, cut
from aegis.suite.model import SimulatedUser

MAX_MESSAGE_CHARS = 4_000
QUOTED_WORDS = 8
"""So many words of the instructions in a row are a quotation of them."""
ECHO_CHARS = 20
"""A message of this length that is the agent's answer again has changed sides."""

Status = Literal["continue", "goal_reached", "gave_up"]
_STATUSES = ("continue", "goal_reached", "gave_up")


@dataclass(frozen=True, slots=True)
class Reply:
    message: str
    status: Status
    reason: str


def read(data: Any) -> Reply | str:
    """The reply in a model's structured answer, or what is wrong with its form."""
    if not isinstance(data, Mapping):
        return "it is not a JSON object of the form asked for"
    message, status, reason = (data.get(name) for name in ("message", "status", "reason"))
    if status not in _STATUSES:
        return f"its status is none of {', '.join(_STATUSES)}"
    if not isinstance(message, str) or not isinstance(reason, str):
        return "its message or its reason is not a text"
    if status != "continue":
        return Reply("", status, reason)
    return Reply(message, status, reason) if message.strip() else "it goes on without a message"


class Script:
    """What one simulated user may say: what it was given, and what was said since."""

    def __init__(self, user: SimulatedUser) -> None:
        given = [user.persona, user.goal, *user.knows, user.gives_up, user.begins or ""]
        self._own = "\n".join(given).casefold()
        self._texts: list[str] = []
        self._data: set[str] = set()
        self._words: set[str] = set()
        self._answer = ""
        for text in given:
            self._add(text)

    def heard(self, message: str, answer: str) -> None:
        """One turn of the conversation, by whomever."""
        self._add(cut(message))
        self._add(cut(answer))
        self._answer = answer

    def departure(self, reply: Reply, own: int) -> str | None:
        """What the reply does that its user cannot do, reading on after `That message cannot be used:`; None when it
        stays within the script. `own`: how many messages it has said before."""
        if reply.status != "continue":
            return None if own else "the person has not said anything yet"
        text = unicodedata.normalize("NFKC", reply.message)
        if len(text) > MAX_MESSAGE_CHARS:
            return f"it is longer than {MAX_MESSAGE_CHARS} characters"
        return self._other_role(text) or self._told_too_much(text)

    def _other_role(self, text: str) -> str | None:
        if mark := _MARKS.search(text):
            return f"it writes the parts of a conversation ({one_line(mark[0], 40)!r}) and not one message"
        for phrase in _NOT_A_USER.finditer(text):
            if phrase[0].casefold() not in self._own:
                return f"it speaks as the agent or about the play ({one_line(phrase[0], 60)!r}), not as the person"
        if len(text.strip()) >= ECHO_CHARS and _words(text) == _words(self._answer):
            return "it repeats the agent's answer"
        words = _words(text)
        runs = (tuple(words[at : at + QUOTED_WORDS]) for at in range(len(words) - QUOTED_WORDS + 1))
        if any(run in _INSTRUCTIONS for run in runs):
            return "it quotes the rules"
        return None

    def _told_too_much(self, text: str) -> str | None:
        invented = [
            address for address in _addresses(text) if not any(address in known for known in self._texts)
        ]
        invented += [token for token in _data(text) if self._data.isdisjoint(_forms(token))]
        invented += [name for name in _names(text) if name.casefold() not in self._words]
        if not invented:
            return None
        shown = ", ".join(repr(one_line(item, 40)) for item in dict.fromkeys(invented[:5]))
        return f"it tells {shown}, which the person does not know and nobody has said"

    def _add(self, text: str) -> None:
        text = unicodedata.normalize("NFKC", text)
        if text and text.casefold() not in self._texts:
            self._texts.append(text.casefold())
            self._data.update(form for token in _data(text) for form in _forms(token))
            self._words.update(_words(text))


_MARKS = re.compile(
    r"^\s*(?:assistant|agent|ai|bot|chatbot|system|user|customer|human)\s*:|<\|im_(?:start|end)\|>|\[/?INST\]",
    re.I | re.M,
)
_NOT_A_USER = re.compile(
    r"\b(?:as|i am|i['’]m) an? (?:ai|(?:large )?language model|(?:ai|virtual) (?:assistant|agent)|chatbot)\b"
    r"|\b(?:how|what) (?:can|may|could) i (?:help|assist|do for) you\b"
    r"|\bis there anything else i can\b"
    r"|\bi(?:['’]m| am|['’]d be| would be) (?:happy|glad) to (?:help|assist)(?: you)?\b"
    r"|\bsimulated (?:user|person|conversation)\b|\brole-?play(?:ing)?\b|\bmy (?:persona|role) is\b"
    r"|\b(?:my|these) (?:instructions|rules) (?:say|tell|forbid)\b|\bsystem prompt\b",
    re.I,
)
_NAMED = re.compile(r"\b(?:my name is|my name['’]s|i am called)\s+((?:[A-Z][\w'’-]*\s?){1,3})", re.I)
_ADDRESS = re.compile(
    r"https?://[^\s<>\"')]+|\bwww\.[^\s<>\"')]+|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)
_RUN = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DOTTED = re.compile(r"\d+(?:\.\d+){2,}")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_WITH_UNIT = re.compile(r"(\d+(?:[.,]\d+)*)[^\W\d_]{1,4}")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


_RULES = _words(SYSTEM)
_INSTRUCTIONS = {tuple(_RULES[at : at + QUOTED_WORDS]) for at in range(len(_RULES) - QUOTED_WORDS + 1)}


def _addresses(text: str) -> Iterator[str]:
    """E-mail addresses and links, in lower case."""
    for found in _ADDRESS.finditer(text):
        yield found[0].rstrip(".,;:!?").casefold()


def _data(text: str) -> Iterator[str]:
    """Everything with a digit in it: numbers, and each part of an id (`ORD-1042` is `1042`)."""
    for found in _RUN.finditer(text):
        head, *tail = re.split(r"[.,]", found[0])
        if any(char.isdigit() for char in head):
            yield found[0]
        else:
            yield from tail


def _forms(token: str) -> set[str]:
    """In which ways a number or an id may stand elsewhere: `1,042.50` is `1042.5`, `42USD` is `42`."""
    united = _WITH_UNIT.fullmatch(token)
    return {_normal(token)} | ({_normal(united[1])} if united else set())


def _normal(token: str) -> str:
    token = token.casefold()
    if _THOUSANDS.fullmatch(token):
        token = token.replace(",", "")
    if _DOTTED.fullmatch(token):
        return ".".join(part.lstrip("0") or "0" for part in token.split("."))
    if not _NUMBER.fullmatch(token):
        return token
    whole, _, rest = token.partition(".")
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{rest}" if rest else "")


def _names(text: str) -> Iterator[str]:
    """What the writer says that they are called."""
    for found in _NAMED.finditer(text):
        for word in found[1].split():
            if word[0].isupper():
                yield from re.findall(r"[^\W_]+", word)
