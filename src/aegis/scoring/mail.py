"""Scorer `mail`: the messages that a mailbox in the sandbox received."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis.errors import GuestOperationError, HostileArchiveError, InfrastructureError
from aegis.sandbox.base import MIB
from aegis.scoring import configs, counts, matcher, message, services
from aegis.scoring.base import ConfigError, Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.message import Mail
from aegis.scoring.pattern import Deadline, TooSlowError
from aegis.scoring.services import Declared
from aegis.scoring.words import failed, passed, plain, shown
from aegis.suite.units import format_size

PRESET = "mailbox"
FOLDER = "messages"
"""In the service's folder: a file for each message, numbered in the order in which they came."""
MAX_MESSAGES = 10_000
MAX_BYTES = 64 * MIB
JUDGING_S = 60.0
"""Time for all messages together."""

_CONDITIONS = ("to", "from", "subject", "body", "attachment")
_KEYS = ("service", *_CONDITIONS, "count")
_SHOWN = 3


class MailScorer:
    name = "mail"

    def check(self, config: Any) -> None:
        refuse(_problems(_whole(config)))

    def check_services(self, config: Any, declared: Sequence[Declared]) -> None:
        name = _whole(config).get("service")
        try:
            services.pick(declared, name=name, kind=PRESET)
        except services.NoSuchService as error:
            raise ConfigError(str(error), () if name is None else ("service",)) from None

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config = _whole(config)
        try:
            service = services.pick(context.services, name=config.get("service"), kind=PRESET)
        except services.NoSuchService as error:
            raise InfrastructureError(str(error)) from None
        with tempfile.TemporaryDirectory(prefix="aegis-mail-") as folder:
            try:
                await context.sandbox.get_tree(
                    f"{service.folder}/{FOLDER}",
                    Path(folder) / FOLDER,
                    max_bytes=MAX_BYTES,
                    max_files=MAX_MESSAGES,
                )
            except HostileArchiveError as error:
                most = f"{MAX_MESSAGES} messages or {format_size(MAX_BYTES)}"
                return failed(self.name, f"the mailbox holds more than {most}: {plain(str(error))}")
            except GuestOperationError as error:
                return failed(self.name, f"the mailbox cannot be read: {plain(str(error))}")
            return await asyncio.to_thread(_judge, config, Path(folder) / FOLDER)


def _whole(config: Any) -> Any:
    return {"to": config} if isinstance(config, str) else config


def _judge(config: Mapping[str, Any], folder: Path) -> Score:
    deadline = Deadline(JUDGING_S)
    fitting: list[Mail] = []
    others: list[tuple[int, Mail, str]] = []
    try:
        for path in sorted(folder.glob("*.eml")):
            deadline.left_s()
            mail = message.read(path.name, path.read_bytes())
            lack = _lack(config, mail, deadline)
            if lack is None:
                fitting.append(mail)
            else:
                others.append((lack[0], mail, lack[1]))
    except TooSlowError:
        return failed("mail", f"judging the messages took longer than {JUDGING_S:g} s")
    number, words = len(fitting), describe(config)
    seen = ", ".join(map(told, fitting[:_SHOWN])) + (" …" if number > _SHOWN else "")
    if counts.right(number, config.get("count")):
        return passed("mail", f"{counts.several(number, 'message')} {words}" + (f": {seen}" if seen else ""))
    wanted = counts.wanted(config.get("count"), "message")
    near = f": {seen}" if seen else _nearest(others)
    return failed("mail", f"expected {wanted} {words}, found {number}{near}")


def _lack(config: Mapping[str, Any], mail: Mail, deadline: Deadline) -> tuple[int, str] | None:
    """None when the message fits; else how many conditions hold, and which of the others is the first."""
    held, first = 0, ""
    for key in _CONDITIONS:
        if key not in config:
            continue
        if any(matcher.fits(config[key], text, deadline) for text in _texts(mail, key)):
            held += 1
        elif not first:
            several = "none of " if key in ("to", "attachment") else ""
            does = "does" if several else "does not"
            first = f"{several}its {_NOUNS[key]} {does} {matcher.describe(config[key])}"
            if key in ("subject", "body"):
                first += f": {shown(getattr(mail, key), 200)}"
            elif key == "attachment":
                first += f": {shown(list(mail.attachments), 200)}"
    if not first:
        return None
    return held, f"{mail.broken}, and {first}" if mail.broken else first


def _texts(mail: Mail, key: str) -> tuple[str, ...]:
    match key:
        case "to":
            return mail.recipients
        case "from":
            return mail.senders
        case "attachment":
            return mail.attachments
    return (mail.subject if key == "subject" else mail.body,)


_NOUNS = {
    "to": "recipients",
    "from": "sender",
    "subject": "subject",
    "body": "body",
    "attachment": "attachments",
}


def describe(config: Mapping[str, Any]) -> str:
    """The conditions in words: `whose recipient should contain "ann@" and whose subject should …`."""
    parts = [
        f"{_NOUNS[key].removesuffix('s')} should {matcher.describe(config[key])}"
        for key in _CONDITIONS
        if key in config
    ]
    return "whose " + " and whose ".join(parts) if parts else "of any kind"


def told(mail: Mail) -> str:
    """One message in a reason: `000001.eml to "ann@example.com" "Your refund"`."""
    return f"{mail.file} to {shown(', '.join(mail.recipients))} {shown(mail.subject)}"


def _nearest(others: list[tuple[int, Mail, str]]) -> str:
    if not others:
        return ": no message came"
    _, mail, lack = max(others, key=lambda other: other[0])
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    return f"; the nearest is {told(mail)}{more}: {lack}"


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    yield from configs.text(config, "service")
    for key in _CONDITIONS:
        if key in config:
            yield from matcher.problems(config[key], (key,))
    yield from counts.problems(config)


scorer = MailScorer()
