"""Customer support for a web shop, on standard input and output: one JSON object a line.

In:  {"role": "user", "content": "I want a refund for order 1042."}
Out: {"role": "assistant", "content": "Done: 42.00 EUR for order 1042 …"}

Each message gets one answer. The process stays up for the whole conversation and ends at the end of its input. It
talks to a model (OPENAI_BASE_URL, MODEL, OPENAI_API_KEY), to the shop's service (SHOP_URL, SHOP_TOKEN,
SHOP_REFRESH_TOKEN), to a mail server (SMTP_HOST, SMTP_PORT) and to a database (DATABASE_URL).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from support.chat import Chat
from support.journal import Journal
from support.login import Login
from support.loop import Conversation
from support.mail import Mailer
from support.manners import HASTY, PATIENT, Manners
from support.policy import Policy
from support.savings import FRAGILE, NONE
from support.shop import Renewal, Shop
from support.tools import Toolbox
from support.web import Site


def start(environment: Mapping[str, str]) -> Conversation:
    """A conversation with the customer that `session.json` names. Raises `KeyError` for a missing key."""
    session = json.loads(Path("session.json").read_text(encoding="utf-8"))
    # Three defects that you can switch on. See "Watch it fail", "Bad weather" and "Stress" in the README.
    policy = Policy(forget_refunds=environment.get("REFUND_BUG", "0") == "1")
    manners = HASTY if environment.get("HASTY", "0") == "1" else PATIENT
    savings = FRAGILE if environment.get("FRAGILE", "0") == "1" else NONE
    url = environment.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
    model = Site(url, Login(environment["OPENAI_API_KEY"]), manners)
    customer = str(session["customer"])
    mailer, journal = Mailer(environment, str(session["email"])), Journal(environment, customer)
    shop = Shop(_service(environment, manners), mailer=mailer, journal=journal, savings=savings)
    tools = Toolbox(shop, customer=customer, policy=policy)
    return Conversation(Chat(model, environment.get("MODEL", "gpt-5-mini")), tools, savings)


def _service(environment: Mapping[str, str], manners: Manners) -> Site:
    url = environment.get("SHOP_URL", "https://shop.example")
    refresh_token = environment.get("SHOP_REFRESH_TOKEN")
    renew = Renewal(Site(url, None, manners), refresh_token) if refresh_token else None
    return Site(url, Login(environment["SHOP_TOKEN"], renew, keeps=manners.keeps_logins), manners)


def user_text(line: str) -> str:
    """The text of one input line. Raises ValueError when the line is not a user message."""
    message = json.loads(line)
    if isinstance(message, dict) and message.get("role") == "user":
        content = message.get("content")
        if isinstance(content, str):
            return content
    raise ValueError('expected {"role": "user", "content": "…"}')


def main() -> int:
    try:
        conversation = start(os.environ)
    except KeyError as missing:
        print(f"{missing.args[0]} is not set", file=sys.stderr)
        return 2
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            text = user_text(line)
        except ValueError as error:
            print(f"cannot read the message: {error}", file=sys.stderr)
            return 2
        answer = {"role": "assistant", "content": conversation.answer(text)}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
