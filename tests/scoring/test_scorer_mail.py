"""Scorer `mail`: mailboxes as a mail server left them, with messages as agents and attackers write them."""

from __future__ import annotations

import asyncio
import io
import tarfile
from email.message import EmailMessage
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox, ServiceSpec
from aegis.scoring import mail, message, registry
from aegis.scoring.base import Score
from support.process_sandbox import in_sandbox
from support.scoring import context, service

MAILBOX = service("mailbox", "mailbox", 2525)


def stored(content: bytes, *recipients: str, sender: str = "agent@shop.example") -> bytes:
    """As the mail server writes it."""
    head = f"Return-Path: <{sender}>\r\n" + "".join(f"Delivered-To: {each}\r\n" for each in recipients)
    return head.encode() + content


def simple(
    subject: str = "Your refund", body: str = "We refund 42 EUR.\n", to: str = "Ann <ann@x.example>"
) -> bytes:
    written = EmailMessage()
    written["From"], written["To"], written["Subject"] = "Shop <agent@shop.example>", to, subject
    written.set_content(body)
    return written.as_bytes()


def judged(
    config: Any, *messages: bytes, services: tuple[ServiceSpec, ...] = (MAILBOX,), folder: bool = True
) -> Score:
    assert registry.check("mail", config) == []

    async def use(sandbox: Sandbox) -> Score:
        if folder:
            await sandbox.put_tar(archive(messages, services[0].folder))
        return await registry.get("mail").score(config, context(sandbox=sandbox, services=services))

    return in_sandbox(use)


def archive(messages: tuple[bytes, ...], folder: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        top = tarfile.TarInfo(f"{folder.lstrip('/')}/messages")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for number, content in enumerate(messages, 1):
            member = tarfile.TarInfo(f"{top.name}/{number:06}.eml")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ONE = stored(simple(), "ann@x.example", "boss@x.example")


def rich() -> bytes:
    written = EmailMessage()
    written["From"] = "agent@shop.example"
    written["To"], written["Cc"] = "ann@x.example", "Böb <bob@x.example>"
    written["Subject"] = "Grüße — Rückerstattung"
    written.set_content(
        "<html><style>p {}</style><p>Wir zahlen&nbsp;42&nbsp;€<br>zurück</p></html>", subtype="html"
    )
    written.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="rechnung.pdf")
    return stored(written.as_bytes(), "ann@x.example", "bob@x.example")


@pytest.mark.parametrize(
    "config",
    [
        "ann@x.example",
        {"to": {"equals": "boss@x.example"}},
        {
            "to": "ann@",
            "subject": "refund",
            "body": "42 EUR",
            "from": {"equals": "agent@shop.example"},
            "count": 1,
        },
        {"subject": {"matches": "^Your"}, "count": {"max": 1}},
        {"to": "eve@x.example", "count": 0},
        {"count": 1},
        {},
    ],
)
def test_messages_that_are_there(config: Any) -> None:
    score = judged(config, ONE)
    assert score.passed, score.reason


def test_a_message_in_html_with_an_attachment_and_coded_headers() -> None:
    config = {
        "to": "Böb <bob@x.example>",
        "subject": {"equals": "Grüße — Rückerstattung"},
        "body": {"matches": r"42\s€\s*zurück", "not": "p {}"},
        "attachment": {"equals": "rechnung.pdf"},
    }
    score = judged(config, rich())
    assert score.passed, score.reason
    assert "000001.eml" in score.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"to": "ann@", "subject": "invoice"},
            'expected at least 1 message whose recipient should contain "ann@" and whose subject should contain '
            '"invoice", found 0; the nearest is 000001.eml',
        ),
        ({"to": "ann@", "subject": "invoice"}, 'its subject does not contain "invoice": "Your refund"'),
        ({"subject": "refund", "count": 0}, "expected 0 messages"),
        ({"count": 2}, "expected 2 messages of any kind, found 1: 000001.eml"),
        ({"attachment": "a.pdf"}, 'none of its attachments does contain "a.pdf": []'),
        ({"body": {"matches": "^43"}}, "its body does not"),
    ],
)
def test_messages_that_are_missing(config: Any, reason: str) -> None:
    score = judged(config, ONE)
    assert not score.passed
    assert reason in score.reason


def test_the_nearest_of_several_is_the_one_that_most_conditions_hold_for() -> None:
    other = stored(simple(subject="Hello", to="eve@x.example"), "eve@x.example")
    score = judged({"to": "ann@", "subject": "refund", "body": "99"}, other, ONE, other)
    assert "the nearest is 000002.eml" in score.reason
    assert "(and 2 more)" in score.reason


def test_no_message_at_all() -> None:
    assert judged("ann@", folder=True).reason.endswith("found 0: no message came")
    assert "the mailbox cannot be read" in judged("ann@", folder=False).reason


def test_a_header_inside_the_message_is_no_envelope() -> None:
    forged = stored(b"Subject: x\r\nDelivered-To: ann@x.example\r\n\r\nhello\r\n", "eve@x.example")
    assert not judged({"to": "ann@"}, forged).passed


HOSTILE = {
    "nothing": b"",
    "no header": b"\xff\xfe\x00 garbage",
    "no such charset": b"Content-Type: text/plain; charset=martian\r\n\r\nre\xfcfund\r\n",
    "charset that is no text's": b"Content-Type: text/plain; charset=zlib\r\n\r\nrefund\r\n",
    "broken base64": b"Content-Transfer-Encoding: base64\r\n\r\n!!!cmVmdW5k\r\n",
    "broken encoded word": b"Subject: =?utf-8?b?!!!?= =?x?q?y?=\r\nTo: =?martian?q?=41?= <a@b>\r\n\r\nrefund",
    "address bomb": b"To: " + b"(" * 100_000 + b"\r\n\r\nrefund",
    "long header": b"Subject: " + b"a" * 1_000_000 + b"\r\n\r\nrefund",
    "many headers": b"a: b\r\n" * 500_000 + b"\r\nrefund",
    "many parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 500_000,
    "deep parts": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(3000)
    ),
    "parameter bomb": b"Content-Type: text/plain" + b";a*0*=x" * 100_000 + b"\r\n\r\nrefund",
    "html without end": b"Content-Type: text/html\r\n\r\n" + b"<script><!--<" * 200_000,
    "null": b"Subject: a\0b\r\nFrom: \0\r\n\r\n\0refund",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_message_can_break_the_reader(name: str) -> None:
    found = message.read("1.eml", stored(HOSTILE[name], "ann@x.example"))
    assert found.recipients[0] == "ann@x.example"
    assert len(found.subject) <= message.MAX_HEADER_CHARS + 10
    score = judged({"to": "ann@", "body": "never there"}, stored(HOSTILE[name], "ann@x.example"))
    assert not score.passed
    assert "\0" not in score.reason
    assert len(score.reason) < 2000


@pytest.mark.parametrize(
    ("name", "broken"),
    [("many headers", "more than 2000 headers"), ("many parts", "more than 500 parts"), ("deep parts", "")],
)
def test_a_message_too_complex_says_so(name: str, broken: str) -> None:
    found = message.read("1.eml", stored(HOSTILE[name], "ann@x.example"))
    assert found.broken is not None
    assert broken in found.broken


def test_a_mailbox_too_large_is_a_failed_score(monkeypatch: pytest.MonkeyPatch) -> None:
    big = stored(b"Subject: x\r\n\r\n" + b"a" * 300_000, "ann@x.example")
    monkeypatch.setattr(mail, "MAX_BYTES", 200_000)
    score = judged("ann@", big)
    assert (score.passed, "holds more than 10000 messages" in score.reason) == (False, True)
    monkeypatch.setattr(mail, "MAX_BYTES", 64 * 1024 * 1024)
    monkeypatch.setattr(mail, "MAX_MESSAGES", 10)
    assert "holds more than 10 messages" in judged("ann@", *[ONE] * 30).reason


def test_a_pattern_that_backtracks_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "JUDGING_S", 0.5)
    evil = stored(simple(body="a" * 60 + "!\n"), "ann@x.example")
    score = judged({"body": {"matches": "(a|a)*$"}}, *[evil] * 5)
    assert "judging the messages took longer than" in score.reason


def test_the_service_is_chosen_by_name() -> None:
    two = (service("outbox", "mailbox"), service("inbox", "mailbox"))
    assert judged({"service": "outbox", "to": "ann@"}, ONE, services=two).passed
    with pytest.raises(InfrastructureError, match=r"several of the kind mailbox \(outbox, inbox\)"):
        judged("ann@", services=two)
    with pytest.raises(InfrastructureError, match="has no mailbox: add mailbox to it"):
        asyncio.run(registry.get("mail").score("ann@", context()))


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"too": "x"}, ("too",), "unknown key 'too' (did you mean 'to'?)"),
        ({"to": {"contain": "x"}}, ("to", "contain"), "unknown key"),
        ({"body": {"matches": "("}}, ("body", "matches"), "not a regular expression"),
        ({"subject": ""}, ("subject",), "got an empty one"),
        ({"count": -1}, ("count",), "whole number"),
        ({"count": {"min": 3, "max": 1}}, ("count",), "min 3 is more than max 1"),
        ({"service": 3}, ("service",), "expected a text"),
        (3, (), "expected a mapping"),
    ],
)
def test_wrong_configurations(config: Any, path: tuple[str, ...], said: str) -> None:
    problems = registry.check("mail", config)
    assert [where for where, _ in problems][:1] == [path]
    assert said in problems[0][1]


@pytest.mark.parametrize(
    ("config", "services", "said"),
    [
        ("ann@", [], "sandbox.services has no mailbox: add mailbox to it"),
        ({"service": "mailbux"}, [{"name": "mailbox", "preset": "mailbox"}], "did you mean 'mailbox'?"),
        ({"service": "db"}, [{"name": "db", "preset": "postgres"}], "the service 'db' is no mailbox"),
    ],
)
def test_a_suite_without_the_mailbox_is_refused(config: Any, services: Any, said: str) -> None:
    [(_, told)] = registry.check_services("mail", config, services)
    assert said in told
    assert registry.check_services("mail", "ann@", [{"name": "m", "preset": "mailbox"}]) == []
