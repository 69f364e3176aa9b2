"""Mail to customers, by the mail server that SMTP_HOST and SMTP_PORT name."""

from __future__ import annotations

import smtplib
import sys
from collections.abc import Mapping
from email.message import EmailMessage

SENDER = "support@shop.example"
TIMEOUT_S = 20.0


class Mailer:
    """Writes to one customer. A mail that can't be sent is told to the log and no more: what was done is done, and
    must not look as if it were not."""

    def __init__(self, environment: Mapping[str, str], address: str) -> None:
        self._host = environment.get("SMTP_HOST", "localhost")
        self._port = int(environment.get("SMTP_PORT", "25"))
        self._address = address

    def refund(self, reference: int, order: int, amount_cents: int) -> None:
        """Announce a refund."""
        amount = f"{amount_cents / 100:.2f} EUR"
        text = f"Hello,\n\nwe have paid back {amount} for your order {order} (refund {reference})."
        self._send(f"Your refund of {amount} for order {order}", text, f"refund-{reference}")

    def ticket(self, reference: int, order: int | None, summary: str) -> None:
        """Announce that a colleague will write."""
        about = "" if order is None else f" about your order {order}"
        text = f"Hello,\n\na colleague will look into this{about} and write to you (ticket {reference}):\n\n{summary}"
        self._send(f"Your request{about}: ticket {reference}", text, f"ticket-{reference}")

    def _send(self, subject: str, text: str, reference: str) -> None:
        message = EmailMessage()
        message["From"], message["To"] = SENDER, self._address
        message["Subject"] = subject
        message["Message-ID"] = f"<{reference}@shop.example>"
        message.set_content(f"{text}\n\nYour shop\n")
        try:
            with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S) as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            print(f"cannot send the mail {reference}: {error}", file=sys.stderr)
