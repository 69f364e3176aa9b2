"""A small support agent: the customer's message on standard input, the answer on standard output.

It looks orders up in orders.json and writes each refund to refunds/ORDER.json. No model is called, so it runs
anywhere; put your own agent in its place, in any language.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ORDERS = Path("orders.json")
REFUNDS = Path("refunds")


def answer(message: str) -> str:
    number = re.search(r"\d+", message)
    if number is None:
        return "Hello! Which order is it about?"
    order = json.loads(ORDERS.read_text(encoding="utf-8")).get(number[0])
    if order is None:
        return f"I can find no order {number[0]}. Could you check the number?"
    if "refund" in message.lower():
        return refund(number[0], order)
    return f"Order {number[0]} ({order['item']}) is {order['status']}."


def refund(number: str, order: dict[str, Any]) -> str:
    if order["status"] != "delivered":
        return f"Order {number} is {order['status']}: I can refund it once it has been delivered."
    REFUNDS.mkdir(exist_ok=True)
    record = {"order": number, "amount": order["amount"]}
    (REFUNDS / f"{number}.json").write_text(json.dumps(record), encoding="utf-8")
    return f"I have refunded {order['amount']} euros for order {number}."


if __name__ == "__main__":
    print(answer(sys.stdin.read()))
